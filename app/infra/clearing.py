"""Decides how rows that have run out are removed: of all tenants at once, by the role `dispatch`, a batch at a time.

Each slice says which of its rows those are and how long they are kept beyond their end; the scheduler asks once an
hour. A table that cannot be cleared is logged and left for the next time: it stops no other.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import structlog

from app.infra.outages import UNANSWERED

BATCH = 1_000
ROUNDS = 100
"""Batches of a table that is pruned once a minute: what is left after them waits for the next turn."""

_PLANNED = "set local plan_cache_mode = force_custom_plan"
"""A batch is few rows, which are found by their keys: a plan that does not know how few reads the whole table."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outdated:
    """`statement` deletes at most `$2` rows of `table` that had ended at `$1`, which lies `kept` back."""

    table: str
    statement: str
    kept: timedelta


async def clear(dispatch: asyncpg.Pool, outdated: Iterable[Outdated], *, now: datetime) -> dict[str, int]:
    """Remove them, in order; how many rows of each table that had any."""
    done = {}
    for one in outdated:
        try:
            removed = await _clear(dispatch, one, now)
        except UNANSWERED as error:
            log.error("clearing.failed", table=one.table, error=type(error).__name__)
            continue
        if removed:
            log.info("clearing.done", table=one.table, rows=removed)
            done[one.table] = removed
    return done


async def _clear(dispatch: asyncpg.Pool, one: Outdated, now: datetime) -> int:
    removed = 0
    while True:
        batch = await _remove(dispatch, one, now)
        removed += batch
        if batch < BATCH:
            return removed


async def _remove(dispatch: asyncpg.Pool, one: Outdated, now: datetime) -> int:
    async with dispatch.acquire() as connection, connection.transaction():
        await connection.execute(_PLANNED)
        status: str = await connection.execute(one.statement, now - one.kept, BATCH)
    return int(status.rpartition(" ")[2])


async def in_batches(remove: Callable[[int], Awaitable[int]], *, batch: int, rounds: int = ROUNDS) -> int:
    """Call `remove(batch)` until it answers less than that, at most `rounds` times; how many rows it removed in all."""
    removed = 0
    for _ in range(rounds):
        gone = await remove(batch)
        removed += gone
        if gone < batch:
            break
    return removed
