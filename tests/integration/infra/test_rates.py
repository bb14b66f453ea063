"""Rates in Valkey: the script is `draw`, exact for any number of callers; without Valkey each process has its share."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.infra.buckets import SCRIPT, Bucket, Rate, draw, level, spare
from app.infra.rates import AHEAD_S, RateStore
from app.infra.redis import open_redis
from app.kernel.ids import uuid7
from app.local.valkey import EmbeddedValkey, temporary_valkey

pytestmark = pytest.mark.asyncio


def bucket(quota: int, window_s: int = 3_600, name: str = "orders") -> Bucket:
    return Bucket(name, f"rate:{uuid7()}:{name}", Rate(quota, window_s))


@pytest_asyncio.fixture
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    opened = open_redis(valkey.url)
    yield opened
    await opened.aclose()


@pytest.fixture
def mortal() -> Iterator[EmbeddedValkey]:
    """A server of this test's own."""
    with temporary_valkey() as server:
        yield server


async def test_of_two_hundred_calls_at_once_exactly_the_quota_passes(redis: Redis) -> None:
    store, one = RateStore(redis, processes=1), bucket(50)
    verdicts = await asyncio.gather(*(store.take([one], 1) for _ in range(200)))
    assert sum(verdict.admitted for verdict in verdicts) == 50
    assert not store.away
    assert sorted(verdict.levels[0].remaining for verdict in verdicts if verdict.admitted) == list(range(50))


async def test_a_busy_caller_of_two_hundred_calls_at_once_gets_exactly_what_was_left(redis: Redis) -> None:
    store, one = RateStore(redis, processes=1), bucket(80)
    for _ in range(8):
        await store.take([one], 1)
    verdicts = await asyncio.gather(*(store.take([one], 1) for _ in range(200)))
    assert sum(verdict.admitted for verdict in verdicts) == 72


async def test_two_processes_share_a_rate(valkey: EmbeddedValkey) -> None:
    clients = [open_redis(valkey.url), open_redis(valkey.url)]
    stores, one = [RateStore(client, processes=2) for client in clients], bucket(50)
    verdicts = await asyncio.gather(*(stores[number % 2].take([one], 1) for number in range(200)))
    assert sum(verdict.admitted for verdict in verdicts) == 50
    for client in clients:
        await client.aclose()


async def test_a_call_that_one_bucket_refuses_is_not_taken_from_the_other(redis: Redis) -> None:
    store, tenant, credential = RateStore(redis, processes=1), bucket(100), bucket(3, name="orders-key")
    for _ in range(10):
        last = await store.take([tenant, credential], 1)
    assert not last.admitted
    assert [one.remaining for one in last.levels] == [97, 0]


async def _trips(redis: Redis) -> int:
    stats: dict[str, dict[str, int]] = await redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "script|load"))


async def test_a_call_asks_redis_once_and_many_at_once_ask_together(redis: Redis) -> None:
    store, pair = RateStore(redis, processes=1), [bucket(100), bucket(100)]
    await store.take(pair, 1)  # the first of all loads the script
    before = await _trips(redis)
    for _ in range(5):
        await asyncio.sleep(2 * AHEAD_S)
        await store.take(pair, 1)
    assert await _trips(redis) == before + 5
    await asyncio.sleep(2 * AHEAD_S)
    lone = bucket(3)
    verdicts = await asyncio.gather(*(store.take(one, 2) for one in ([lone], pair, [lone], pair)))
    assert [one.admitted for one in verdicts] == [True, True, False, True]
    assert [one.levels[-1].remaining for one in verdicts] == [1, 92, 1, 90]
    assert await _trips(redis) == before + 6


async def test_a_caller_who_comes_again_and_again_has_calls_drawn_ahead(redis: Redis) -> None:
    store, pair = RateStore(redis, processes=1), [bucket(100_000), bucket(5_000)]
    await store.take(pair, 1)
    before = await _trips(redis)
    verdicts = [await store.take(pair, 1) for _ in range(300)]
    assert all(verdict.admitted for verdict in verdicts)
    assert [verdict.levels[1].remaining for verdict in verdicts] == list(range(4_998, 4_698, -1))
    assert verdicts[-1].levels[1].full_in_us == pytest.approx(301 * pair[1].rate.interval_us, rel=0.01)
    assert await _trips(redis) - before < 60


async def test_what_was_drawn_ahead_and_not_used_goes_back(redis: Redis) -> None:
    store, one = RateStore(redis, processes=1), bucket(5_000)
    for _ in range(100):
        await store.take([one], 1)
    stop = asyncio.Event()
    sweeping = asyncio.create_task(store.run(stop))
    await asyncio.sleep(3 * AHEAD_S)
    stop.set()
    await sweeping
    other = RateStore(redis, processes=1)
    assert (await other.take([one], 1)).levels[0].remaining == 4_899


