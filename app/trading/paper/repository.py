"""Decides how the matcher's place is read and written, as the dispatch role, and what is cleared."""

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from app.infra.clearing import Outdated

OUTDATED = (
    Outdated(
        "paper_ended",
        "delete from paper_ended where (tenant_id, id) in "
        "(select tenant_id, id from paper_ended where ended_at < $1 limit $2)",
        timedelta(days=3),
    ),
)
"""A venue tells of its day; a cancelled order can come late for minutes, not for days."""


async def checkpoint(dispatch: asyncpg.Pool, feed: str) -> str:
    """The last entry that was matched; `0-0` before the first."""
    return await dispatch.fetchval("select paper_checkpoint($1)", feed) or "0-0"


async def advance(dispatch: asyncpg.Pool, feed: str, stream_id: str, market_at: datetime | None) -> None:
    """Everything up to `stream_id` is committed."""
    await dispatch.execute("select paper_advance($1, $2, $3)", feed, stream_id, market_at)


async def resting_in(dispatch: asyncpg.Pool, feed: str, instrument_id: UUID) -> list[tuple[UUID, UUID]]:
    """(tenant, order) of what rests in one instrument."""
    rows = await dispatch.fetch(
        "select tenant_id, id from paper_orders where feed = $1 and instrument_id = $2", feed, instrument_id
    )
    return [(row["tenant_id"], row["id"]) for row in rows]
