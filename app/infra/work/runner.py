"""Decides how a worker runs lanes: lease, run in order, record, release. One drain handles up to 200 lanes at once."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from app.infra.work.lasting import LeaseLost, give_back, keep
from app.kernel.errors import DomainError

LANES = 200
LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 3
DRAIN_SECONDS = 10.0
"""A drain starts no item after this: lanes that are always full may not hold a worker for ever."""

ITEM_TIMEOUT = 20.0
"""Seconds one item may run: less than the lease, so that a slow handler loses its turn before its fence."""

_NEXT = "select * from work_next($1, $2, $3, $4, $5, $6)"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """One leased row of work. `fence` proves that its holder still owns the lane."""

    tenant_id: UUID
    id: UUID
    lane: UUID
    kind: str
    payload: dict[str, Any]
    attempts: int
    fence: int


@dataclass(frozen=True, slots=True)
class Handler:
    """What runs items of one kind. `never_dies`: cancels and exits are tried for ever (and alarm) instead of dying.

    `lasting`: it may run longer than a lease, so one of this length is kept while it runs (`app.infra.work.lasting`).
    """

    run: Callable[[Item], Awaitable[None]]
    never_dies: bool = False
    lasting: timedelta | None = None


class Ran(Enum):
    """What became of an item. After one that waits, nothing of its lane runs."""

    DONE = auto()
    DEAD = auto()
    WAITS = auto()


class Retry(Exception):
    """Raised by a handler that must wait: the item stays ready, available again after `seconds`, and never dies."""

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = seconds


async def drain(
    dispatch: asyncpg.Pool,
    handlers: Mapping[str, Handler],
    queue: str,
    shard: int,
    *,
    holder: str,
    lanes: int = LANES,
) -> int:
    """Lease up to `lanes` waiting lanes of the shard, run each in order until it is empty, release. Returns items run.

    Ends within `DRAIN_SECONDS` and one item; what is left waits for the next wake-up. Raises when the database fails.
    """
    claimed = await dispatch.fetch(
        "select * from work_claim($1, $2, $3, $4, $5)",
        queue,
        shard,
        holder,
        lanes,
        LEASE,
    )
    until = asyncio.get_running_loop().time() + DRAIN_SECONDS
    outcomes = await asyncio.gather(
        *(
            _run_lane(
                dispatch,
                handlers,
                queue,
                lane["tenant_id"],
                lane["lane"],
                lane["fence"],
                until,
            )
            for lane in claimed
        ),
        return_exceptions=True,  # a lane that fails leaves no other running behind the caller's back
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return sum(outcome for outcome in outcomes if isinstance(outcome, int))


async def _run_lane(
    dispatch: asyncpg.Pool,
    handlers: Mapping[str, Handler],
    queue: str,
    tenant_id: UUID,
    lane: UUID,
    fence: int,
    until: float,
) -> int:
    count, done, held = 0, None, True
    try:
        while asyncio.get_running_loop().time() < until:
            row = await dispatch.fetchrow(_NEXT, queue, tenant_id, lane, fence, LEASE, done)
            done, held = None, row is not None
            if row is None:
                return count
            item = Item(tenant_id, row["id"], lane, row["kind"], json.loads(row["payload"]), row["attempts"], fence)
            count += 1
            ran = await _run_item(dispatch, handlers, queue, item)
            if ran is Ran.WAITS:
                return count  # the lane keeps its order: what follows a failed item waits for it
            done = item.id if ran is Ran.DONE else None
        return count
    finally:
        if held:
            await _release(dispatch, queue, tenant_id, lane, fence, done)


async def _release(
    dispatch: asyncpg.Pool, queue: str, tenant_id: UUID, lane: UUID, fence: int, done: UUID | None
) -> None:
    """Give the lane back; when even a second connection fails, the lease ends by itself."""
    for last in (False, True):
        try:
            if done is not None:
                await dispatch.execute("select work_done($1, $2)", tenant_id, done)
            await dispatch.execute("select work_release($1, $2, $3, $4)", queue, tenant_id, lane, fence)
            return
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if last:
                log.warning("work.not_released", lane=str(lane), tenant=str(tenant_id), error=repr(error))


async def _run_item(dispatch: asyncpg.Pool, handlers: Mapping[str, Handler], queue: str, item: Item) -> Ran:
    """What became of it. That it is done is for the caller to write, with his next question."""
    handler = handlers.get(item.kind)
    try:
        if handler is None:
            raise LookupError(f"no handler for work of kind {item.kind!r}")
        if handler.lasting:
            await keep(dispatch, queue, item, handler.run(item), lease=handler.lasting)
        else:
            async with asyncio.timeout(ITEM_TIMEOUT):
                await handler.run(item)
    except LeaseLost:
        log.warning("work.lease_lost", kind=item.kind, item=str(item.id), tenant=str(item.tenant_id))
        return Ran.WAITS  # whoever holds the lane now runs it and records the outcome
    except Retry as wait:
        if handler is not None and handler.lasting:
            await give_back(dispatch, item, seconds=wait.seconds)
        else:
            await _failed(dispatch, item, str(wait), seconds=wait.seconds, dead=False)
        return Ran.WAITS
    except Exception as error:
        dies = not (handler and handler.never_dies)
        dead = dies and (item.attempts >= MAX_ATTEMPTS or isinstance(error, DomainError))
        log.error(
            "work.failed",
            kind=item.kind,
            item=str(item.id),
            tenant=str(item.tenant_id),
            dead=dead,
            exc_info=error,
        )
        await _failed(
            dispatch,
            item,
            repr(error),
            seconds=min(0.2 * 2**item.attempts, 30.0),
            dead=dead,
        )
        return Ran.DEAD if dead else Ran.WAITS
    return Ran.DONE


async def _failed(dispatch: asyncpg.Pool, item: Item, error: str, *, seconds: float, dead: bool) -> None:
    delay = timedelta(seconds=seconds)
    await dispatch.execute(
        "select work_failed($1, $2, $3, $4, $5)",
        item.tenant_id,
        item.id,
        error,
        delay,
        dead,
    )
