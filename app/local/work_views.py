"""Decides what `mandi work` tells: the same facts as JSON and as tables that fit 60 columns."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from app.infra.work.operating import PREFIX, Listed, QueueStanding
from app.kernel.ids import encode_id
from app.kernel.times import format_time

_STYLES = {"dead": "red", "ready": "green", "later": "yellow"}
_ERROR = 96
"""Characters of an error in a list; `show` has all of it."""


def items_view(found: Sequence[Listed]) -> tuple[list[dict[str, Any]], Table]:
    """The rows, and how they look: what one scans for stands in columns, what one copies below each other."""
    rows = [_facts(item) for item in found]
    table = _table("work")
    for heading in ("age", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("tries", justify="right", no_wrap=True)
    table.add_column("kind and queue, id, tenant, last error", min_width=30, overflow="fold")
    for item, row in zip(found, rows, strict=True):
        what = Text.assemble((item.kind, "bold"), f" {item.queue}\n{row['id']}\n{row['tenant_id']}")
        if item.last_error:
            what.append(f"\n{_short(item.last_error)}", style="dim")
        table.add_row(age(item.read_at - item.created_at), _state(item.state), str(item.attempts), what)
    return rows, table


def item_view(item: Listed) -> tuple[dict[str, Any], Table]:
    """Everything about one."""
    facts = _facts(item) | {
        "lane": str(item.lane),
        "priority": item.priority,
        "available_at": format_time(item.available_at.astimezone(UTC)),
        "finished_at": _time(item.finished_at),
        "held_until": _time(item.held_until),
        "payload": json.loads(item.payload),
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        shown = json.dumps(value) if isinstance(value, dict) else "-" if value is None else _plain(str(value))
        table.add_row(name.replace("_", " "), _state(shown) if name == "state" else Text(shown))
    return facts, table


def standings_view(found: Sequence[QueueStanding]) -> tuple[list[dict[str, Any]], Table]:
    """One row for each queue."""
    rows = [
        {"queue": one.queue, "ready": one.ready, "later": one.later, "dead": one.dead, "oldest": _time(one.oldest)}
        for one in found
    ]
    table = _table("work by queue")
    table.add_column("queue", no_wrap=True)
    for heading in ("ready", "oldest", "later", "dead"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        oldest = "-" if one.oldest is None else age(one.read_at - one.oldest)
        dead = Text(f"{one.dead:,}", style="red" if one.dead else "")
        table.add_row(Text(one.queue), f"{one.ready:,}", oldest, f"{one.later:,}", dead)
    return rows, table


def age(span: timedelta) -> str:
    """`12 s`, `5 m`, `3 h`, `4 d`: the largest unit that is whole."""
    seconds = max(int(span.total_seconds()), 0)
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def _facts(item: Listed) -> dict[str, Any]:
    return {
        "id": encode_id(PREFIX, item.id),
        "tenant_id": encode_id("ten", item.tenant_id),
        "queue": item.queue,
        "kind": item.kind,
        "state": item.state,
        "attempts": item.attempts,
        "last_error": item.last_error,
        "created_at": format_time(item.created_at.astimezone(UTC)),
    }


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )


def _short(error: str) -> str:
    line = _plain(error)
    return line if len(line) <= _ERROR else f"{line[: _ERROR - 1]}…"


def _plain(said: str) -> str:
    """What a broker or a payload said may not write to the operator's terminal by itself."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "�" for c in said).split())


def _state(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at.astimezone(UTC))
