"""A tenant that does not pay, or has used up its plan, gets no new risk; it always gets out of the risk it has."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.kernel.errors import DomainError
from app.kernel.orders import OrderStatus, OrderType, Side
from app.platform.plans.domain import QuotaName
from app.platform.plans.service import entitlements, mark_past_due
from app.trading.orders.service import request_cancel
from app.trading.strategies.service import create_strategy, deploy, set_status
from tests.factories.entitlements import limit_tenant
from tests.integration.trading.conftest import AT, PRICE, Venue


async def test_past_due_beyond_its_grace_entries_are_denied_while_exits_and_cancels_pass(venue: Venue) -> None:
    await venue.order()
    resting = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE - 5_000)
    await venue.work()
    await venue.show(PRICE)
    today = datetime.now(UTC)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await mark_past_due(tx, today - timedelta(days=60), now=today)
    entry, leaving = await venue.order(), await venue.order(side=Side.SELL)
    assert (entry.status, leaving.status) == (OrderStatus.DENIED, OrderStatus.ACCEPTED)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, resting.id, now=today)
    await venue.work()
    await venue.show(PRICE)
    assert [await venue.status(order.id) for order in (leaving, resting)] == ["filled", "cancelled"]
    await venue.is_sound()


async def test_an_entry_that_waited_when_the_grace_ended_is_not_sent(venue: Venue) -> None:
    waiting, today = await venue.order(), datetime.now(UTC)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await mark_past_due(tx, today - timedelta(days=60), now=today)
    await venue.work()
    assert await venue.status(waiting.id) not in ("open", "accepted", "filled")


async def test_a_deployment_takes_its_place_until_it_is_stopped_however_often(venue: Venue) -> None:
    await limit_tenant(venue.app.database, venue.tenant_id, deployments=1)
    database = venue.app.database
    async with database.tx(venue.tenant_id) as tx:
        strategy = await create_strategy(tx, name="s", template="momentum", parameters={}, now=AT)

    async def deployed() -> None:
        async with database.tx(venue.tenant_id) as tx:
            instruments = [venue.instrument_id]
            await deploy(tx, strategy_id=strategy.id, account_id=venue.account_id, instruments=instruments, now=AT)

    async def used() -> int:
        async with database.tx(venue.tenant_id) as tx:
            return (await entitlements(tx)).used[QuotaName.DEPLOYMENTS]

    await deployed()
    assert await used() == 1
    running = (await venue.rows("select id from deployments"))[0]["id"]

    async def stop() -> None:
        async with database.tx(venue.tenant_id) as tx:
            await set_status(tx, running, "stopped")

    await limit_tenant(database, venue.tenant_id, deployments=0)
    await asyncio.gather(*(stop() for _ in range(5)))
    assert await used() == 0
    with pytest.raises(DomainError, match="deployments allows 0"):
        await deployed()
    await limit_tenant(database, venue.tenant_id, deployments=1)
    await deployed()
    assert await used() == 1
