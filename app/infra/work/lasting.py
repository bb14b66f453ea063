"""Decides how work that lasts keeps its turn: lease and item are renewed together; both come back when a worker dies.

While it runs, the item is not available, so the relay sends no wake-up for it. A worker that ends in order gives it
back at once, and the attempt does not count.
"""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import asyncpg
import structlog

from app.infra.outages import UNANSWERED

RENEWALS = 5
"""In the time of one lease: four may fail before it ends."""

log = structlog.get_logger(__name__)


class Turn(Protocol):
    """What is known of a leased item."""

    @property
    def tenant_id(self) -> UUID: ...
    @property
    def id(self) -> UUID: ...
    @property
    def lane(self) -> UUID: ...
    @property
    def fence(self) -> int: ...


class LeaseLost(Exception):
    """Another worker may hold the lane by now: what runs here is cancelled and records nothing."""


async def keep(dispatch: asyncpg.Pool, queue: str, item: Turn, work: Awaitable[None], *, lease: timedelta) -> None:
    """Run `work` while the lease of `item` is renewed. Raises what it raises, and `LeaseLost`."""
    job = asyncio.ensure_future(work)
    try:
        renewed = asyncio.get_running_loop().time()
        while not job.done():
            renewed = await _renew(dispatch, queue, item, lease, since=renewed)
            await asyncio.wait({job}, timeout=lease.total_seconds() / RENEWALS)
        job.result()
    except asyncio.CancelledError:
        await _end(job)
        await give_back(dispatch, item, seconds=0.0)
        raise
    finally:
        await _end(job)


async def give_back(dispatch: asyncpg.Pool, item: Turn, *, seconds: float) -> None:
    """The item is ready again after `seconds`; nothing failed, so the attempt does not count."""
    await dispatch.execute("select work_return($1, $2, $3)", item.tenant_id, item.id, timedelta(seconds=seconds))


async def _end(job: asyncio.Future[None]) -> None:
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)


async def _renew(dispatch: asyncpg.Pool, queue: str, item: Turn, lease: timedelta, *, since: float) -> float:
    """The loop's time of the last renewal. A database that is away for a moment costs nothing yet."""
    now = asyncio.get_running_loop().time()
    try:
        held = await dispatch.fetchval(
            "select work_renew($1, $2, $3, $4, $5, $6)",
            queue,
            item.tenant_id,
            item.lane,
            item.fence,
            item.id,
            lease,
        )
    except UNANSWERED as error:
        log.warning("work.not_renewed", item=str(item.id), error=repr(error))
        held, now = now - since < lease.total_seconds(), since
    if not held:
        raise LeaseLost
    return now
