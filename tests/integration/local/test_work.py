"""`mandi work` as its operator calls it: what waits and what died, of all tenants, and how it is tried again."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.infra.work.tables import shard_of
from app.kernel.ids import decode_id, encode_id, uuid7
from tests.integration.local.conftest import OPERATOR, Desk, Said


@dataclass
class Bench:
    """Rows of work of one tenant, under a kind of their own."""

    desk: Desk
    tenant_id: UUID
    slug: str
    kind: str = field(default_factory=lambda: f"test.{uuid7().hex[-8:]}")

    def put(
        self, state: str = "ready", *, error: str | None = None, attempts: int = 0, wait: str = "-5 minutes"
    ) -> str:
        """A row that was made five minutes ago."""
        item = uuid7()
        self.desk.rows(
            "insert into work_items (tenant_id, id, queue, shard, lane, kind, payload, priority, state, attempts,"
            " last_error, available_at, created_at, finished_at)"
            " values ($1, $2, 'test', $3, $2, $4, '{\"order_id\": \"x\"}', 1, $5, $6, $7,"
            " clock_timestamp() + $8::text::interval, clock_timestamp() - interval '5 minutes',"
            " case $5 when 'ready' then null else clock_timestamp() end)",
            self.tenant_id, item, shard_of(self.tenant_id), self.kind, state, attempts, error, wait,
        )  # fmt: skip
        return encode_id("wrk", item)

    def row(self, item: str) -> dict[str, Any]:
        (found,) = self.desk.rows("select * from work_items where id = $1", decode_id("wrk", item))
        return found

    def listed(self, *options: str) -> list[str]:
        return [row["id"] for row in json.loads(work("list", "--kind", self.kind, "--json", *options).out)]


def work(*arguments: str, code: int = 0) -> Said:
    done = CliRunner().invoke(app, ["work", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    said = Said(done.exit_code, done.stdout, done.stderr)
    assert said.code == code, said.text
    return said


@pytest.fixture
def bench(desk: Desk) -> Bench:
    slug, told = desk.made()
    return Bench(desk, decode_id("ten", told["id"]), slug)


def test_what_waits_and_what_died_is_listed_the_oldest_first(bench: Bench) -> None:
    dead = bench.put("dead", error="RuntimeError('broken')", attempts=3)
    ready, later = bench.put(), bench.put(wait="1 hour", attempts=1, error="not yet")
    bench.put("done")
    assert bench.listed() == [dead, ready, later]
    assert bench.listed("--dead") == [dead]
    assert bench.listed("--waiting") == [ready, later]
    assert bench.listed("--limit", "2") == [dead, ready]
    told = json.loads(work("list", "--kind", bench.kind, "--json").out)
    assert [row["state"] for row in told] == ["dead", "ready", "later"]
    assert told[0] | {"created_at": ""} == {
        "id": dead,
        "tenant_id": encode_id("ten", bench.tenant_id),
        "queue": "test",
        "kind": bench.kind,
        "state": "dead",
        "attempts": 3,
        "last_error": "RuntimeError('broken')",
        "created_at": "",
    }
    assert "one of the two" in work("list", "--dead", "--waiting", code=2).text
    assert work("list", "--kind", "no.such").out == "nothing\n"


@pytest.mark.parametrize("columns", ["80", "60", "200"])
def test_a_list_can_be_read_and_copied_from_whatever_its_width(
    bench: Bench, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    item = bench.put("dead", error="RuntimeError('" + "broken " * 60 + "')", attempts=3)
    shown = work("list", "--kind", bench.kind).out
    assert all(len(line) <= int(columns) for line in shown.splitlines())
    assert "5 m" in shown and item in shown and "…" in shown
    assert bench.kind in shown and encode_id("ten", bench.tenant_id) in shown


def test_an_error_cannot_write_to_the_terminal_by_itself(bench: Bench) -> None:
    item = bench.put("dead", error="\x1b[2Jgone\x07 [bold red]x[/]", attempts=3)
    for said in (work("list", "--kind", bench.kind), work("show", item)):
        assert "\x1b" not in said.out and "\x07" not in said.out
        assert "[bold red]x[/]" in said.out


def test_one_is_shown_with_what_it_is_about(bench: Bench) -> None:
    item = bench.put("dead", error="RuntimeError('" + "broken " * 60 + "')", attempts=3)
    told = json.loads(work("show", item, "--json").out)
    assert (told["id"], told["payload"], told["attempts"], told["held_until"]) == (item, {"order_id": "x"}, 3, None)
    assert work("show", item).text.count("broken") == 60
    missing = encode_id("wrk", uuid7())
    assert f"No work has the id '{missing}'" in work("show", missing, code=1).text
    assert "looks like wrk_" in work("show", "ord_x", code=1).text


def test_a_dead_one_is_ready_again_as_if_never_tried_and_the_event_names_the_operator(bench: Bench) -> None:
    item = bench.put("dead", error="RuntimeError('broken')", attempts=3)
    assert work("replay", item).out == "ready again: 1\n"
    row = bench.row(item)
    assert (row["state"], row["attempts"], row["finished_at"]) == ("ready", 0, None)
    assert row["last_error"] == "RuntimeError('broken')"
    assert bench.desk.events(bench.slug, "work.replayed") == [
        {"type": "work.replayed", "data": {"kind": bench.kind}, "who": OPERATOR}
    ]
    assert "is not dead" in work("replay", item, code=1).text
    assert len(bench.desk.events(bench.slug, "work.replayed")) == 1


def test_what_waits_or_is_done_is_not_replayed(bench: Bench) -> None:
    for state in ("ready", "done"):
        item = bench.put(state, attempts=2)
        assert "only dead work can be replayed" in work("replay", item, code=1).text
        assert bench.row(item)["attempts"] == 2


def test_all_dead_ones_of_a_kind_are_replayed_whosever_they_are(bench: Bench, desk: Desk) -> None:
    slug, told = desk.made()
    other = Bench(desk, decode_id("ten", told["id"]), slug, kind=bench.kind)
    another_kind = Bench(desk, bench.tenant_id, bench.slug)
    dead = [bench.put("dead"), bench.put("dead"), other.put("dead")]
    spared = another_kind.put("dead")
    assert work("replay", "--all", "--kind", bench.kind).out == "ready again: 3\n"
    assert [bench.row(item)["state"] for item in dead] == ["ready"] * 3
    assert bench.row(spared)["state"] == "dead"
    assert len(desk.events(bench.slug, "work.replayed")) == 2
    assert len(desk.events(other.slug, "work.replayed")) == 1
    assert work("replay", "--all", "--kind", bench.kind).out == "ready again: 0\n"


@pytest.mark.parametrize("asked", [(), ("--all",), ("--kind", "x"), ("wrk_x", "--all", "--kind", "x")])
def test_a_replay_says_what_it_takes(asked: tuple[str, ...], desk: Desk) -> None:
    assert "give an ID, or --all with --kind" in work("replay", *asked, code=2).text


def test_each_queue_has_its_figures(bench: Bench) -> None:
    bench.put("dead")
    bench.put()
    bench.put(wait="1 hour")
    (row,) = (row for row in json.loads(work("stats", "--json").out) if row["queue"] == "test")
    assert row["dead"] >= 1 and row["ready"] >= 1 and row["later"] >= 1 and row["oldest"] is not None
    assert "work by queue" in work("stats").out
