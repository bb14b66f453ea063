"""Decides what the platform's operator sees of rows of work, and what makes a dead one ready again.

Reading crosses tenants, so it is the role `mandi_dispatch`'s and nobody's who serves tenants; a replay is a transaction
of the tenant's own.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text

from app.infra.database import Tx
from app.kernel.errors import conflict, not_found
from app.kernel.ids import encode_id

PREFIX = "wrk"


class Standing(StrEnum):
    """Of an item that is not done. `later`: its time, or that of its next attempt, has not come."""

    READY = "ready"
    LATER = "later"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of work. `payload` is JSON as it is stored; `held_until`: a worker holds its lane until then."""

    tenant_id: UUID
    id: UUID
    queue: str
    lane: UUID
    kind: str
    state: str
    priority: int
    attempts: int
    last_error: str | None
    created_at: datetime
    available_at: datetime
    finished_at: datetime | None
    held_until: datetime | None
    payload: str
    read_at: datetime


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """One queue: rows by standing, and since when its oldest ready one waits."""

    queue: str
    ready: int
    later: int
    dead: int
    oldest: datetime | None
    read_at: datetime


_STANDING = """case when w.state = 'ready' and w.available_at > clock_timestamp() then 'later' else w.state end"""
_ITEM = f"""
select w.tenant_id, w.id, w.queue, w.lane, w.kind, {_STANDING} as state, w.priority, w.attempts, w.last_error,
       w.created_at, w.available_at, w.finished_at, w.payload::text as payload, clock_timestamp() as read_at,
       (select l.lease_until from work_leases l where l.tenant_id = w.tenant_id and l.queue = w.queue
        and l.lane = w.lane and l.lease_until > clock_timestamp()) as held_until
from work_items w
"""  # noqa: S608  # of constants
_LIST = f"""{_ITEM} where w.state <> 'done' and {_STANDING} = any ($1) and ($2::text is null or w.kind = $2)
order by w.sequence limit $3"""
_SHOW = f"{_ITEM} where w.id = $1"
_STATS = f"""
select s.queue, count(*) filter (where s.standing = 'ready') as ready,
       count(*) filter (where s.standing = 'later') as later, count(*) filter (where s.standing = 'dead') as dead,
       min(s.available_at) filter (where s.standing = 'ready') as oldest, clock_timestamp() as read_at
from (select w.queue, w.available_at, {_STANDING} as standing from work_items w where w.state <> 'done') s
group by s.queue order by s.queue
"""  # noqa: S608  # of constants
_REPLAY = text(
    "update work_items set state = 'ready', attempts = 0, available_at = clock_timestamp(), finished_at = null "
    "where id = :id and state = 'dead' returning queue, kind"
)


async def list_work(
    dispatch: asyncpg.Pool, standings: list[Standing], *, kind: str | None = None, limit: int
) -> list[Listed]:
    """What is not done, the oldest first."""
    return [Listed(**row) for row in await dispatch.fetch(_LIST, [one.value for one in standings], kind, limit)]


async def show_work(dispatch: asyncpg.Pool, item_id: UUID) -> Listed:
    """One row, done or not. Raises `work_not_found`: done rows are kept for an hour."""
    row = await dispatch.fetchrow(_SHOW, item_id)
    if row is None:
        raise not_found("work", encode_id(PREFIX, item_id))
    return Listed(**row)


async def work_standings(dispatch: asyncpg.Pool) -> list[QueueStanding]:
    """Every queue that has something to do."""
    return [QueueStanding(**row) for row in await dispatch.fetch(_STATS)]


async def replay_work(tx: Tx, item_id: UUID) -> dict[str, Any]:
    """Make the tenant's dead row ready, as if it had never been tried; its kind and queue.

    Raises `work_not_dead`: what waits, runs or is done is tried by itself or not at all.
    """
    row = (await tx.execute(_REPLAY, {"id": item_id})).mappings().one_or_none()
    if row is None:
        raise conflict("work_not_dead", f"{encode_id(PREFIX, item_id)} is not dead; only dead work can be replayed.")
    tx.emit("work.replayed", item_id, {"kind": row["kind"]})
    tx.wake(row["queue"])
    return dict(row)
