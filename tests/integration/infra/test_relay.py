"""Wake-ups: one for each shard that has work, though pokes are lost, bursts come, or Redis is away."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.infra.redis import open_redis
from app.infra.work import relay
from app.infra.work.relay import SHARED_ROWS, Poker, Waiting, run_relay, sent_key, shared
from app.kernel.ids import uuid7
from app.local.valkey import EmbeddedValkey, temporary_valkey


@pytest_asyncio.fixture
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    client = open_redis(valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
def queue() -> str:
    return f"test-{uuid7().hex}"


class House:
    """A source with shards that wait, and a broker that notes what it was sent."""

    def __init__(self, queue: str, *shards: int) -> None:
        self.waiting = [(queue, shard, 1) for shard in shards]
        self.sent: Counter[tuple[str, int]] = Counter()
        self.messages = self.looks = 0

    async def source(self) -> Sequence[Waiting]:
        self.looks += 1
        return self.waiting

    def send(self, queue: str, shards: Sequence[int]) -> None:
        self.messages += 1
        self.sent.update((queue, shard) for shard in shards)


@asynccontextmanager
async def relaying(redis: Redis, house: House) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_relay(redis, [house.source], house.send, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def soon(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


async def test_work_is_found_without_any_poke(redis: Redis, queue: str) -> None:
    house = House(queue, 3)
    async with relaying(redis, house):
        await soon(lambda: house.sent[queue, 3] == 1)


async def test_a_shard_has_one_wake_up_under_way(redis: Redis, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "SENT_TTL_MS", 60_000)
    house = House(queue, 1, 2)
    async with relaying(redis, house):
        await soon(lambda: house.looks > 10)
        assert house.sent == {(queue, 1): 1, (queue, 2): 1}
        await redis.delete(sent_key(queue, 1))  # a worker has taken it
        await soon(lambda: house.sent[queue, 1] == 2)
        assert house.sent[queue, 2] == 1


async def test_shards_with_little_to_do_share_a_message(redis: Redis, queue: str) -> None:
    house = House(queue, *range(5))
    async with relaying(redis, house):
        await soon(lambda: house.looks > 2)
    assert house.sent == {(queue, shard): 1 for shard in range(5)}
    assert house.messages == 1


def test_a_shard_with_much_to_do_has_a_message_of_its_own() -> None:
    few = [("a", 0, 1), ("b", 0, 1), ("a", 1, SHARED_ROWS - 1), ("a", 2, 1), ("a", 3, SHARED_ROWS + 1), ("a", 4, 1)]
    assert shared(few) == [("a", [0, 1]), ("b", [0]), ("a", [2]), ("a", [3]), ("a", [4])]
    assert shared([]) == []


async def test_a_wake_up_that_was_lost_is_sent_again(redis: Redis, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "SENT_TTL_MS", 100)
    house = House(queue, 1)
    async with relaying(redis, house):
        await soon(lambda: house.sent[queue, 1] >= 3)


async def test_a_queue_without_workers_does_not_grow(redis: Redis, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "SENT_TTL_MS", 20)
    await redis.rpush(queue, *(str(number) for number in range(relay.QUEUE_LIMIT)))
    house = House(queue, 1)
    async with relaying(redis, house):
        await soon(lambda: house.looks > 8)
        assert not house.sent
        await redis.delete(queue)
        await soon(lambda: house.sent[queue, 1] > 0)


async def test_a_poke_makes_the_relay_look_at_once(redis: Redis, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "POLL_SECONDS", 3_600.0)
    house, poker = House(queue), Poker(redis)
    async with relaying(redis, house):
        async with asyncio.timeout(20):
            while (await redis.pubsub_numsub(relay.CHANNEL))[0][1] == 0:
                await asyncio.sleep(0.005)
        house.waiting = [(queue, 5, 1)]
        poker.poke(queue, 5)
        await soon(lambda: house.sent[queue, 5] == 1)
        monkeypatch.setattr(relay, "POLL_SECONDS", 0.01)
        poker.poke(queue, 5)
    await poker.close()


async def test_many_pokes_are_few_messages_and_the_last_is_among_them(redis: Redis) -> None:
    poker, told = Poker(redis), []
    async with redis.pubsub(ignore_subscribe_messages=True) as listening:
        await listening.subscribe(relay.CHANNEL)
        await listening.get_message(timeout=5.0)
        for number in range(200):
            poker.poke("many", number)
            if number % 10 == 0:
                await asyncio.sleep(0.001)
        await poker.close()
        while (message := await listening.get_message(timeout=0.2)) is not None:
            told.append(message["data"])
    shards = {one for message in told for one in message.split() if one.startswith("many:")}
    assert shards == {f"many:{number}" for number in range(200)}
    assert len(told) <= 20


async def test_the_relay_outlives_redis(queue: str) -> None:
    house = House(queue, 1)
    with temporary_valkey() as server:
        redis = open_redis(server.url)
        async with relaying(redis, house):
            await soon(lambda: house.sent[queue, 1] == 1)
            server.stop()
            looks = house.looks
            await soon(lambda: house.looks > looks + 1)
            poker = Poker(redis)
            poker.poke(queue, 1)  # best effort: nothing raises
            await poker.close()
            server.start()
            sent = house.sent[queue, 1]
            await soon(lambda: house.sent[queue, 1] > sent)
        await redis.aclose()
