"""Decides how a worker runs lanes: lease, run in order, record, release. One drain handles up to 200 lanes at once."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from app.infra.outages import UNANSWERED, is_outage
from app.infra.work.lasting import LeaseLost, give_back, keep
from app.kernel.errors import DomainError

LANES = 200
LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 3
DRAIN_SECONDS = 10.0
"""A drain starts no item after this: lanes that are always full may not hold a worker for ever."""

ITEM_TIMEOUT = 20.0
"""Seconds one item may run: less than the lease, so that a slow handler loses its turn before its fence."""

_TAKE = "select * from work_take($1, $2, $3, $4, $5)"
_NEXT = "select * from work_next($1, $2, $3, $4, $5, $6)"
_NEXT_ALL = "select * from work_next_all($1, $2, $3, $4, $5, $6, $7)"
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
    `together`: runs what it can of the present items of many lanes at once, and answers the ids of those that are done;
    the others are run one by one. What it raises undoes nothing: then all are run one by one.
    """

    run: Callable[[Item], Awaitable[None]]
    never_dies: bool = False
    lasting: timedelta | None = None
    together: Callable[[Sequence[Item]], Awaitable[Collection[UUID]]] | None = None


@dataclass(frozen=True, slots=True)
class _Lane:
    """A leased lane."""

    tenant_id: UUID
    id: UUID
    fence: int


class Ran(Enum):
    """What became of an item. After one that waits, nothing of its lane runs."""

    DONE = auto()
    DEAD = auto()
    WAITS = auto()


class Retry(Exception):
    """Raised by a handler that must wait: the item stays ready, available again after `seconds`, and never dies.

    It counts as an attempt only of what never dies, for pauses that grow.
    """

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = seconds


async def drain(
    dispatch: asyncpg.Pool,
    handlers: Mapping[str, Handler],
    queue: str,
    *shards: int,
    holder: str,
    lanes: int = LANES,
) -> int:
    """Lease up to `lanes` waiting lanes of the shards, run each in order until it is empty, release. Returns items run.

    Ends within `DRAIN_SECONDS` and one item; what is left waits for the next wake-up. Raises when the database fails.
    """
    rows = await dispatch.fetch(_TAKE, queue, shards, holder, lanes, LEASE)
    until = asyncio.get_running_loop().time() + DRAIN_SECONDS
    bench = _Bench(dispatch, handlers, queue, shards, until)
    turns = [_Lane(row["tenant_id"], row["lane"], row["fence"]) for row in rows]
    for lane, row in zip(turns, rows, strict=True):
        if row["id"] is None:
            bench.alone(lane, None)  # its work was done while it was claimed
    present = [_item(lane, row) for lane, row in zip(turns, rows, strict=True) if row["id"] is not None]
    try:
        while present:
            present = await bench.round(present)
    except BaseException:
        await bench.abandon()
        raise
    outcomes = await asyncio.gather(*bench.running, return_exceptions=True)
    for outcome in outcomes:  # a lane that fails leaves no other running behind the caller's back
        if isinstance(outcome, BaseException):
            raise outcome
    return bench.ran + sum(outcome for outcome in outcomes if isinstance(outcome, int))


class _Bench:
    """The lanes of one drain: in rounds those whose present items can be run together; each of the others by itself."""

    def __init__(
        self, dispatch: asyncpg.Pool, handlers: Mapping[str, Handler], queue: str, shards: Sequence[int], until: float
    ) -> None:
        self.running: list[asyncio.Task[int]] = []
        self.ran = 0
        self._round: dict[UUID, tuple[Item, bool]] = {}
        self._dispatch = dispatch
        self._handlers = handlers
        self._queue = queue
        self._shards = shards
        self._until = until

    def alone(self, lane: _Lane, item: Item | None) -> None:
        """Run the lane by itself until it is empty, beginning with `item`."""
        running = _run_lane(self._dispatch, self._handlers, self._queue, lane, self._until, item)
        self.running.append(asyncio.create_task(running))

    async def round(self, items: Sequence[Item]) -> list[Item]:
        """Run the present items of lanes. Answers the next items of those lanes that go on together."""
        kinds: defaultdict[str, list[Item]] = defaultdict(list)
        for item in items:
            handler = self._handlers.get(item.kind)
            if handler is None or handler.together is None:
                self.alone(_lane(item), item)  # at once: a cancel in one lane waits for no entries in others
            else:
                kinds[item.kind].append(item)
                self._round[item.id] = item, False
        for kind, present in kinds.items():
            finished = await self._together(kind, present)
            for item in present:
                if item.id in finished:
                    self._round[item.id] = item, True
                else:
                    del self._round[item.id]
                    self.alone(_lane(item), item)
        self.ran += len(self._round)
        found = await self._next([item for item, _ in self._round.values()]) if self._round else []
        self._round.clear()
        return found

    async def abandon(self) -> None:
        """Stop what runs, and give every lane back; of what was done, it is written that it is."""
        for task in self.running:
            task.cancel()
        releases = [
            _release(self._dispatch, self._queue, _lane(item), item.id if done else None)
            for item, done in self._round.values()
        ]
        await asyncio.gather(*self.running, *releases, return_exceptions=True)

    async def _together(self, kind: str, items: Sequence[Item]) -> Collection[UUID]:
        run = self._handlers[kind].together
        assert run is not None  # `round` has looked
        try:
            async with asyncio.timeout(ITEM_TIMEOUT):
                return await run(items)
        except Exception as error:
            log.error("work.not_together", kind=kind, items=len(items), exc_info=error)
            return ()

    async def _next(self, done: Sequence[Item]) -> list[Item]:
        """Write that these are done; the next items of their lanes. Lanes without one are given back."""
        lanes = {(item.tenant_id, item.lane): _lane(item) for item in done}
        columns = [item.tenant_id for item in done], [item.lane for item in done], [item.fence for item in done]
        rows = await self._dispatch.fetch(
            _NEXT_ALL, self._queue, self._shards, *columns, LEASE, [item.id for item in done]
        )
        found = [_item(lanes[row["tenant_id"], row["lane"]], row) for row in rows]
        if asyncio.get_running_loop().time() < self._until:
            return found
        for item in found:
            self.alone(_lane(item), item)  # started, so it runs; then the lane's time is over
        return []


