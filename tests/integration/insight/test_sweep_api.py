"""Sweeps through the API: the figures of one backtest each, refusals with their place, cancel, dead workers, trials."""

import asyncio
import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.engine.terms import Terms
from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.insight.backtest.service import FileRun
from app.insight.research.service import Cut, FileSweep, Space, handlers, parse_axis, sweep_files, walk_files
from app.insight.research.service import admission as admission_module
from app.kernel.ids import uuid7
from tests.integration.insight.conftest import Desk, instrument

pytestmark = pytest.mark.integration
LIBRARY = Path(__file__).parents[3] / "app/market/data/library"
GOOG = next(LIBRARY.glob("GOOG-*.parquet"))
PROGRAM: dict[str, Any] = {
    "version": 1, "name": "Crossing", "parameters": {"fast": 10, "slow": 30},
    "target": "1 if sma(close, fast) > sma(close, slow) else 0", "rebalance": "on_change",
}  # fmt: skip
GRID = {"fast": "5:15:5", "slow": "20,50"}


async def post(desk: Desk, **changes: Any) -> Any:
    """Ask for a sweep of GOOG, changed as given; None leaves a field out."""
    body: dict[str, Any] = {
        "program": PROGRAM, "instruments": [instrument("GOOG")], "end": "2008-12-31", "cash": "100000",
        "charges": "us_equity", "grid": GRID,
    }  # fmt: skip
    body = {name: value for name, value in (body | changes).items() if value is not None}
    return await desk.client.post("/v1/sweeps", headers=desk.tenant.headers, json=body)


async def made(desk: Desk, **changes: Any) -> str:
    answer = await post(desk, **changes)
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    assert answer.headers["Location"] == f"/v1/sweeps/{found}"
    return found


async def get(desk: Desk, path: str) -> Any:
    return await desk.client.get(f"/v1/sweeps/{path}", headers=desk.tenant.headers)


