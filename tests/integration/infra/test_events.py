"""The place of events: dense, without gap or reordering, whoever commits when."""

import asyncio
import random
from typing import Any
from uuid import UUID

import asyncpg

from app.infra.database import Database
from app.infra.events.follower import run_follower
from app.infra.process import App
from app.kernel.ids import uuid7
from app.platform.tenancy.tables import Tenant


async def events(database: Database, tenant: UUID) -> list[asyncpg.Record]:
    found: list[asyncpg.Record] = await database.dispatch.fetch(
        "select * from events where tenant_id = $1 order by position nulls last, id", tenant
    )
    return found


async def emit(database: Database, tenant: UUID, name: str, *, wait: asyncio.Event | None = None) -> None:
    async with database.tx(tenant) as tx:
        tx.emit("test.happened", uuid7(), {"name": name})
        await tx.flush()
        if wait is not None:
            await wait.wait()


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not await holds():
            await asyncio.sleep(0.01)


async def test_positions_are_dense_and_stamped_once_with_concurrent_writers(database: Database, app: App) -> None:
    tenants = [uuid7(), uuid7()]
    stop, seen = asyncio.Event(), {tenant: list[UUID]() for tenant in tenants}
    follower = asyncio.create_task(run_follower(database.dispatch, app.redis, stop=stop))

    async def write(tenant: UUID, seed: int) -> None:
        pauses = random.Random(seed)
        for number in range(15):
            async with database.tx(tenant) as tx:
                tx.emit("test.happened", uuid7(), {"name": f"{seed}-{number}"})
                await tx.flush()
                await asyncio.sleep(pauses.random() / 100)

    async def follow(tenant: UUID) -> bool:
        """A consumer: what lies behind the last position that it has seen."""
        rows = await events(database, tenant)
        behind = [row for row in rows if row["position"] is not None and row["position"] > len(seen[tenant])]
        seen[tenant] += [row["id"] for row in behind]
        return len(seen[tenant]) == 60

    writers = [asyncio.create_task(write(tenants[seed % 2], seed)) for seed in range(8)]
    await asyncio.gather(*(until(lambda tenant=tenant: follow(tenant)) for tenant in tenants), *writers)
    stop.set()
    await follower
    for tenant in tenants:
        rows = await events(database, tenant)
        assert [row["position"] for row in rows] == list(range(1, 61))
        assert [row["id"] for row in rows] == seen[tenant], "a follower must meet every event once, in its order"


async def test_nothing_is_stamped_past_a_transaction_that_may_still_come_before(
    database: Database, tenant_id: UUID
) -> None:
    commit = asyncio.Event()
    slow = asyncio.create_task(emit(database, tenant_id, "slow", wait=commit))
    await asyncio.sleep(0.2)
    await emit(database, tenant_id, "quick")
    await database.dispatch.fetchval("select events_position(100)")
    assert [row["position"] for row in await events(database, tenant_id)] == [None]
    commit.set()
    await slow
    await database.dispatch.fetchval("select events_position(100)")
    assert [(row["position"], row["data"]) for row in await events(database, tenant_id)] == [
        (1, '{"name": "slow"}'),
        (2, '{"name": "quick"}'),
    ]


async def test_an_event_of_a_rolled_back_transaction_leaves_no_gap(database: Database, tenant_id: UUID) -> None:
    await emit(database, tenant_id, "first")
    try:
        async with database.tx(tenant_id) as tx:
            tx.emit("test.happened", uuid7(), {"name": "never"})
            await tx.flush()
            raise RuntimeError("undo")
    except RuntimeError:
        pass
    await emit(database, tenant_id, "second")

    async def stamped() -> bool:
        await database.dispatch.fetchval("select events_position(1)")
        return all(row["position"] for row in await events(database, tenant_id))

    await until(stamped)
    assert [row["position"] for row in await events(database, tenant_id)] == [1, 2]


async def test_each_tenant_counts_for_itself(database: Database, tenant_id: UUID) -> None:
    other = uuid7()
    async with database.tx(other) as tx:
        tx.add(Tenant(tenant_id=other, id=other, slug=f"t-{other.hex}", name="Other"))
    for tenant in (tenant_id, other, tenant_id):
        await emit(database, tenant, "one")
    await database.dispatch.fetchval("select events_position(100)")
    assert [row["position"] for row in await events(database, tenant_id)] == [1, 2]
    assert [row["position"] for row in await events(database, other)] == [1]


async def test_two_who_stamp_at_the_same_time_give_each_event_one_place(database: Database) -> None:
    tenants, places = [uuid7() for _ in range(3)], dict[UUID, int]()
    for _ in range(10):
        async with asyncio.TaskGroup() as tasks:
            for tenant in tenants:
                for number in range(4):
                    tasks.create_task(emit(database, tenant, str(number)))
        await asyncio.gather(*(database.dispatch.fetchval("select events_position(10)") for _ in range(8)))
        for tenant in tenants:
            for row in await events(database, tenant):
                if row["position"] is not None:
                    assert places.setdefault(row["id"], row["position"]) == row["position"]
    while await database.dispatch.fetchval("select events_position(1000)"):
        pass
    for tenant in tenants:
        assert [row["position"] for row in await events(database, tenant)] == list(range(1, 41))
