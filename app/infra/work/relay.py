"""Decides when a wake-up is sent: the backlog stays in PostgreSQL, a queue holds one message per shard at most."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog
from redis.asyncio import Redis

from app.infra.redis import REDIS_ERRORS
from app.infra.waiting import set_within

CHANNEL = "work"
POLL_SECONDS = 0.05
LINGER_SECONDS = 0.010
SENT_TTL_MS = 2_000
"""A wake-up lost with its worker is sent again after this; a duplicate finds its lanes leased and does nothing."""

QUEUE_LIMIT = 32
"""Messages a queue may hold: two for each of the 16 shards."""

RETRY_SECONDS = 0.2

Source = Callable[[], Awaitable[Sequence[tuple[str, int]]]]
"""Answers which (queue, shard) have something to do now."""

log = structlog.get_logger(__name__)


def sent_key(queue: str, shard: int) -> str:
    """Exists while a wake-up of this shard is under way."""
    return f"work:sent:{queue}:{shard}"


class Poker:
    """After a commit, tells the relay that shards have work: best effort, never waited for.

    At most one message in the time that the relay lingers: it asks for all work when it has lingered, so what comes
    meanwhile needs no message of its own, and each costs the gateway as much as half a small request.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pending: set[tuple[str, int]] = set()
        self._task: asyncio.Task[None] | None = None

    def poke(self, queue: str, shard: int) -> None:
        self._pending.add((queue, shard))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._publish())

    async def _publish(self) -> None:
        while self._pending:
            told = " ".join(f"{queue}:{shard}" for queue, shard in sorted(self._pending))
            self._pending.clear()
            with suppress(*REDIS_ERRORS):  # the relay polls every 50 ms: nothing is lost but latency
                await self._redis.publish(CHANNEL, told)
            await asyncio.sleep(LINGER_SECONDS)

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


async def run_relay(
    redis: Redis,
    sources: Sequence[Source],
    send: Callable[[str, int], None],
    *,
    stop: asyncio.Event,
) -> None:
    """Until `stop`: on a poke or every 50 ms, `send` one wake-up for each shard that has work and none under way.

    `send` blocks and runs in a thread; it raises `OSError` when the broker is away. Errors of a source end the relay.
    """
    woken = asyncio.Event()
    listener = asyncio.create_task(_listen(redis, woken))
    redis_up = True
    try:
        while not stop.is_set():
            if await set_within(woken, POLL_SECONDS):
                await asyncio.sleep(LINGER_SECONDS)  # a burst becomes one message per shard
            woken.clear()
            waiting = [shard for source in sources for shard in await source()]
            try:
                for queue, shard in waiting:
                    await _wake(redis, send, queue, shard)
                    redis_up = True
            except REDIS_ERRORS as error:
                if redis_up:
                    log.warning("relay.redis_down", error=repr(error))
                redis_up = False
                await asyncio.sleep(RETRY_SECONDS)
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _wake(redis: Redis, send: Callable[[str, int], None], queue: str, shard: int) -> None:
    """One message, unless one is under way or the queue is long already because no worker takes from it."""
    if not await redis.set(sent_key(queue, shard), "1", nx=True, px=SENT_TTL_MS):
        return
    if await redis.llen(queue) < QUEUE_LIMIT:
        await asyncio.to_thread(send, queue, shard)


async def _listen(redis: Redis, woken: asyncio.Event) -> None:
    while True:
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(CHANNEL)
                while True:
                    if await pubsub.get_message(timeout=1.0) is not None:
                        woken.set()
        except REDIS_ERRORS:
            await asyncio.sleep(RETRY_SECONDS)
