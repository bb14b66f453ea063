"""Rows of work and leases that have ended are removed, and no lease that somebody holds or could take for his own."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from app.infra.database import Database
from app.infra.work.runner import Retry
from app.infra.work.tables import shard_of
from app.kernel.ids import uuid7
from tests.integration.infra.test_work import LEASE, Ran, make_due, put, rows, run


@pytest.fixture
def queue() -> str:
    return f"test-{uuid7().hex}"


async def test_only_finished_rows_are_pruned(database: Database, tenant_id: UUID, queue: str) -> None:
    await put(database, tenant_id, queue, uuid7(), "done")
    await run(database, queue, tenant_id, Ran())
    await put(database, tenant_id, queue, uuid7(), "ready")
    await database.dispatch.fetchval("select work_prune('1 hour')")
    assert len(await rows(database, queue)) == 2
    await database.dispatch.fetchval("select work_prune('0')")
    assert [row["state"] for row in await rows(database, queue)] == ["ready"]


async def test_finished_rows_are_pruned_a_batch_at_a_time_the_oldest_first(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    while await database.dispatch.fetchval("select work_prune('0', 1000)"):
        pass
    await put(database, tenant_id, queue, uuid7(), *"abcde")
    await run(database, queue, tenant_id, Ran())
    for left in (["c", "d", "e"], ["e"], []):
        await database.dispatch.fetchval("select work_prune('0', 2)")
        assert [json.loads(row["payload"])["name"] for row in await rows(database, queue)] == left


async def leases(database: Database, queue: str) -> dict[UUID, asyncpg.Record]:
    found = await database.dispatch.fetch("select * from work_leases where queue = $1", queue)
    return {row["lane"]: row for row in found}


async def age(database: Database, lane: UUID, by: timedelta) -> None:
    await database.dispatch.execute(
        "update work_leases set lease_until = lease_until - $2::interval where lane = $1", lane, by
    )


async def test_a_lane_that_is_given_back_is_free_at_once_and_shows_since_when(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    one, other = uuid7(), uuid7()
    for lane in (one, other):
        await put(database, tenant_id, queue, lane, "a")
    before: datetime = await database.dispatch.fetchval("select clock_timestamp()")
    await run(database, queue, tenant_id, Ran(lambda item: Retry(60, "not yet") if item.lane == other else None))
    after: datetime = await database.dispatch.fetchval("select clock_timestamp()")
    released = await leases(database, queue)
    assert all(before < released[lane]["lease_until"] < after for lane in (one, other))
    await make_due(database, queue)
    assert await run(database, queue, tenant_id, Ran()) == 1
    assert (await leases(database, queue))[other]["fence"] == released[other]["fence"] + 1


async def test_leases_are_forgotten_a_day_after_their_lane_was_last_run(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    old, later, late, held = (uuid7() for _ in range(4))
    for lane in (old, later, late, held):
        await put(database, tenant_id, queue, lane, "a")
    await run(database, queue, tenant_id, Ran())
    await put(database, tenant_id, queue, later, "b", available_at=datetime.now(UTC) + timedelta(days=3))
    await put(database, tenant_id, queue, held, "b")
    for lane in (old, later, held):
        await age(database, lane, timedelta(hours=25))
    await age(database, late, timedelta(hours=23))
    await database.dispatch.fetch("select * from work_claim($1, $2, 'x', 9, '1 minute')", queue, [shard_of(tenant_id)])
    while await database.dispatch.fetchval("select work_forget('1 day', 1)"):
        pass
    assert set(await leases(database, queue)) == {later, late, held}


async def test_a_lane_that_was_forgotten_begins_behind_every_fence_it_had(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    lane, shard = uuid7(), shard_of(tenant_id)
    claim = "select * from work_claim($1, array[$2::int], $3, 10, $4)"
    start = "select * from work_next($1, $2, $3, $4, $5, null)"
    await put(database, tenant_id, queue, lane, "a")
    asleep = await database.dispatch.fetchrow(claim, queue, shard, "asleep", LEASE)
    await age(database, lane, timedelta(minutes=1))
    await run(database, queue, tenant_id, Ran())
    last = (await leases(database, queue))[lane]["fence"]
    await age(database, lane, timedelta(days=2))
    while await database.dispatch.fetchval("select work_forget('1 day', 1000)"):
        pass
    assert await leases(database, queue) == {}
    await put(database, tenant_id, queue, lane, "b", "c")
    awake = await database.dispatch.fetchrow(claim, queue, shard, "awake", LEASE)
    assert asleep["fence"] < last < awake["fence"]
    assert await database.dispatch.fetch(start, queue, tenant_id, lane, asleep["fence"], LEASE) == []
    await database.dispatch.execute("select work_release($1, $2, $3, $4)", queue, tenant_id, lane, asleep["fence"])
    assert len(await database.dispatch.fetch(start, queue, tenant_id, lane, awake["fence"], LEASE)) == 1


async def test_a_lane_that_is_claimed_while_it_is_forgotten_is_held(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    lane, shards = uuid7(), [shard_of(tenant_id)]
    claim, forget = "select * from work_claim($1, $2, 'x', 9, '1 minute')", "select work_forget('1 day', 1000)"
    for first, second in (((claim, queue, shards), (forget,)), ((forget,), (claim, queue, shards))):
        await put(database, tenant_id, queue, lane, "a")
        await run(database, queue, tenant_id, Ran())
        await age(database, lane, timedelta(days=2))
        async with database.dispatch.acquire() as connection, connection.transaction():
            if first[0] == claim:  # its work is seen by no other yet, so that both look at the lane
                await connection.execute(
                    "update work_items set state = 'ready' where queue = $1 and state = 'done'", queue
                )
            else:
                await connection.execute("select 1")
            await connection.fetch(*first)
            if second[0] == claim:
                await put(database, tenant_id, queue, lane, "b")
            waiting = asyncio.ensure_future(database.dispatch.fetch(*second))
            await asyncio.sleep(0.2)
            assert not waiting.done()
        await waiting
        assert (await leases(database, queue))[lane]["lease_until"] > datetime.now(UTC)
        await age(database, lane, timedelta(minutes=2))
        await run(database, queue, tenant_id, Ran())