async def work(desk: Desk, lanes: int = 50) -> int:
    """Run what waits, as a worker does, until nothing waits."""
    count = 0
    while ran := await drain(
        desk.app.database.dispatch, handlers(desk.app), "backtests", shard_of(desk.tenant.tenant_id), holder="test",
        lanes=lanes,
    ):  # fmt: skip
        count += ran
    return count


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two combinations to a chunk."""
    monkeypatch.setattr(admission_module, "MOST", 2)


def searched() -> FileSweep:
    space = Space({name: parse_axis(name, text) for name, text in GRID.items()})
    return FileSweep(FileRun(PROGRAM, [GOOG], "100000", "us_equity", "USD", end=date(2008, 12, 31)), space, processes=1)


@pytest.mark.usefixtures("small_chunks")
async def test_a_sweep_runs_in_chunks_and_gives_the_figures_of_the_same_search_on_files(desk: Desk) -> None:
    sweep = await made(desk)
    shown = (await get(desk, sweep)).json()
    assert (shown["status"], shown["combinations"], shown["combinations_done"]) == ("queued", 6, 0)
    assert await work(desk) == 4  # three chunks and the finish
    shown = (await get(desk, sweep)).json()
    assert (shown["status"], shown["combinations_done"], shown["grid"]) == ("succeeded", 6, GRID)
    answer = await get(desk, f"{sweep}/result")
    result, local = answer.json(), sweep_files(searched())[0]
    assert result["sha256"] == local["sha256"]
    for name in ("best", "ranking", "significance", "stability", "heat_map", "trials"):
        assert result[name] == local[name], name
    assert shown["result"]["best"] == result["best"] and answer.headers["ETag"] == f'"{shown["result"]["sha256"]}"'
    types = await desk.rows("select type from events where type like 'sweep.%' order by id")
    assert [row["type"] for row in types] == ["sweep.created", "sweep.succeeded"]


@pytest.mark.usefixtures("small_chunks")
async def test_a_walk_forward_runs_in_chunks_and_equals_the_one_on_files(desk: Desk) -> None:
    sweep = await made(desk, walk_forward={"train": 300, "test": 100, "purge": 5})
    await work(desk)
    result = (await get(desk, f"{sweep}/result")).json()
    local = walk_files(searched(), Cut(300, 100, purge=5))
    for name in ("sha256", "folds", "equity", "out_of_sample", "significance", "cut"):
        assert result[name] == local[name], name
    shown = (await get(desk, sweep)).json()
    assert shown["result"]["out_of_sample"] == result["out_of_sample"] and shown["walk_forward"]["purge"] == 5


async def test_the_report_is_a_page_of_its_own(desk: Desk) -> None:
    for changes in ({}, {"walk_forward": {"train": 300, "test": 100}}):
        sweep = await made(desk, **changes)
        assert (await get(desk, f"{sweep}/report")).status_code == 409
        await work(desk)
        answer = await get(desk, f"{sweep}/report")
        assert answer.headers["Content-Type"].startswith("text/html") and "Crossing" in answer.text
        assert "script" not in answer.headers["Content-Security-Policy"]


async def test_a_random_search_of_a_template(desk: Desk) -> None:
    changes = {"program": None, "template": "sma_cross", "random": {"draws": 5, "seed": 3}}
    sweep = await made(desk, **changes, grid={"fast": "integers:5:20", "slow": "integers:30:90"})
    await work(desk)
    result = (await get(desk, f"{sweep}/result")).json()
    assert result["space"]["seed"] == 3 and 1 <= result["trials"]["run"] <= 5


async def test_the_platform_counts_the_trials_of_a_family(desk: Desk) -> None:
    first = await made(desk)
    await work(desk)
    second = await made(desk, grid={"fast": "7", "slow": "25:45:5"}, program=PROGRAM | {"name": "Renamed"})
    other = await made(desk, program=PROGRAM | {"target": "1 if close > sma(close, slow) - fast else 0"})
    await work(desk)
    earlier = [(await get(desk, f"{one}/result")).json()["trials"]["earlier"] for one in (first, second, other)]
    assert earlier == [0, 6, 0]
    shown = (await get(desk, second)).json()
    assert shown["result"]["significance"]["trials"] == 11


@pytest.mark.usefixtures("small_chunks")
async def test_what_ran_of_a_cancelled_sweep_counts_as_tried(desk: Desk) -> None:
    sweep = await made(desk)
    shard = shard_of(desk.tenant.tenant_id)
    await drain(desk.app.database.dispatch, handlers(desk.app), "backtests", shard, holder="test", lanes=1)
    assert (await get(desk, sweep)).json()["combinations_done"] == 2
    first, second = [
        (await desk.client.post(f"/v1/sweeps/{sweep}/cancel", headers=desk.tenant.headers)).json() for _ in range(2)
    ]
    assert first["status"] == second["status"] == "cancelled" and first["finished_at"] == second["finished_at"]
    await work(desk)
    assert (await get(desk, sweep)).json()["combinations_done"] == 2
    assert (await get(desk, f"{sweep}/result")).status_code == 409
    again = await made(desk)
    await work(desk)
    assert (await get(desk, f"{again}/result")).json()["trials"]["earlier"] == 2


@pytest.mark.usefixtures("small_chunks")
async def test_a_chunk_whose_worker_died_runs_again_to_the_same_bytes(desk: Desk) -> None:
    undisturbed = await made(desk)
    await work(desk)
    sweep = await made(desk)
    dispatch, shard = desk.app.database.dispatch, shard_of(desk.tenant.tenant_id)
    (lane,) = await dispatch.fetch(
        "select * from work_claim('backtests', array[$1::int], 'dead', 1, $2)", shard, timedelta(seconds=1)
    )
    await dispatch.fetchrow(
        "select * from work_next('backtests', $1, $2, $3, $4, null)", lane["tenant_id"], lane["lane"], lane["fence"],
        timedelta(seconds=1),
    )  # fmt: skip
    await work(desk)
    assert (await get(desk, sweep)).json()["combinations_done"] == 4
    async with asyncio.timeout(30):
        while (await get(desk, sweep)).json()["status"] != "succeeded":
            await work(desk)
            await asyncio.sleep(0.1)
    chunks = "select number, figures from sweep_chunks c join sweeps s on s.id = c.sweep_id order by s.id, number"
    figures = [row["figures"] for row in await desk.rows(chunks)]
    assert figures[:3] == figures[3:]
    results = [(await get(desk, f"{one}/result")).json() for one in (undisturbed, sweep)]
    assert results[0]["sha256"] == results[1]["sha256"] and results[1]["trials"]["earlier"] == 6


async def test_a_chunk_that_is_done_twice_is_written_once(desk: Desk) -> None:
    sweep = await made(desk)
    await work(desk)
    rows = await desk.rows("select payload from work_items where kind = 'sweep.chunk'")
    async with desk.app.database.tx(desk.tenant.tenant_id) as tx:
        tx.work("backtests", "sweep.chunk", uuid7(), rows[0]["payload"])
    await work(desk)
    assert len(await desk.rows("select 1 from sweep_chunks")) == 1
    assert (await get(desk, sweep)).json()["status"] == "succeeded"


async def test_a_sweep_of_which_nothing_can_run_fails_with_the_reason(desk: Desk) -> None:
    sweep = await made(desk, grid={"fast": "-1,0"})
    await work(desk)
    shown = (await get(desk, sweep)).json()
    assert shown["status"] == "failed" and "window" in shown["status_reason"]
    assert "window" in (await get(desk, f"{sweep}/result")).json()["detail"]


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"grid": {"fats": "5"}}, "invalid_sweep", "grid.fats"),
        ({"grid": {"fast": "x"}}, "invalid_sweep", "grid.fast"),
        ({"grid": {"fast": "uniform:1:2"}}, "invalid_sweep", "grid.fast"),
        ({"grid": {"fast": "1:100000", "slow": "1:2"}}, "invalid_sweep", "grid"),
        ({"grid": {"fast": "5"}, "parameters": {"fast": 3}}, "invalid_sweep", "grid.fast"),
        ({"grid": {}}, None, "grid"),
        ({"metric": "luck"}, None, "metric"),
        ({"random": {"draws": 0}}, None, "random.draws"),
        ({"walk_forward": {"train": 9000, "test": 10}}, "invalid_folds", "walk_forward.train"),
        ({"walk_forward": {"train": 100, "test": 0}}, "invalid_folds", "walk_forward.test"),
        ({"cash": "0"}, None, "cash"),
        ({"start": 20030101}, None, "start"),
        ({"program": {"version": 1}}, "invalid_program", "program.name"),
        ({"charges": "nowhere"}, "charge_schedule_not_found", "charges"),
        ({"program": None}, "one_program", "program"),
        ({"terms": {"interest_bps": 100_001}}, None, "terms.interest_bps"),
        ({"finer_interval": "5m"}, None, "finer_interval"),
    ],
)
async def test_what_cannot_be_searched_is_a_422_with_its_place(
    desk: Desk, changes: dict[str, Any], code: str | None, param: str
) -> None:
    answer = await post(desk, **changes)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert code is None or problem["code"] == code
    places = [problem.get("param"), *(error.get("param") for error in problem.get("errors") or [])]
    assert param in places, json.dumps(problem)
    assert await desk.rows("select 1 from sweeps") == []


async def test_a_sweep_says_that_it_reads_no_finer_bars(desk: Desk) -> None:
    answer = await post(desk, terms={"intrabar": "lower"})
    assert (answer.status_code, answer.json()["param"]) == (422, "terms.intrabar")
    assert "a sweep reads no finer bars" in answer.json()["detail"]


async def test_cash_of_a_sweep_earns_interest_as_on_files(desk: Desk) -> None:
    sweep = await made(desk, terms={"interest_bps": 400})
    await work(desk)
    result = (await get(desk, f"{sweep}/result")).json()
    plain, earning = searched(), searched()
    earning = replace(earning, run=replace(earning.run, terms=Terms(interest_bps=400)))
    local = sweep_files(earning)[0]
    assert result["ranking"] == local["ranking"] != sweep_files(plain)[0]["ranking"]
    assert result["assumptions"]["interest"] == local["assumptions"]["interest"]


async def test_too_many_unfinished_sweeps_are_limited(desk: Desk) -> None:
    for _ in range(5):
        await made(desk)
    answer = await post(desk)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_sweeps")


async def test_sweeps_are_listed_newest_first_with_their_progress(desk: Desk) -> None:
    first = await made(desk)
    await work(desk)
    second = await made(desk, name="later")
    page = (await desk.client.get("/v1/sweeps?limit=1", headers=desk.tenant.headers)).json()
    assert [one["id"] for one in page["data"]] == [second] and page["has_more"]
    page = (await desk.client.get("/v1/sweeps?status=succeeded", headers=desk.tenant.headers)).json()
    assert [(one["id"], one["combinations_done"]) for one in page["data"]] == [(first, 6)]


async def test_no_transaction_is_open_while_it_computes(desk: Desk, database_urls: dict[str, str]) -> None:
    await made(desk, grid={"fast": "2:21", "slow": "22:41"})
    admin = await asyncpg.connect(database_urls["admin"])
    held = "select count(*) from pg_stat_activity where usename = 'mandi_app' and xact_start < now() - interval '0.4 s'"
    worker = asyncio.create_task(work(desk))
    try:
        while not worker.done():
            assert await admin.fetchval(held) == 0
            await asyncio.sleep(0.1)
        assert await worker >= 2
    finally:
        await admin.close()