async def _run_lane(
    dispatch: asyncpg.Pool,
    handlers: Mapping[str, Handler],
    queue: str,
    lane: _Lane,
    until: float,
    item: Item | None,
) -> int:
    """Run the lane's items, beginning with `item`, which has been started; then give the lane back."""
    count, done, held = 0, None, True
    try:
        while True:
            if item is not None:
                count += 1
                ran = await _run_item(dispatch, handlers, queue, item)
                if ran is Ran.WAITS:
                    return count  # the lane keeps its order: what follows a failed item waits for it
                done = item.id if ran is Ran.DONE else None
            if asyncio.get_running_loop().time() >= until:
                return count
            row = await dispatch.fetchrow(_NEXT, queue, lane.tenant_id, lane.id, lane.fence, LEASE, done)
            done, held = None, row is not None
            if row is None:
                return count
            item = _item(lane, row)
    finally:
        if held:
            await _release(dispatch, queue, lane, done)


def _item(lane: _Lane, row: asyncpg.Record) -> Item:
    payload = json.loads(row["payload"])
    return Item(lane.tenant_id, row["id"], lane.id, row["kind"], payload, row["attempts"], lane.fence)


def _lane(item: Item) -> _Lane:
    return _Lane(item.tenant_id, item.lane, item.fence)


async def _release(dispatch: asyncpg.Pool, queue: str, lane: _Lane, done: UUID | None) -> None:
    """Give the lane back; when even a second connection fails, the lease ends by itself."""
    for last in (False, True):
        try:
            if done is not None:
                await dispatch.execute("select work_done($1, $2)", lane.tenant_id, done)
            await dispatch.execute("select work_release($1, $2, $3, $4)", queue, lane.tenant_id, lane.id, lane.fence)
            return
        except UNANSWERED as error:
            if last:
                log.warning("work.not_released", lane=str(lane.id), tenant=str(lane.tenant_id), error=repr(error))


async def _run_item(dispatch: asyncpg.Pool, handlers: Mapping[str, Handler], queue: str, item: Item) -> Ran:
    """What became of it. That it is done is for the caller to write, with his next question."""
    handler = handlers.get(item.kind)
    dies = handler is None or not handler.never_dies
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
            await _failed(dispatch, item, str(wait), seconds=wait.seconds, counts=not dies)
        return Ran.WAITS
    except Exception as error:
        away = is_outage(error)
        dead = dies and not away and (item.attempts >= MAX_ATTEMPTS or isinstance(error, DomainError))
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
            seconds=_pause(item.attempts),
            dead=dead,
            counts=not (dies and away),
        )
        return Ran.DEAD if dead else Ran.WAITS
    return Ran.DONE


def _pause(attempts: int) -> float:
    """Seconds after so many failures: twice as many each time, 30 at last."""
    return float(min(0.2 * 2 ** min(attempts, 8), 30.0))


async def _failed(
    dispatch: asyncpg.Pool, item: Item, error: str, *, seconds: float, dead: bool = False, counts: bool
) -> None:
    what = error, timedelta(seconds=seconds), dead, counts
    await dispatch.execute("select work_failed($1, $2, $3, $4, $5, $6)", item.tenant_id, item.id, *what)
