"""Orders that come at once are gathered and written together; each is its own tenant's, and fails by itself."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from app.infra.together import Function, Together
from app.kernel.orders import OrderStatus
from tests.integration.trading.conftest import Venue, open_venue

TENANTS, EACH = 5, 4


class Counted:
    """A pool that counts how often a SQL function is called, for one and for many."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.calls: Counter[str] = Counter()
        self.tenants: list[list[UUID]] = []
        """Of each call for many, in their order."""

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        self.calls["alone"] += 1
        return await self._pool.fetchval(sql, *arguments)

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        self.calls["many"] += 1
        self.tenants.append(arguments[0])
        return await self._pool.fetch(sql, *arguments)


async def test_orders_of_many_tenants_at_once_take_few_calls_and_each_is_its_own_tenants(venue: Venue) -> None:
    venues = [venue, *[await open_venue(venue.app) for _ in range(TENANTS - 1)]]
    counted = Counted(venue.app.database.pool)
    together = Together(counted)
    asked = [(one, f"{place}-{turn}") for turn in range(EACH) for place, one in reversed(list(enumerate(venues)))]
    placed = await asyncio.gather(*(one.order(client_order_id=name, together=together) for one, name in asked))
    assert {order.status for order in placed} == {OrderStatus.ACCEPTED}
    for place, one in enumerate(venues):
        stored = await one.rows("select client_order_id, account_id, feed from orders order by client_order_id")
        assert [row["client_order_id"] for row in stored] == [f"{place}-{turn}" for turn in range(EACH)]
        assert {(row["account_id"], row["feed"]) for row in stored} == {(one.account_id, one.feed)}, "each saw its own"
        work = await one.rows("select 1 from work_items where queue = 'execution'")
        assert len(work) == EACH
        await one.is_sound()
    assert counted.calls["many"] >= 2
    assert all(tenants == sorted(tenants) for tenants in counted.tenants), "locked in the order of fills"
    assert any(len(set(tenants)) > 2 for tenants in counted.tenants)
    assert counted.calls.total() <= TENANTS * EACH, "half of what each by itself would take, at most"


class Spoiling(Together):
    """Writes something that is no order for one account."""

    spoiled: UUID

    async def ask(self, function: Function, tenant_id: UUID, lane: UUID, *arguments: object) -> Any:
        if function.name == "orders_write" and lane == self.spoiled:
            arguments = (arguments[0], '{"quantity": "many"}', *arguments[2:])
        return await super().ask(function, tenant_id, lane, *arguments)


async def test_an_order_that_cannot_be_written_keeps_none_back_that_was_to_be_written_with_it(venue: Venue) -> None:
    venues = [venue, *[await open_venue(venue.app) for _ in range(TENANTS - 1)]]
    together = Spoiling(venue.app.database.pool)
    together.spoiled = venues[2].account_id
    answers = await asyncio.gather(*(one.order(together=together) for one in venues), return_exceptions=True)
    failed = answers.pop(2)
    assert isinstance(failed, asyncpg.InvalidTextRepresentationError)
    assert [getattr(one, "status", one) for one in answers] == [OrderStatus.ACCEPTED] * (TENANTS - 1)
    assert [len(await one.rows("select 1 from orders")) for one in venues] == [1, 1, 0, 1, 1]
    for one in venues:
        await one.is_sound()


@pytest.mark.parametrize("repeated", [False, True])
async def test_one_account_that_sends_many_at_once_waits_for_itself_and_is_never_busy(
    venue: Venue, repeated: bool
) -> None:
    names = ["again"] * 30 if repeated else [f"n-{number}" for number in range(30)]
    placed = await asyncio.gather(*(venue.order(client_order_id=name, quantity=1) for name in names))
    assert len({order.id for order in placed}) == len(set(names))
    (account,) = await venue.rows("select version from accounts where id = :id", id=venue.account_id)
    (orders,) = await venue.rows("select count(*) as n from orders")
    assert orders["n"] == len(set(names))
    assert account["version"] >= orders["n"]
    await venue.is_sound()


async def test_an_order_whose_account_is_locked_keeps_none_back_that_was_to_be_written_with_it(venue: Venue) -> None:
    venues = [venue, *[await open_venue(venue.app) for _ in range(TENANTS - 1)]]
    locked = min(venues, key=lambda one: (one.tenant_id, one.account_id))  # it is the first of those that are written
    counted = Counted(venue.app.database.pool)
    together = Together(counted)
    async with locked.app.database.tx(locked.tenant_id) as tx:
        await tx.execute(text("select accounts_lock(:account)"), {"account": locked.account_id})
        asked = {one.tenant_id: asyncio.create_task(one.order(together=together)) for one in venues}
        waits = asked.pop(locked.tenant_id)
        async with asyncio.timeout(5):
            placed = await asyncio.gather(*asked.values())
        assert {order.status for order in placed} == {OrderStatus.ACCEPTED}
        assert not waits.done()
    assert (await waits).status is OrderStatus.ACCEPTED
    assert counted.calls["many"] >= 2, "some were written together"
    for one in venues:
        assert len(await one.rows("select 1 from orders")) == 1
        await one.is_sound()
