"""Decides how a revocation reaches every process within a second: marks in Redis, asked for at every request.

A mark outlives every token that it can concern, so nothing is forgotten too early and nothing has to be cleaned up.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from enum import StrEnum

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.infra.redis import REDIS_ERRORS
from app.platform.oauth.domain import ACCESS_LIFE, AccessToken

_PREFIX = "mandi:oauth:ended:"
_KEEP_SECONDS = int(ACCESS_LIFE.total_seconds()) + 60
_ASK_SECONDS = 0.5
_AGAIN_SECONDS = 0.25
_NOT_SAID = (RedisError, *REDIS_ERRORS)  # also when Redis answers with an error: it is full, or still loading
log = structlog.get_logger(__name__)


class Standing(StrEnum):
    """`unknown`: Redis did not say. Whoever asks decides what may go on without knowing."""

    IN_FORCE = "in_force"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class Revocations:
    """The denylist. What could not be written is kept and tried again by `run` until no token can be concerned."""

    def __init__(self, redis: Redis, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._pending: dict[str, float] = {}

    async def publish(self, marks: Iterable[str]) -> bool:
        """End what `marks` name, in every process. Only after the commit. False: not written yet, and kept."""
        until = self._monotonic() + _KEEP_SECONDS
        self._pending |= dict.fromkeys(marks, until)
        return await self._write()

    async def _write(self) -> bool:
        marks = list(self._pending)
        if not marks:
            return True
        try:
            async with asyncio.timeout(_ASK_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
                for mark in marks:
                    pipeline.set(_PREFIX + mark, "1", ex=_KEEP_SECONDS)
                await pipeline.execute()
        except _NOT_SAID as error:
            log.warning("oauth.revocation_waits", marks=len(marks), error=type(error).__name__)
            return False
        for mark in marks:
            self._pending.pop(mark, None)
        return True

    async def standing(self, token: AccessToken) -> Standing:
        """Whether anything has ended the token."""
        marks = token.marks()
        if any(mark in self._pending for mark in marks):
            return Standing.REVOKED
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                found = await self._redis.exists(*[_PREFIX + mark for mark in marks])
        except _NOT_SAID:
            return Standing.UNKNOWN
        return Standing.REVOKED if found else Standing.IN_FORCE

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: write what is pending."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(_AGAIN_SECONDS):
                    await stop.wait()
            except TimeoutError:
                pass
            now = self._monotonic()
            self._pending = {mark: until for mark, until in self._pending.items() if until > now}
            await self._write()
