"""Intraday positions: on margin, long and short, beside what is delivered, and closed before the session ends."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.custody.ledger.service import Balance, balances
from app.insight.analytics.repository import trades
from app.kernel.orders import OrderStatus, OrderType, Product, Side, Validity
from app.trading.orders.service import PlacedOrder, PlaceOrder, TenantOrders
from app.trading.orders.service.leaving import Which, exit_all
from app.trading.orders.service.supposing import suppose_orders
from app.trading.portfolio.service import statement_of
from app.trading.risk.domain import HaltMode, Target
from app.trading.risk.service import halt, set_limit
from app.trading.risk.service.limits import account_scope
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.scripted import change

SELL: dict[str, Any] = {"side": Side.SELL}
AT_LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE}
CUT_OFF = datetime(2003, 1, 3, 20, 50, tzinfo=UTC)
CASH = 1_000_000


async def intraday(venue: Venue, **changes: Any) -> PlacedOrder:
    return await venue.order(product=Product.INTRADAY, **changes)


async def traded(venue: Venue, *, price: int = PRICE, **changes: Any) -> PlacedOrder:
    """An order that is accepted and filled at `price`."""
    placed = await intraday(venue, **changes)
    assert placed.status is OrderStatus.ACCEPTED, placed.reasons
    await venue.work()
    await venue.show(price)
    assert await venue.status(placed.id) == "filled"
    return placed


async def cash(venue: Venue) -> Balance:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        return (await balances(tx, venue.account_id))[0]


async def positions(venue: Venue) -> dict[str, tuple[int, int, int]]:
    """Quantity, cost and margin by product, of what is not flat."""
    rows = await venue.rows(
        "select product, quantity, cost_minor, margin_minor from positions where account_id = :id and quantity <> 0",
        id=venue.account_id,
    )
    return {row["product"]: (row["quantity"], row["cost_minor"], row["margin_minor"]) for row in rows}


async def charges(venue: Venue) -> int:
    (row,) = await venue.rows("select coalesce(sum(charges_minor), 0)::bigint as sum from fills")
    return int(row["sum"])


async def test_half_of_what_a_position_costs_is_blocked_and_the_rest_is_lent(venue: Venue) -> None:
    await traded(venue, quantity=600)  # 12,000.00 of 10,000.00
    paid = await charges(venue)
    held = await cash(venue)
    assert await positions(venue) == {"intraday": (600, 1_200_000, 600_000)}
    assert (held.margin, held.financed, held.settled) == (600_000, 1_200_000, CASH)
    assert held.posted == CASH - 1_200_000 - paid
    assert held.available == CASH - 600_000 - paid
    assert held.withdrawable == 0
    await venue.is_sound()


async def test_a_round_trip_leaves_its_profit_and_blocks_nothing(venue: Venue) -> None:
    await traded(venue, quantity=600)
    await traded(venue, quantity=600, price=PRICE + 1_000, **SELL)
    left = await cash(venue)
    assert await positions(venue) == {}
    assert (left.margin, left.financed, left.held) == (0, 0, 0)
    assert left.available == left.posted == CASH + 600 * 10 - await charges(venue)
    await venue.is_sound()
    await venue.settle(days=9)
    assert (await cash(venue)).settled == left.posted
    assert await venue.securities() == {"settled": 0, "waiting": 0}
    await venue.is_sound()


async def test_what_a_short_sale_brings_cannot_be_spent(venue: Venue) -> None:
    await traded(venue, quantity=600, **SELL)
    paid = await charges(venue)
    short = await cash(venue)
    assert await positions(venue) == {"intraday": (-600, -1_200_000, 600_000)}
    assert (short.posted, short.financed) == (CASH + 1_200_000 - paid, -1_200_000)
    assert short.available == CASH - 600_000 - paid
    assert (await venue.order(quantity=250)).reasons[0].rule == "available_funds"  # 5,000.00 for delivery
    await traded(venue, quantity=600, price=PRICE - 1_000)
    left = await cash(venue)
    assert await positions(venue) == {}
    assert left.available == left.posted == CASH + 600 * 10 - await charges(venue)
    await venue.is_sound()


async def test_an_order_through_zero_closes_then_opens_the_rest(venue: Venue) -> None:
    await traded(venue, quantity=100)
    turned = await traded(venue, quantity=250, price=PRICE + 1_000, **SELL)
    (order,) = await venue.rows("select reduces, hold_minor from orders where id = :id", id=turned.id)
    assert order["reduces"] is False and 150 * 2_000 // 2 < order["hold_minor"] < 150 * 2_100 // 2
    assert await positions(venue) == {"intraday": (-150, -150 * 2_010, 150 * 2_010 // 2)}
    await venue.is_sound()


async def test_an_exit_holds_nothing_and_passes_without_money(venue: Venue) -> None:
    await traded(venue, quantity=900)
    closing = await intraday(venue, quantity=900, **AT_LIMIT, **SELL)
    again = await intraday(venue, quantity=900, **AT_LIMIT, **SELL)
    (order,) = await venue.rows("select reduces, hold_minor from orders where id = :id", id=closing.id)
    assert order == {"reduces": True, "hold_minor": 0}
    assert [reason.rule for reason in again.reasons] == ["position", "available_funds"]  # it would be short of 900


async def test_who_owes_may_exit(venue: Venue) -> None:
    await traded(venue, quantity=900)
    await venue.app.database.reference.execute(
        "update last_prices set price = $2 where feed = $1", venue.feed, PRICE - 20_000
    )
    (short,) = (one for one in (await intraday(venue, quantity=1)).reasons if one.rule == "available_funds")
    assert short.limit.startswith("-")
    closing = await intraday(venue, quantity=900, **SELL)
    assert (closing.status, closing.reasons) == (OrderStatus.ACCEPTED, [])


async def test_nothing_opens_beside_an_order_that_closes_the_same(venue: Venue) -> None:
    """The exit that rests holds nothing: after the second it would be a short sale that nobody paid for."""
    await traded(venue, quantity=50)
    exit_ = await intraday(venue, quantity=50, order_type=OrderType.LIMIT, limit_price=PRICE + 1_000, **SELL)
    refused = await intraday(venue, quantity=45, **SELL)
    assert [(one.rule, one.limit, one.value) for one in refused.reasons] == [("position", "0", "45")]
    assert "cancel the orders that close it" in refused.reasons[0].message
    await venue.work()
    assert await venue.status(exit_.id) == "open"


async def test_a_loss_that_is_not_realised_cannot_be_spent(venue: Venue) -> None:
    await traded(venue, quantity=500)
    before = (await cash(venue)).available
    await venue.app.database.reference.execute(
        "update last_prices set price = $2 where feed = $1", venue.feed, PRICE - 20_000
    )
    most = (before - 500 * 200) // 900  # half of 18.00 each
    at_limit: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE - 20_000}
    assert [reason.rule for reason in (await intraday(venue, quantity=most + 1, **at_limit)).reasons] == [
        "available_funds"
    ]
    assert (await intraday(venue, quantity=most - 2, **at_limit)).status is OrderStatus.ACCEPTED


async def test_what_is_delivered_and_what_is_squared_off_stand_apart(venue: Venue) -> None:
    await venue.order(quantity=50)
    await venue.work()
    await venue.show(PRICE)
    await traded(venue, quantity=20)
    assert {name: held[0] for name, held in (await positions(venue)).items()} == {"delivery": 50, "intraday": 20}
    assert [reason.rule for reason in (await venue.order(quantity=60, **SELL)).reasons] == ["short_sale"]
    await traded(venue, quantity=30, **SELL)
    assert {name: held[0] for name, held in (await positions(venue)).items()} == {"delivery": 50, "intraday": -10}
    async with venue.app.database.tx(venue.tenant_id) as tx:
        told = [(one.product, one.side.sign * one.quantity) for one in await trades(tx, venue.account_id)]
    assert told == [(Product.DELIVERY, 50), (Product.INTRADAY, 20), (Product.INTRADAY, -30)]
    await venue.is_sound()


async def test_leaving_closes_both_long_and_short(venue: Venue) -> None:
    await venue.order(quantity=50)
    await venue.work()
    await venue.show(PRICE)
    await traded(venue, quantity=20, **SELL)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await exit_all(tx, Which(account_id=venue.account_id), now=datetime.now(UTC))
    for _ in range(3):
        await venue.work()
    await venue.show(PRICE)
    assert await positions(venue) == {}
    closed = await venue.rows("select product, side, quantity from orders where intent_reason = 'exit_all'")
    assert sorted(map(tuple, (row.values() for row in closed))) == [("delivery", "sell", 50), ("intraday", "buy", 20)]
    await venue.is_sound()


async def clock(venue: Venue, at: datetime) -> None:
    await venue.app.database.reference.execute("update feed_state set market_at = $2 where feed = $1", venue.feed, at)


async def test_from_the_cut_off_on_positions_are_closed_and_none_is_opened(venue: Venue) -> None:
    await traded(venue, quantity=20, **SELL)
    await clock(venue, CUT_OFF - timedelta(seconds=1))
    assert (await intraday(venue)).status is OrderStatus.ACCEPTED
    await clock(venue, CUT_OFF)
    late = await intraday(venue, **SELL)
    assert [reason.rule for reason in late.reasons] == ["intraday_cut_off"]
    assert late.reasons[0].limit == "2003-01-03T20:50:00Z"
    assert (await venue.order()).status is OrderStatus.ACCEPTED
    assert (await intraday(venue, quantity=10)).status is OrderStatus.ACCEPTED


@pytest.mark.parametrize("mode", HaltMode)
async def test_a_halt_stops_what_opens_and_lets_pass_what_closes(venue: Venue, mode: HaltMode) -> None:
    await traded(venue, quantity=20, **SELL)
    covering = await intraday(venue, quantity=5, order_type=OrderType.LIMIT, limit_price=PRICE - 1_000)
    opening = await intraday(venue, order_type=OrderType.LIMIT, limit_price=PRICE + 1_000, **SELL)
    await venue.work()
    queued = await intraday(venue, order_type=OrderType.LIMIT, limit_price=PRICE + 2_000, **SELL)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await halt(tx, Target(), mode=mode, reason="a test", working=TenantOrders(), now=datetime.now(UTC))
    for _ in range(2):
        await venue.work()
    stays = "cancelled" if mode is HaltMode.HALT else "open"
    assert [await venue.status(one.id) for one in (covering, opening, queued)] == ["open", stays, "cancelled"]
    assert [reason.rule for reason in (await intraday(venue, **SELL)).reasons] == ["halt"]
    assert (await intraday(venue, quantity=15)).status is OrderStatus.ACCEPTED
    assert {reason.rule for reason in (await intraday(venue, quantity=1)).reasons} == {"halt", "position"}


async def test_a_level_may_forbid_to_sell_short(venue: Venue) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, await account_scope(tx, venue.account_id), "short_sale", {"forbid_intraday": True})
    await traded(venue, quantity=5)
    assert [reason.rule for reason in (await intraday(venue, quantity=6, **SELL)).reasons] == ["short_sale"]
    assert (await intraday(venue, quantity=5, **SELL)).status is OrderStatus.ACCEPTED


async def test_leverage_counts_orders_on_margin_at_their_full_size(venue: Venue) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, await account_scope(tx, venue.account_id), "max_leverage", {"limit_bps": 15_000})
    await traded(venue, quantity=200)  # 4,000.00 of 15,000.00
    first = await intraday(venue, quantity=300, **AT_LIMIT)
    assert first.status is OrderStatus.ACCEPTED
    over = await intraday(venue, quantity=260, **AT_LIMIT)
    assert [reason.rule for reason in over.reasons] == ["max_leverage"]
    assert Decimal(152) <= Decimal(over.reasons[0].value) <= Decimal(153)
    assert (await intraday(venue, quantity=200, **SELL)).status is OrderStatus.ACCEPTED  # it closes
    await venue.work()
    await _changed(venue, first.id, quantity=540)
    assert (await intraday(venue, quantity=20, **AT_LIMIT)).reasons[0].rule == "max_leverage"


def _asked(venue: Venue, side: Side, quantity: int) -> PlaceOrder:
    what, until = (OrderType.LIMIT, quantity, PRICE), (Product.INTRADAY, Validity.DAY)
    return PlaceOrder(venue.account_id, venue.instrument_id, side, *what, *until, client_order_id="x")


async def test_several_that_are_only_supposed_close_once(venue: Venue) -> None:
    await traded(venue, quantity=20)
    asked = _asked(venue, Side.SELL, 20)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        one, two = await suppose_orders(tx, [asked, replace(asked, quantity=30, client_order_id="y")])
    assert (one.preview.decision.hold_minor, one.position_after) == (0, 0)
    assert [reason.rule for reason in two.preview.decision.reasons] == ["position"]


async def test_several_that_are_only_supposed_count_at_their_full_size(venue: Venue) -> None:
    asked = _asked(venue, Side.BUY, 300)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_limit(tx, await account_scope(tx, venue.account_id), "max_leverage", {"limit_bps": 10_000})
    async with venue.app.database.tx(venue.tenant_id) as tx:
        one, two = await suppose_orders(tx, [asked, replace(asked, client_order_id="y")])
    assert one.preview.decision.status is OrderStatus.ACCEPTED
    assert [reason.rule for reason in two.preview.decision.reasons] == ["max_leverage"]


async def test_a_statement_says_what_was_traded_and_not_what_was_blocked(venue: Venue) -> None:
    await traded(venue, quantity=100)
    day = datetime(2003, 1, 3, tzinfo=UTC).date()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        said = await statement_of(tx, venue.account_id, first=day - timedelta(days=9), last=day, now=datetime.now(UTC))
    held = await cash(venue)
    assert (said.closing, said.settled) == (held.posted, held.settled) == (CASH - 200_000 - await charges(venue), CASH)
    assert [one.kind for one in said.movements] == ["funding", "fill"]


@pytest.mark.parametrize("apart", [False, True])
async def test_many_at_once_never_block_more_than_there_is(venue: Venue, apart: bool) -> None:
    placed = []
    for _ in range(4):
        sides = [SELL, {}] * 4
        asked = [intraday(venue, quantity=100, apart=apart, **AT_LIMIT, **side) for side in sides]
        placed += await asyncio.gather(*asked)
    accepted = [one for one in placed if one.status is OrderStatus.ACCEPTED]
    assert len(accepted) == 9  # 1,000.00 each, and charges
    assert {reason.rule for one in placed for reason in one.reasons} == {"available_funds"}
    await venue.work()
    await venue.show(PRICE)
    await venue.is_sound()
    assert (await cash(venue)).available >= 0


async def _changed(venue: Venue, order_id: UUID, **asked: Any) -> None:
    await change(venue, order_id, **asked)
    await venue.work()


async def test_an_exit_that_is_made_larger_opens_and_is_paid_for(venue: Venue) -> None:
    await traded(venue, quantity=20)
    closing = await intraday(venue, quantity=20, order_type=OrderType.LIMIT, limit_price=PRICE + 1_000, **SELL)
    await venue.work()
    terms = "select reduces, hold_minor, quantity from orders where id = :id"
    await _changed(venue, closing.id, limit_price=PRICE + 2_000)
    assert (await venue.rows(terms, id=closing.id)) == [{"reduces": True, "hold_minor": 0, "quantity": 20}]
    await _changed(venue, closing.id, quantity=30)
    (order,) = await venue.rows(terms, id=closing.id)
    assert (order["reduces"], order["quantity"]) == (False, 30) and order["hold_minor"] >= 10 * 2_020 // 2
    await venue.show(PRICE + 3_000)
    (fill,) = await venue.rows("select price / 100 as cents from fills where order_id = :id", id=closing.id)
    assert fill["cents"] >= 2_020
    assert await positions(venue) == {"intraday": (-10, -10 * fill["cents"], 10 * fill["cents"] // 2)}
    await venue.is_sound()


async def test_what_was_not_closed_in_time_is_settled_and_closed_later(venue: Venue) -> None:
    await traded(venue, quantity=600)
    await venue.settle(days=9)
    carried = await cash(venue)
    assert (await venue.securities())["settled"] == 600
    assert (carried.margin, carried.financed) == (600_000, 1_200_000)
    assert carried.available == CASH - 600_000 - await charges(venue)
    await venue.is_sound()
    await traded(venue, quantity=600, **SELL)
    await venue.settle(days=20)
    left = await cash(venue)
    assert left.settled == left.available == CASH - await charges(venue)
    assert await venue.securities() == {"settled": 0, "waiting": 0}
    await venue.is_sound()


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_traded_the_books_agree_at_each_step(venue: Venue, seed: int) -> None:
    chance, price = random.Random(seed), PRICE
    for _ in range(25):
        product = chance.choice(list(Product))
        asked: dict[str, Any] = {"side": chance.choice(list(Side)), "quantity": chance.randint(1, 400)}
        if chance.random() < 0.4:
            asked |= {"order_type": OrderType.LIMIT, "limit_price": price + chance.randint(-20, 20) * 100}
        before = await cash(venue)
        placed = await venue.order(product=product, **asked)
        held = (await cash(venue)).held - before.held
        (order,) = await venue.rows("select hold_minor, reduces from orders where id = :id", id=placed.id)
        assert held == order["hold_minor"] <= max(before.available, 0)
        await venue.work()
        price = max(price + chance.randint(-30, 30) * 100, 10_000)
        await venue.show(price)
        await venue.is_sound()
        now, there = await cash(venue), await positions(venue)
        _, cost, margin = there.get("intraday", (0, 0, 0))
        assert margin == -(-abs(cost) // 2)
        assert now.available == now.posted - now.held - margin + cost
        assert there.get("delivery", (0,))[0] >= 0
    bought = await venue.rows(
        "select coalesce(sum(case side when 'buy' then -notional_minor else notional_minor end - charges_minor), 0)"
        "::bigint as sum from fills"
    )
    assert (await cash(venue)).posted == CASH + bought[0]["sum"]
