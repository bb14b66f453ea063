"""One tenant's pile of work delays another tenant's item by its turn and no more; poison delays nobody."""

import asyncio
from uuid import UUID

import pytest

from app.infra.database import Database
from app.infra.work.runner import LANES, MAX_ATTEMPTS, Handler, Item, Retry, drain
from app.infra.work.tables import shard_of
from app.kernel.ids import uuid7
from app.platform.tenancy.service import create_tenant

PILE, PILE_LANES = 5_000, 500
_PILE = """
insert into work_items (tenant_id, id, queue, shard, lane, kind, payload, priority)
select $1, uuidv7(), $2, work_shard($1), l.lane, 'note', '{}', 1
from (select uuidv7() as lane, generate_series(1, $3)) l, generate_series(1, $4)
"""


@pytest.fixture
def queue() -> str:
    return f"test-{uuid7().hex}"


async def neighbour(database: Database, tenant_id: UUID) -> UUID:
    """A tenant whose wake-ups are the same."""
    while True:
        found = await create_tenant(database, slug=f"t-{uuid7().hex[-12:]}", name="N")
        if shard_of(found) == shard_of(tenant_id):
            return found


async def pile(database: Database, tenant_id: UUID, queue: str, *, lanes: int, items: int) -> None:
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(tenant_id))
        await connection.execute(_PILE, tenant_id, queue, lanes, items)


async def test_five_thousand_items_of_one_tenant_delay_anothers_by_a_turn(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    other = await neighbour(database, tenant_id)
    await pile(database, tenant_id, queue, lanes=PILE_LANES, items=PILE // PILE_LANES)
    await pile(database, other, queue, lanes=1, items=1)
    ran: list[UUID] = []
    served = asyncio.Event()

    async def run(item: Item) -> None:
        ran.append(item.tenant_id)
        if item.tenant_id == other:
            served.set()
        elif served.is_set():
            raise Retry(60, "the test has seen enough")  # so that the pile needs not be worked off

    await drain(database.dispatch, {"note": Handler(run)}, queue, shard_of(tenant_id), holder="test")
    assert ran.index(other) < 2 * LANES, "no lane that ran beside it had a third item before its first"


async def test_where_one_lane_is_taken_at_a_time_tenants_still_take_turns(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    other = await neighbour(database, tenant_id)
    await pile(database, tenant_id, queue, lanes=200, items=1)
    await pile(database, other, queue, lanes=1, items=1)
    ran: list[UUID] = []

    async def run(item: Item) -> None:
        ran.append(item.tenant_id)

    while other not in ran:
        assert len(ran) < 60, "a tenant out of two is drawn by the sixtieth time, but once in 10^18"
        await drain(database.dispatch, {"note": Handler(run)}, queue, shard_of(tenant_id), holder="test", lanes=1)


async def test_of_one_tenants_lanes_the_oldest_is_taken_first(database: Database, tenant_id: UUID, queue: str) -> None:
    await pile(database, tenant_id, queue, lanes=5, items=1)
    ran: list[UUID] = []

    async def run(item: Item) -> None:
        ran.append(item.id)

    for _ in range(5):
        await drain(database.dispatch, {"note": Handler(run)}, queue, shard_of(tenant_id), holder="test", lanes=1)
    rows = await database.dispatch.fetch("select id from work_items where queue = $1 order by sequence", queue)
    assert ran == [row["id"] for row in rows]


async def test_an_item_that_fails_for_ever_costs_others_nothing_and_dies(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    other = await neighbour(database, tenant_id)
    await pile(database, tenant_id, queue, lanes=1, items=1)
    ran: list[UUID] = []

    async def run(item: Item) -> None:
        ran.append(item.tenant_id)
        if item.tenant_id == tenant_id:
            raise RuntimeError("poison")

    for attempt in range(MAX_ATTEMPTS + 2):
        await pile(database, other, queue, lanes=1, items=1)
        await drain(database.dispatch, {"note": Handler(run)}, queue, shard_of(tenant_id), holder="test")
        assert ran.count(other) == attempt + 1
        await database.dispatch.execute(
            "update work_items set available_at = clock_timestamp() where queue = $1 and state = 'ready'", queue
        )
    assert ran.count(tenant_id) == MAX_ATTEMPTS
    states = await database.dispatch.fetch("select state from work_items where tenant_id = $1", tenant_id)
    assert [row["state"] for row in states] == ["dead"]
