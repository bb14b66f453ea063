"""Decides when a wake-up is sent: the backlog stays in PostgreSQL, and a shard is named by one message at a time."""

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
"""After wake-ups were sent: the first of a burst goes at once, what follows it together."""

SENT_TTL_MS = 2_000
"""A wake-up lost with its worker is sent again after this; a duplicate finds its lanes leased and does nothing."""

QUEUE_LIMIT = 32
"""Messages a queue may hold: two for each of the 16 shards."""

SHARED_ROWS = 16
"""Shards with little to do share a message up to so many rows: it costs a worker as much as several of them."""

RETRY_SECONDS = 0.2

Waiting = tuple[str, int, int]
"""A queue, one of its shards, and how many rows wait there."""

Source = Callable[[], Awaitable[Sequence[Waiting]]]
"""Answers what has something to do now."""

Send = Callable[[str, Sequence[int]], None]
"""Sends one wake-up for shards of a queue. Blocking; raises `OSError` when the broker is away."""

log = structlog.get_logger(__name__)


def sent_key(queue: str, shard: int) -> str:
    """Exists while a wake-up of this shard is under way."""
    return f"work:sent:{queue}:{shard}"


async def taken(redis: Redis, queue: str, shards: Sequence[int]) -> None:
    """A worker has the message of these shards: new work needs a new one. Without Redis the keys expire."""
    with suppress(*REDIS_ERRORS):
        await redis.delete(*(sent_key(queue, shard) for shard in shards))


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


async def run_relay(redis: Redis, sources: Sequence[Source], send: Send, *, stop: asyncio.Event) -> None:
    """Until `stop`: on a poke or every 50 ms, wake each shard that has work and no wake-up under way.

    `send` runs in a thread. Errors of a source end the relay.
    """
    woken = asyncio.Event()
    listener = asyncio.create_task(_listen(redis, woken))
    redis_up = True
    clock = asyncio.get_running_loop().time
    sent = 0.0
    try:
        while not stop.is_set():
            if await set_within(woken, POLL_SECONDS):
                await asyncio.sleep(max(sent + LINGER_SECONDS - clock(), 0))  # a burst becomes few messages
            woken.clear()
            looked = clock()
            waiting = [shard for found in await asyncio.gather(*(source() for source in sources)) for shard in found]
            try:
                if waiting:
                    sent = looked
                    await wake(redis, send, waiting)
                    redis_up = True
            except REDIS_ERRORS as error:
                if redis_up:
                    log.warning("relay.redis_down", error=repr(error))
                redis_up = False
                await asyncio.sleep(RETRY_SECONDS)
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def wake(redis: Redis, send: Send, waiting: Sequence[Waiting]) -> None:
    """Send what wakes these shards. None where a message that names the shard is under way, nor where a queue is long
    already because no worker takes from it."""
    async with redis.pipeline(transaction=False) as asked:
        for queue, shard, _ in waiting:
            asked.set(sent_key(queue, shard), "1", nx=True, px=SENT_TTL_MS)
        for queue in (queues := sorted({queue for queue, _, _ in waiting})):
            asked.llen(queue)
        answers = await asked.execute()
    room = {queue: QUEUE_LIMIT - held for queue, held in zip(queues, answers[len(waiting) :], strict=True)}
    fresh = [one for one, taken in zip(waiting, answers, strict=False) if taken]
    for queue, shards in shared(fresh):
        if room[queue] > 0:
            room[queue] -= 1
            await asyncio.to_thread(send, queue, shards)


def shared(waiting: Sequence[Waiting]) -> list[tuple[str, list[int]]]:
    """The messages that wake these: shards of a queue share one until it stands for `SHARED_ROWS`."""
    messages: list[tuple[str, list[int]]] = []
    open_ones: dict[str, tuple[list[int], int]] = {}
    for queue, shard, rows in waiting:
        shards, held = open_ones.get(queue, ([], SHARED_ROWS))
        if held + rows > SHARED_ROWS:
            shards, held = [], 0
            messages.append((queue, shards))
        shards.append(shard)
        open_ones[queue] = shards, held + rows
    return messages


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
