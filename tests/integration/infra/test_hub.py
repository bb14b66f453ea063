"""Who listens to events gets each one once and in order, whoever writes, however slowly he reads, and holds nothing."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from uuid import UUID

import pytest
from redis.asyncio import Redis

from app.infra.database import Database
from app.infra.events import hub as hubs
from app.infra.events.follower import run_follower
from app.infra.events.hub import EventHub, Told
from app.infra.events.tables import EventRow
from app.infra.process import App
from app.infra.redis import open_redis
from app.kernel.ids import uuid7

WRITERS, EACH = 16, 150


def body(row: EventRow) -> bytes:
    return json.dumps(row.data).encode()


@asynccontextmanager
async def running(app: App, redis: Redis) -> AsyncIterator[EventHub]:
    """A hub and the follower that stamps for it."""
    stop, hub = asyncio.Event(), EventHub(app.database, redis, render=body)
    tasks = [
        asyncio.create_task(hub.run(stop)),
        asyncio.create_task(run_follower(app.database.dispatch, app.redis, stop=stop)),
    ]
    try:
        yield hub
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def write(database: Database, tenant: UUID, count: int, seed: int = 0) -> None:
    pauses = random.Random(seed)
    for number in range(count):
        async with database.tx(tenant) as tx:
            tx.emit("test.happened", uuid7(), {"of": f"{seed}-{number}"})
            await tx.flush()
            await asyncio.sleep(pauses.random() / 200)


async def read(hub: EventHub, tenant: UUID, count: int, *, since: int | None = 0, slow: float = 0.0) -> list[Told]:
    """`count` events; a slow reader lies down after each batch, and one that reconnects after half of them."""
    found: list[Told] = []
    async with asyncio.timeout(90), aclosing(hub.follow(tenant, since=since, idle=0.5)) as followed:
        async for batch in followed:
            found += batch
            if len(found) >= count:
                return found
            await asyncio.sleep(slow)
    raise AssertionError("the stream ended")


def check(found: Sequence[Told], expected: int) -> None:
    assert [event.position for event in found] == list(range(1, expected + 1))
    assert len({event.body for event in found}) == expected


async def test_every_reader_sees_each_event_once_and_in_order_under_concurrent_writers(app: App) -> None:
    tenant, total = uuid7(), WRITERS * EACH
    async with running(app, app.redis) as hub:

        async def reconnecting() -> list[Told]:
            found: list[Told] = []
            while len(found) < total:
                found += await read(hub, tenant, min(137, total - len(found)), since=len(found))
            return found

        readers = [read(hub, tenant, total), read(hub, tenant, total, slow=0.2), reconnecting(), reconnecting()]
        writers = [write(app.database, tenant, EACH, seed) for seed in range(WRITERS)]
        writing = asyncio.gather(*writers)
        seen = await asyncio.gather(*readers)
        await writing
        late = await read(hub, tenant, total)
    for found in [*seen, late]:
        check(found, total)


async def test_a_reader_far_behind_reads_the_database_and_catches_up(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "KEPT", 5)
    monkeypatch.setattr(hubs, "PAGE", 7)
    tenant = uuid7()
    async with running(app, app.redis) as hub:
        reading = asyncio.create_task(read(hub, tenant, 60, slow=0.02))
        await asyncio.gather(*(write(app.database, tenant, 15, seed) for seed in range(4)))
        check(await reading, 60)


async def test_events_come_though_redis_is_down(app: App) -> None:
    tenant, away = uuid7(), open_redis("redis://127.0.0.1:1")
    async with running(app, away) as hub:
        reading = asyncio.create_task(read(hub, tenant, 3))
        await asyncio.sleep(0.2)
        await write(app.database, tenant, 3)
        check(await reading, 3)
    await away.aclose()


async def test_from_now_on_means_nothing_of_before(app: App) -> None:
    tenant = uuid7()
    async with running(app, app.redis) as hub:
        await write(app.database, tenant, 2)
        await read(hub, tenant, 2)
        async with aclosing(hub.follow(tenant, since=None, idle=0.2)) as followed:
            assert list(await anext(followed)) == []
            await write(app.database, tenant, 1, seed=7)
            async for batch in followed:
                if batch:
                    assert [event.position for event in batch] == [3]
                    break


async def test_who_waits_holds_no_transaction_and_sees_no_other_tenant(app: App) -> None:
    mine, other = uuid7(), uuid7()
    async with running(app, app.redis) as hub:
        await write(app.database, other, 3)
        waiting = [asyncio.create_task(read(hub, mine, 1)) for _ in range(50)]
        await asyncio.sleep(0.5)
        held = await app.database.dispatch.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and usename = 'mandi_app'"
            " and state like 'idle in transaction%'"
        )
        assert held == 0
        assert not any(task.done() for task in waiting)
        await write(app.database, mine, 1)
        for task in waiting:
            check(await task, 1)
        assert hub._feeds == {}


async def test_a_closed_hub_ends_its_streams(app: App) -> None:
    async with running(app, app.redis) as hub, asyncio.timeout(10):
        followed = hub.follow(uuid7(), since=None, idle=60)
        await anext(followed)
        ended = asyncio.create_task(anext(followed, None))
        await asyncio.sleep(0.1)
        hub.close()
        assert not await ended
