"""Decides how rows that have run out are removed: of all tenants at once, by the role `dispatch`, a batch at a time.

Each slice says which of its rows those are and how long they are kept beyond their end; the scheduler asks once an
hour. A table that cannot be cleared is logged and left for the next time: it stops no other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import structlog

BATCH = 1_000
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
        except asyncpg.PostgresError as error:
            log.error("clearing.failed", table=one.table, error=type(error).__name__)
            continue
        if removed:
            log.info("clearing.done", table=one.table, rows=removed)
            done[one.table] = removed
    return done


async def _clear(dispatch: asyncpg.Pool, one: Outdated, now: datetime) -> int:
    removed = 0
    while True:
        status: str = await dispatch.execute(one.statement, now - one.kept, BATCH)
        batch = int(status.rpartition(" ")[2])
        removed += batch
        if batch < BATCH:
            return removed
