"""The figures that rules see are the database's: bands, ages, sessions, counts, own orders, values, an unknown fate."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.kernel.ids import encode_id
from app.kernel.orders import OrderStatus, OrderType, Side
from app.trading.orders.service import PlacedOrder
from app.trading.risk.service import TENANT, Scope, account_scope, set_limit
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.test_halts import deployed

LIMIT = {"order_type": OrderType.LIMIT, "limit_price": PRICE}


async def limited(venue: Venue, rule: str, **parameters: Any) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, await account_scope(tx, venue.account_id), rule, parameters)


def denied_by(placed: PlacedOrder) -> list[str]:
    return [reason.rule for reason in placed.reasons]


async def holding(venue: Venue, quantity: int = 10) -> None:
    await venue.order(quantity=quantity)
    await venue.work()
    await venue.show(PRICE)


async def moved(venue: Venue, price: int, at: datetime | None = None) -> None:
    sql = "update last_prices set price = $2, market_at = coalesce($3, market_at) where feed = $1"
    await venue.app.database.reference.execute(sql, venue.feed, price, at)


async def _banded(venue: Venue, lower: int | None, upper: int | None, *, halted: bool = False) -> None:
    """A band from now on of the market's clock. Instruments are everybody's: it is taken back at the test's end."""
    await venue.app.database.reference.execute(
        "insert into instrument_bands (id, instrument_id, lower, upper, halted, valid_from, valid_to, source) "
        "values ($1, $2, $3, $4, $5, $6, $7, 'test')",
        uuid4(), venue.instrument_id, lower, upper, halted, AT - timedelta(hours=1), AT + timedelta(hours=1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lower", "upper", "halted", "denied"),
    [
        (PRICE, PRICE, False, []),
        (PRICE + 100, None, False, ["price_band"]),
        (None, PRICE - 100, False, ["price_band"]),
        (None, None, True, ["price_band"]),
    ],
)
async def test_the_venues_band_and_circuit_hold(
    venue: Venue, lower: int | None, upper: int | None, halted: bool, denied: list[str]
) -> None:
    try:
        await _banded(venue, lower, upper, halted=halted)
        assert denied_by(await venue.order(**LIMIT)) == denied
    finally:
        await venue.app.database.reference.execute(
            "update instrument_bands set recorded_to = now() where instrument_id = $1 and recorded_to is null",
            venue.instrument_id,
        )
    assert denied_by(await venue.order(**LIMIT)) == []


async def test_a_stale_price_is_judged_by_the_markets_clock(venue: Venue) -> None:
    await limited(venue, "stale_price", limit_s=60)
    await moved(venue, PRICE, AT - timedelta(seconds=60))
    assert denied_by(await venue.order()) == []
    await moved(venue, PRICE, AT - timedelta(seconds=61))
    assert denied_by(await venue.order()) == ["stale_price"]


async def test_the_session_is_the_calendars(venue: Venue) -> None:
    await limited(venue, "market_hours", open_only=True)
    clock = "update feed_state set market_at = $2 where feed = $1"
    for hour, denied in ((15, []), (23, ["market_hours"])):
        await venue.app.database.reference.execute(clock, venue.feed, datetime(2003, 1, 2, hour, tzinfo=UTC))
        assert denied_by(await venue.order()) == denied


async def test_rates_count_what_passed_the_rules(venue: Venue) -> None:
    await limited(venue, "order_rate", per_day=2)
    await venue.order(quantity=1_000_000)  # denied: it does not count
    assert [denied_by(await venue.order(quantity=1)) for _ in range(3)] == [[], [], ["order_rate"]]


async def test_the_rate_of_a_second_is_over_when_the_second_is(venue: Venue) -> None:
    await limited(venue, "order_rate", per_second=1)
    assert denied_by(await venue.order(quantity=1, at=datetime.now(UTC) - timedelta(seconds=2))) == []
    assert denied_by(await venue.order(quantity=1)) == []
    assert denied_by(await venue.order(quantity=1)) == ["order_rate"]


async def test_orders_are_held_against_the_days_fills(venue: Venue) -> None:
    await limited(venue, "order_to_trade", limit=2, after=0)
    assert denied_by(await venue.order(quantity=1)) == []
    await venue.work()
    await venue.show(PRICE)
    assert [denied_by(await venue.order(quantity=1)) for _ in range(2)] == [[], ["order_to_trade"]]


async def test_the_same_order_again_is_a_slip_of_the_finger_and_another_is_not(venue: Venue) -> None:
    await limited(venue, "duplicate_order", within_s=60)
    assert denied_by(await venue.order(**LIMIT)) == []
    assert denied_by(await venue.order(**LIMIT)) == ["duplicate_order"]
    for other in (
        {"quantity": 11},
        {"limit_price": PRICE - 100},
        {"order_type": OrderType.MARKET, "limit_price": None},
    ):
        assert denied_by(await venue.order(**LIMIT | other)) == []


async def test_an_own_order_of_the_other_side_is_not_met(venue: Venue) -> None:
    await holding(venue)
    await limited(venue, "self_trade", prevent=True)
    await venue.order(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=PRICE)
    assert denied_by(await venue.order(**LIMIT)) == ["self_trade"]
    assert denied_by(await venue.order(**LIMIT | {"limit_price": PRICE - 100})) == []
    assert denied_by(await venue.order()) == ["self_trade"]


async def test_segment_and_product_and_restricted_instruments_are_looked_up(venue: Venue) -> None:
    (row,) = await venue.rows("select segment from instruments where id = :id", id=venue.instrument_id)
    await limited(venue, "permissions", segments=[row["segment"]])
    assert denied_by(await venue.order()) == []
    await limited(venue, "permissions", segments=["another"])
    assert denied_by(await venue.order()) == ["permissions"]
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, TENANT, "restricted_list", {"instruments": [encode_id("ins", venue.instrument_id)]})
    assert denied_by(await venue.order()) == ["permissions", "restricted_list"]