@pytest.mark.parametrize("seed", range(5))
async def test_processes_that_draw_ahead_never_let_more_through_and_lose_nothing(
    valkey: EmbeddedValkey, seed: int
) -> None:
    dice, one = random.Random(seed), bucket(400)
    clients = [open_redis(valkey.url) for _ in range(3)]
    stores, stop = [RateStore(client, processes=3) for client in clients], asyncio.Event()
    sweeping = [asyncio.create_task(store.run(stop)) for store in stores]

    async def calling(store: RateStore, calls: int) -> int:
        admitted = 0
        for _ in range(calls):
            verdict = await store.take([one], weight := dice.choice((1, 1, 1, 2, 5)))
            admitted += weight * verdict.admitted
            if dice.random() < 0.05:
                await asyncio.sleep(dice.random() * 2 * AHEAD_S)
        return admitted

    admitted = sum(await asyncio.gather(*(calling(store, 20) for store in stores for _ in range(3))))
    await asyncio.sleep(4 * AHEAD_S)
    left = (await stores[0].take([one], 0)).levels[0].remaining
    assert admitted + left == 400
    assert 0 <= sum(await asyncio.gather(*(calling(store, 200) for store in stores))) <= left
    stop.set()
    await asyncio.gather(*sweeping)
    for client in clients:
        await client.aclose()


async def test_a_caller_that_goes_away_leaves_the_others_their_verdicts(redis: Redis) -> None:
    store, one = RateStore(redis, processes=1), bucket(100)
    callers = [asyncio.create_task(store.take([one], 1)) for _ in range(20)]
    await asyncio.sleep(0)
    for caller in callers[:10]:
        caller.cancel()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert sum(isinstance(verdict, asyncio.CancelledError) for verdict in found) == 10
    assert all(verdict.admitted for verdict in found if not isinstance(verdict, BaseException))
    assert (await store.take([one], 1)).levels[0].remaining == 79


async def test_a_bucket_that_is_full_again_leaves_no_key(redis: Redis) -> None:
    store, one = RateStore(redis, processes=1), bucket(10, window_s=60)
    await store.take([one], 1)
    assert 5_000 < await redis.pttl(one.key) <= 6_001


_STEPS = st.lists(st.tuples(st.integers(0, 3 * 10**6), st.integers(-5, 12), st.integers(0, 3)), min_size=1, max_size=30)


async def test_the_script_does_what_draw_does(valkey: EmbeddedValkey) -> None:
    def check(rates: list[Rate], steps: list[tuple[int, int, int]]) -> None:
        asyncio.run(_compare(valkey.url, rates, steps))

    rates = st.lists(st.builds(Rate, st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=3)
    example = settings(max_examples=40)(given(rates, _STEPS)(check))
    await asyncio.to_thread(example)


async def _compare(url: str, rates: list[Rate], steps: list[tuple[int, int, int]]) -> None:
    """Both at the same times, which lie ahead of the server's: keys must not expire meanwhile."""
    client = open_redis(url)
    script = client.register_script(SCRIPT)
    keys = [f"rate:test:{uuid7().hex}" for _ in rates]
    figures = [figure for rate in rates for figure in (rate.quota, rate.interval_us)]
    now, full_at = 1_900_000_000_000_000, [0] * len(rates)
    for passed, weight, ahead in steps:
        now += passed
        wait, full_at = draw(full_at, rates, weight, now_us=now)
        drawn = min(ahead, spare(full_at, rates, now_us=now)) if weight and not wait else 0
        full_at = draw(full_at, rates, drawn, now_us=now)[1]
        levels = [level(full, rate, now_us=now) for full, rate in zip(full_at, rates, strict=True)]
        for key in keys:
            await client.persist(key)
        said = await script(keys=keys, args=[now, weight, ahead, len(rates), *figures])
        assert said == [wait, drawn, *(figure for one in levels for figure in (one.remaining, one.full_in_us))]
        for key, full in zip(keys, full_at, strict=True):
            if weight and not wait:
                await client.set(key, full)  # without its expiry
    await client.aclose()


async def test_a_killed_valkey_leaves_each_process_its_share_and_comes_back_by_itself(mortal: EmbeddedValkey) -> None:
    client = open_redis(mortal.url)
    store, orders = RateStore(client, processes=5), bucket(50)
    assert (await store.take([orders], 1)).admitted
    assert mortal.pid is not None
    os.kill(mortal.pid, signal.SIGKILL)
    verdicts = await asyncio.gather(*(store.take([orders], 1) for _ in range(40)))
    assert sum(verdict.admitted for verdict in verdicts) == 10
    assert store.away
    weightless = await asyncio.gather(*(store.take([orders], 0) for _ in range(20)))
    assert all(verdict.admitted for verdict in weightless)
    reads = [await store.take([bucket(5, name="reads")], 1, open_when_away=True) for _ in range(20)]
    assert all(verdict.admitted for verdict in reads)
    stop = asyncio.Event()
    probing = asyncio.create_task(store.run(stop))
    mortal.start()
    while store.away:
        await asyncio.sleep(0.01)
    stop.set()
    await probing
    verdicts = await asyncio.gather(*(store.take([orders], 1) for _ in range(200)))
    assert sum(verdict.admitted for verdict in verdicts) == 50
    await client.aclose()


async def test_a_valkey_that_falls_silent_is_asked_once() -> None:
    asked = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    client = open_redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    store, one = RateStore(client, processes=1), bucket(20)
    verdicts = [await store.take([one], 1) for _ in range(50)]
    assert sum(verdict.admitted for verdict in verdicts) == 20
    assert asked == 1
    await client.aclose()
    server.close()


async def test_local_buckets_do_not_grow_without_end() -> None:
    client = open_redis("redis://127.0.0.1:1")
    store = RateStore(client, processes=1, local_buckets=10)
    for _ in range(50):
        await store.take([bucket(5)], 1)
    assert store.kept == 10
    await client.aclose()
