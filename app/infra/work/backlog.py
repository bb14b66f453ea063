"""Decides when a tenant's work waits too long for more of it to be taken (429 `backlog_late`).

Workers take tenants in turn, so whoever fills the queue is late himself, and others are not; when there are too few
workers for everybody, everybody is. What takes risk away is never refused: nobody asks here for it.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from math import ceil
from uuid import UUID

import asyncpg
import structlog

from app.infra.outages import UNANSWERED
from app.infra.waiting import set_within
from app.kernel.errors import DomainError, Kind

READ_SECONDS = 0.25
READ_SHARE = 10
"""After a reading, so many times as long without one: a long backlog is not made longer by looking at it."""

_LATE = "select tenant_id from work_late($1, $2)"
log = structlog.get_logger(__name__)


class Backlog:
    """Who is late in which queue, as it was a moment ago. Nobody is while that cannot be read."""

    def __init__(self, dispatch: asyncpg.Pool, bounds: Mapping[str, timedelta]) -> None:
        self._dispatch = dispatch
        self._bounds = bounds
        self._late: dict[str, frozenset[UUID]] = {}

    def late(self, queue: str, tenant_id: UUID) -> bool:
        """Whether the tenant's work in `queue` waits for longer than its bound."""
        return tenant_id in self._late.get(queue, ())

    def refusal(self, queue: str) -> DomainError:
        """What is said to whoever is late."""
        bound = self._bounds[queue]
        return DomainError(
            "backlog_late",
            Kind.LIMITED,
            f"Your earlier requests have waited for more than {bound.total_seconds():g} s to be worked on, so this one "
            "was not taken. Wait for Retry-After, then repeat it. Cancels and orders that reduce a position are "
            "always taken.",
            retry_after_s=max(ceil(bound.total_seconds() / 2), 1),
        )

    def refuse(self, queue: str, tenant_id: UUID) -> None:
        """Raises `backlog_late` for a tenant that is late."""
        if self.late(queue, tenant_id):
            raise self.refusal(queue)

    async def run(self, stop: asyncio.Event) -> None:
        """Read again and again, until `stop`."""
        loop, readable = asyncio.get_running_loop(), True
        while not stop.is_set():
            began = loop.time()
            try:
                async with asyncio.timeout(2.0):
                    await self.read()
                readable = True
            except UNANSWERED as error:
                self._late = {}
                if readable:
                    log.warning("backlog.unreadable", error=repr(error))
                readable = False
            await set_within(stop, max(READ_SECONDS, READ_SHARE * (loop.time() - began)))

    async def read(self) -> None:
        """See who is late now."""
        for queue, bound in self._bounds.items():
            rows = await self._dispatch.fetch(_LATE, queue, bound)
            self._late[queue] = frozenset(row["tenant_id"] for row in rows)
