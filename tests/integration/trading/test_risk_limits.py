"""Limits as they are set and as the order path obeys them."""

import asyncio

import pytest
from sqlalchemy import text

from app.kernel.errors import DomainError
from app.kernel.orders import OrderStatus, OrderType, Side
from app.trading.risk.service import TENANT, Scope, set_limit
from tests.integration.trading.conftest import PRICE, Venue


async def test_an_account_may_only_tighten_what_the_tenant_set(venue: Venue) -> None:
    account = Scope(account_id=venue.account_id)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_order_value", {"limit": "250.00"})
    assert (await venue.order()).status is OrderStatus.ACCEPTED
    with pytest.raises(DomainError) as caught:
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_limit(tx, account, "max_order_value", {"limit": "250.01"})
    assert (caught.value.code, caught.value.param) == ("limit_looser_than_parent", "parameters.limit")
    assert "250.01" in caught.value.message and "250.00" in caught.value.message
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, account, "max_order_value", {"limit": "100.00"})
    assert [r.rule for r in (await venue.order()).reasons] == ["max_order_value"]


async def test_setting_a_limit_again_replaces_it(venue: Venue) -> None:
    for limit in ("1.00", "100000.00"):
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_limit(tx, Scope(account_id=venue.account_id), "max_order_value", {"limit": limit})
    assert len(await venue.rows("select 1 from risk_limits")) == 1
    assert (await venue.order()).status is OrderStatus.ACCEPTED


@pytest.mark.parametrize(
    ("rule", "parameters", "code"),
    [
        ("no_such", {}, "unknown_rule"),
        ("max_order_value", {"limit": "-1"}, "invalid_limit"),
        ("max_order_value", {"limit": 5}, "invalid_limit"),
        ("max_open_orders", {"limits": 5}, "invalid_limit"),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused(
    venue: Venue, rule: str, parameters: dict[str, object], code: str
) -> None:
    with pytest.raises(DomainError) as caught:
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_limit(tx, TENANT, rule, parameters)
    assert caught.value.code == code
    assert await venue.rows("select 1 from risk_limits") == []


async def test_an_order_decided_on_the_old_limit_is_decided_again(venue: Venue) -> None:
    versions = "select version from accounts"
    before = (await venue.rows(versions))[0]["version"]
    for scope, grown in ((Scope(account_id=venue.account_id), 1), (TENANT, 2)):
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_limit(tx, scope, "max_open_orders", {"limit": 5})
        assert (await venue.rows(versions))[0]["version"] == before + grown


async def test_a_stored_limit_that_no_longer_fits_stops_entries_and_lets_exits_pass(venue: Venue) -> None:
    await venue.order(quantity=10)
    await venue.work()
    await venue.show(PRICE)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_order_value", {"limit": "100000.00"})
        await tx.execute(text("""update risk_limits set parameters = '{"limit": "a lot"}'"""))
    denied = (await venue.order(quantity=1)).reasons
    assert [(r.rule, r.limit) for r in denied] == [("max_order_value", "unreadable")]
    assert (await venue.order(quantity=10, side=Side.SELL)).status is OrderStatus.ACCEPTED


async def test_a_day_that_lost_too_much_denies_entries_and_lets_exits_pass(venue: Venue) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_daily_loss", {"limit": "50.00"})
    await venue.order(quantity=100)
    await venue.work()
    await venue.show(PRICE)
    await venue.app.database.reference.execute(
        "update last_prices set price = $2 where feed = $1", venue.feed, PRICE * 9 // 10
    )
    assert [r.rule for r in (await venue.order(quantity=1)).reasons] == ["max_daily_loss"]
    assert (await venue.order(quantity=100, side=Side.SELL)).status is OrderStatus.ACCEPTED


@pytest.mark.parametrize("apart", [False, True])
async def test_50_racing_orders_never_exceed_the_position_limit(venue: Venue, apart: bool) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_position", {"limit": "600.00"})
    asked = [venue.order(quantity=10, order_type=OrderType.LIMIT, limit_price=PRICE, apart=apart) for _ in range(50)]
    await asyncio.gather(*asked, return_exceptions=True)
    (open_,) = await venue.rows("select coalesce(sum(quantity), 0) as q from orders where status = 'accepted'")
    assert 0 < open_["q"] <= 30
