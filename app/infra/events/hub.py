"""Decides how events reach those who listen in this process: one read per tenant, however many listen to it.

Nothing is queued for a listener. He says how far he has come and is given what follows: from memory while he keeps up,
from the database otherwise. So a slow one costs nothing but his own time, and nobody misses an event or sees it twice.
No transaction is open while anybody waits.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, cast
from uuid import UUID

import structlog
from redis.asyncio import Redis
from sqlalchemy import func
from sqlmodel import select

from app.infra.database import Database
from app.infra.events.follower import CHANNEL
from app.infra.events.tables import EventRow
from app.infra.redis import REDIS_ERRORS
from app.infra.waiting import set_within
from app.kernel.errors import DomainError, Kind

KEPT = 1_000
"""Events of one tenant held in memory: who is further behind reads the database."""

PAGE = 200
LOOK_SECONDS = 1.0
"""How often to look without being told."""

RETRY_SECONDS = 0.2
MOST_LISTENERS = 2_000
_Row = cast(Any, EventRow)
log = structlog.get_logger(__name__)


class Told(NamedTuple):
    """One event as it is told to everybody; `body` is JSON."""

    position: int
    type: str
    body: bytes


class _Feed:
    """One tenant's latest events. `floor`: the position before the oldest one in memory."""

    def __init__(self, head: int) -> None:
        self.head = self.floor = head
        self.recent: deque[Told] = deque()
        self.listeners = 0
        self.reading = asyncio.Lock()
        self.changed = asyncio.Event()

    def add(self, found: Sequence[Told]) -> None:
        self.recent.extend(found)
        self.head = found[-1].position
        while len(self.recent) > KEPT:
            self.floor = self.recent.popleft().position
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def after(self, position: int) -> list[Told]:
        """At most a page of what follows `position`, which is not before `floor`: positions are dense."""
        first = position - self.floor
        return list(islice(self.recent, first, first + PAGE))


class EventHub:
    """Tells a process's listeners of their tenant's events. `run` must run."""

    def __init__(self, database: Database, redis: Redis, *, render: Callable[[EventRow], bytes]) -> None:
        self._database, self._redis, self._render = database, redis, render
        self._feeds: dict[UUID, _Feed] = {}
        self._closed = asyncio.Event()

    async def follow(self, tenant_id: UUID, *, since: int | None, idle: float) -> AsyncGenerator[Sequence[Told]]:
        """What follows position `since` (None: from now on), in order, each event once, a batch at a time; an empty
        batch whenever nothing came for `idle` seconds, and first of all. Ends when the process does.

        Raises `too_many_listeners`.
        """
        if sum(feed.listeners for feed in self._feeds.values()) >= MOST_LISTENERS:
            raise DomainError("too_many_listeners", Kind.UNAVAILABLE, "Too many streams are open here; try again.")
        feed = await self._feed(tenant_id)
        with self._listening(tenant_id, feed):
            position = feed.head if since is None else since
            yield ()
            while not self._closed.is_set():
                changed = feed.changed  # before looking: what comes meanwhile sets it
                found = feed.after(position) if position >= feed.floor else await self._read(tenant_id, position, PAGE)
                if not found and await set_within(changed, idle):
                    continue
                position = found[-1].position if found else position
                yield found

    async def head(self, tenant_id: UUID) -> int:
        """The tenant's last position; 0 before the first event."""
        async with self._database.tx(tenant_id) as tx:
            return int((await tx.scalars(select(func.coalesce(func.max(_Row.position), 0)))).one())

    @property
    def closed(self) -> bool:
        """The process is ending."""
        return self._closed.is_set()

    def close(self) -> None:
        """End every stream."""
        self._closed.set()
        for feed in self._feeds.values():
            feed.changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: look for events of tenants that are listened to, when the follower says so and once a
        second."""
        looking = asyncio.create_task(self._look_regularly())
        try:
            while not stop.is_set():
                try:
                    await self._told(stop)
                except REDIS_ERRORS as error:
                    log.warning("events.redis_down", error=repr(error))
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _told(self, stop: asyncio.Event) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(CHANNEL)
            while not stop.is_set():
                message = await pubsub.get_message(timeout=0.5)
                if message is not None:
                    await self._look(_named(message["data"]))

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look(list(self._feeds))

    async def _look(self, tenants: Sequence[UUID]) -> None:
        feeds = [(tenant, feed) for tenant in tenants if (feed := self._feeds.get(tenant)) is not None]
        for failed in await asyncio.gather(*(self._catch_up(*one) for one in feeds), return_exceptions=True):
            if isinstance(failed, Exception):
                log.warning("events.not_read", error=repr(failed))

    async def _catch_up(self, tenant_id: UUID, feed: _Feed) -> None:
        async with feed.reading:
            while found := await self._read(tenant_id, feed.head, KEPT):
                feed.add(found)

    async def _read(self, tenant_id: UUID, after: int, limit: int) -> list[Told]:
        statement = select(EventRow).where(_Row.position > after).order_by(_Row.position).limit(limit)
        async with self._database.tx(tenant_id) as tx:
            rows = (await tx.scalars(statement)).all()
        return [Told(row.position or 0, row.type, self._render(row)) for row in rows]

    async def _feed(self, tenant_id: UUID) -> _Feed:
        if tenant_id not in self._feeds:
            head = await self.head(tenant_id)
            self._feeds.setdefault(tenant_id, _Feed(head))
        return self._feeds[tenant_id]

    @contextmanager
    def _listening(self, tenant_id: UUID, feed: _Feed) -> Iterator[None]:
        feed = self._feeds.setdefault(tenant_id, feed)
        feed.listeners += 1
        try:
            yield
        finally:
            feed.listeners -= 1
            if feed.listeners == 0:
                self._feeds.pop(tenant_id, None)


def _named(announced: str) -> list[UUID]:
    """The tenants of an announcement. What is none is passed over: one bad message may not silence every stream."""
    try:
        return [UUID(text) for text in announced.split()]
    except ValueError:
        log.warning("events.bad_announcement", length=len(announced))
        return []