async def test_leverage_counts_positions_working_orders_and_the_order(venue: Venue) -> None:
    await limited(venue, "max_leverage", limit_bps=650)
    await holding(venue)  # 200 of 10,000
    assert denied_by(await venue.order(**LIMIT)) == []
    assert denied_by(await venue.order(**LIMIT)) == []
    assert denied_by(await venue.order(**LIMIT)) == ["max_leverage"]


async def test_what_a_day_won_is_locked_and_what_was_lost_since_the_highest_stops(venue: Venue) -> None:
    await venue.order(quantity=100)
    await venue.work()
    await venue.show(PRICE)
    await limited(venue, "profit_lock", limit="150.00")
    await moved(venue, PRICE * 110 // 100)  # + 200.00
    assert denied_by(await venue.order(quantity=1)) == ["profit_lock"]
    await moved(venue, PRICE)
    assert denied_by(await venue.order(quantity=1)) == ["profit_lock"], "the day's highest counts"
    await limited(venue, "profit_lock", limit="250.00")
    await limited(venue, "max_drawdown", limit_bps=150)
    assert denied_by(await venue.order(quantity=1)) == ["max_drawdown"]
    assert (await venue.order(quantity=100, side=Side.SELL)).status is OrderStatus.ACCEPTED
    (day,) = await venue.rows(
        "select opening_equity_minor as o, high_equity_minor as h, peak_equity_minor as p from risk_days"
    )
    assert day["h"] == day["p"] > day["o"]


async def test_an_order_of_unknown_fate_counts_as_filled_and_as_open_whichever_is_worse(venue: Venue) -> None:
    await holding(venue)
    await limited(venue, "max_position", limit="450.00")
    buy = await venue.order(**LIMIT)
    sell = await venue.order(side=Side.SELL, order_type=OrderType.LIMIT, limit_price=PRICE * 11 // 10)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        for order_id in (buy.id, sell.id):
            await tx.execute(text("update orders set status = 'unknown' where id = :id"), {"id": order_id})
    assert denied_by(await venue.order(quantity=3)) == ["max_position"], "the buy may have filled"
    assert denied_by(await venue.order(quantity=2)) == [], "10 held, 10 unknown, 2 more: 440.00"
    assert denied_by(await venue.order(side=Side.SELL, quantity=1)) == ["short_sale"], "the sell may have filled, too"


async def test_a_deployments_limit_holds_for_its_orders_alone(venue: Venue) -> None:
    deployment_id = await deployed(venue)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        scope = Scope(account_id=venue.account_id, deployment_id=deployment_id)
        await set_limit(tx, scope, "max_order_value", {"limit": "100.00"})
    assert denied_by(await venue.order(deployment_id=deployment_id)) == ["max_order_value"]
    assert denied_by(await venue.order()) == []
