"""An entry with its exits: they cover exactly what is filled of it, from the transaction that records the fill."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from app.kernel.errors import DomainError
from app.kernel.ids import encode_id
from app.kernel.orders import Leg, OrderClass, OrderStatus, OrderType, Side, Validity
from app.trading.orders.domain import Exit
from app.trading.orders.service import Which, cancel_all, exit_all, request_cancel
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.groups import STOP, TARGET, bracket, exits, family, fill, held, work_of
from tests.integration.trading.scripted import told


async def cancel(venue: Venue, order_id: UUID) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, order_id, now=AT)


async def test_exits_are_stored_with_their_entry_and_wait_without_work(venue: Venue) -> None:
    placed = await bracket(venue)
    assert await exits(venue, placed.id) == [("target", "waiting", 10, 0), ("stop", "waiting", 10, 0)]
    for child in await family(venue, placed.id):
        assert await work_of(venue, child["id"]) == []
        assert child["client_order_id"] == f"{encode_id('ord', placed.id)}.{child['leg']}.1"
        assert await told(venue, child["id"]) == ["waiting"]
    decisions = await venue.rows("select id from risk_decisions where verdict = 'approved'")
    assert len(decisions) == 3
    await venue.is_sound()


async def test_the_fill_of_the_entry_sends_its_exits_in_the_same_transaction_ahead_of_entries(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    await venue.show(PRICE - 100)
    assert await exits(venue, placed.id) == [("target", "accepted", 10, 0), ("stop", "accepted", 10, 0)]
    for child in await family(venue, placed.id):
        assert await work_of(venue, child["id"]) == [("order.protect", 0)]
        assert await told(venue, child["id"]) == ["waiting", "accepted"]
    await venue.work()
    assert {status for _, status, *_ in await exits(venue, placed.id)} == {"open"}
    await venue.is_sound()


@pytest.mark.parametrize(
    ("price", "filled", "ended"), [(PRICE + 1_100, "target", "stop"), (PRICE - 1_100, "stop", "target")]
)
async def test_one_exit_takes_the_other_back_in_the_transaction_of_its_fill(
    venue: Venue, price: int, filled: str, ended: str
) -> None:
    placed = await bracket(venue)
    await venue.work()
    await venue.show(PRICE - 100)
    await venue.work()
    await venue.show(price)
    states = {leg: status for leg, status, *_ in await exits(venue, placed.id)}
    assert states == {filled: "filled", ended: "cancelled"}
    assert await venue.rows("select 1 from paper_orders") == []
    assert await held(venue) == 0
    await venue.is_sound()


async def test_both_exits_touched_by_one_batch_of_prices_trade_once(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    await venue.show(PRICE - 100)
    await venue.work()
    await venue.show(PRICE + 1_100, PRICE - 1_100, PRICE + 1_200)
    assert await held(venue) == 0
    assert sorted(status for _, status, *_ in await exits(venue, placed.id)) == ["cancelled", "filled"]
    await venue.is_sound()


async def test_exits_cover_what_is_filled_and_grow_until_a_broker_has_seen_them(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    await fill(venue, placed.id, 3)
    assert await exits(venue, placed.id) == [("target", "accepted", 3, 0), ("stop", "accepted", 3, 0)]
    await fill(venue, placed.id, 2)
    assert await exits(venue, placed.id) == [("target", "accepted", 5, 0), ("stop", "accepted", 5, 0)]
    await venue.work()
    await fill(venue, placed.id, 5)
    assert await exits(venue, placed.id) == [
        ("target", "open", 5, 0),
        ("stop", "open", 5, 0),
        ("stop", "accepted", 5, 0),
        ("target", "accepted", 5, 0),
    ]
    await venue.work()
    await venue.show(PRICE + 1_100)
    assert await held(venue) == 0
    await venue.is_sound()


async def test_a_partial_exit_reduces_the_other_by_as_much(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    await fill(venue, placed.id, 10)
    await venue.work()
    target, stop = await family(venue, placed.id)
    await fill(venue, target["id"], 4)
    assert await exits(venue, placed.id) == [("target", "partially_filled", 10, 4), ("stop", "open", 6, 0)]
    (resting,) = await venue.rows("select remaining from paper_orders where id = :id", id=stop["id"])
    assert resting["remaining"] == 6
    await fill(venue, stop["id"], 6)
    assert [status for _, status, *_ in await exits(venue, placed.id)] == ["cancelled", "filled"]
    assert await held(venue) == 0


async def test_an_entry_that_ends_unfilled_ends_its_exits(venue: Venue) -> None:
    cancelled, expired = await bracket(venue), await bracket(venue)
    await venue.work()
    await cancel(venue, cancelled.id)
    await venue.work()
    await venue.show(PRICE + 500, close=True)
    for order, status in ((cancelled, "cancelled"), (expired, "expired")):
        assert await venue.status(order.id) == status
        assert {status for _, status, *_ in await exits(venue, order.id)} == {"cancelled"}
    await venue.is_sound()


async def test_a_halt_that_takes_an_unsent_entry_back_ends_its_exits(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.rows("update tenants set status = 'suspended' where true returning id")
    await venue.work()
    assert await venue.status(placed.id) == "cancelled"
    assert {status for _, status, *_ in await exits(venue, placed.id)} == {"cancelled"}


async def test_a_partly_filled_entry_that_is_taken_back_leaves_its_exits(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    await fill(venue, placed.id, 4)
    await cancel(venue, placed.id)
    await venue.work()
    assert await venue.status(placed.id) == "cancelled"
    assert await exits(venue, placed.id) == [("target", "open", 4, 0), ("stop", "open", 4, 0)]
    await venue.show(PRICE - 1_100)
    assert await held(venue) == 0


async def test_an_exit_that_was_taken_back_on_request_is_not_made_again(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    target = (await family(venue, placed.id))[0]
    await cancel(venue, target["id"])
    await venue.work()
    await fill(venue, placed.id, 4)
    await venue.work()
    await fill(venue, placed.id, 6)
    assert await exits(venue, placed.id) == [
        ("target", "cancelled", 10, 0),
        ("stop", "open", 4, 0),
        ("stop", "accepted", 6, 0),
    ]


async def test_a_fill_that_comes_after_the_entry_had_ended_is_covered_too(venue: Venue) -> None:
    """The broker has traded it after all: what it says is a fact."""
    placed = await bracket(venue)
    await venue.work()
    await cancel(venue, placed.id)
    await venue.work()
    await fill(venue, placed.id, 7)
    assert await exits(venue, placed.id) == [
        ("target", "cancelled", 10, 0),
        ("stop", "cancelled", 10, 0),
        ("stop", "accepted", 7, 0),
        ("target", "accepted", 7, 0),
    ]
    assert await held(venue) == 7


async def test_the_exits_of_a_pair_are_counted_once(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    await fill(venue, placed.id, 10)
    (asked,) = await venue.rows("select sum(quantity) as selling from orders where counted and side = 'sell'")
    assert asked["selling"] == 10
    more = await venue.order(side=Side.SELL, quantity=1)
    assert [reason.rule for reason in more.reasons] == ["short_sale"]
    await venue.order(quantity=3)
    await venue.work()
    await venue.show(PRICE)
    free = await venue.order(side=Side.SELL, quantity=3)
    assert free.status is OrderStatus.ACCEPTED


async def test_the_group_is_denied_as_a_whole(venue: Venue) -> None:
    placed = await bracket(venue, quantity=1_000)
    assert placed.status is OrderStatus.DENIED
    assert await family(venue, placed.id) == []
    assert await venue.rows("select 1 from work_items") == []


async def test_only_the_entry_holds_cash(venue: Venue) -> None:
    alone = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE)
    placed = await bracket(venue)
    rows = await venue.rows("select id, hold_minor from orders where hold_minor > 0")
    assert {row["id"]: row["hold_minor"] for row in rows}.keys() == {alone.id, placed.id}
    assert len({row["hold_minor"] for row in rows}) == 1
    await venue.is_sound()


async def test_exits_pass_while_the_account_may_only_reduce(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    await venue.rows("update accounts set status = 'reduce_only' where true returning id")
    assert (await bracket(venue)).status is OrderStatus.DENIED
    await venue.show(PRICE - 100)
    await venue.work()
    await venue.show(PRICE - 1_100)
    assert await held(venue) == 0
    assert {status for _, status, *_ in await exits(venue, placed.id)} == {"filled", "cancelled"}


async def test_leaving_the_market_takes_exits_along_that_begin_meanwhile(venue: Venue) -> None:
    placed = await bracket(venue)
    await venue.work()
    await fill(venue, placed.id, 4)
    await venue.work()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await exit_all(tx, Which(account_id=venue.account_id), now=AT)
    await fill(venue, placed.id, 6)  # the broker was faster than the cancel
    async with asyncio.timeout(30):
        while await held(venue):
            await venue.work()
            await venue.show(PRICE)
    assert {status for _, status, *_ in await exits(venue, placed.id)} == {"cancelled"}


async def test_taking_everything_back_takes_entries_and_exits(venue: Venue) -> None:
    first, second = await bracket(venue), await bracket(venue)
    await venue.work()
    await fill(venue, first.id, 10)
    await venue.work()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await cancel_all(tx, Which())
    await venue.work()
    for order in (first, second):
        assert {status for _, status, *_ in await exits(venue, order.id)} == {"cancelled"}
    assert await venue.status(second.id) == "cancelled"
    await venue.is_sound()


async def test_an_oto_has_one_exit(venue: Venue) -> None:
    for way in (TARGET, STOP):
        placed = await bracket(venue, order_class=OrderClass.OTO, exits=(way,))
        await venue.work()
        await fill(venue, placed.id, 10)
        assert await exits(venue, placed.id) == [(way.leg, "accepted", 10, 0)]


async def test_an_oco_closes_a_position_by_one_of_two_orders(venue: Venue) -> None:
    await venue.order()
    await venue.work()
    await venue.show(PRICE)
    placed = await bracket(venue, order_class=OrderClass.OCO, side=Side.SELL, limit_price=PRICE + 1_000, exits=(STOP,))
    assert placed.status is OrderStatus.ACCEPTED
    await venue.work()
    assert (await venue.status(placed.id), await exits(venue, placed.id)) == ("open", [("stop", "open", 10, 0)])
    await venue.show(PRICE - 1_100)
    assert (await venue.status(placed.id), await exits(venue, placed.id)) == ("cancelled", [("stop", "filled", 10, 10)])
    assert await held(venue) == 0
    await venue.is_sound()


async def test_the_cancel_of_an_oco_takes_both_orders_back(venue: Venue) -> None:
    await venue.order()
    await venue.work()
    await venue.show(PRICE)
    placed = await bracket(venue, order_class=OrderClass.OCO, side=Side.SELL, limit_price=PRICE + 1_000, exits=(STOP,))
    await venue.work()
    await cancel(venue, placed.id)
    await venue.work()
    assert await venue.status(placed.id) == "cancelled"
    assert await exits(venue, placed.id) == [("stop", "cancelled", 10, 0)]


async def test_a_cover_order_keeps_its_stop(venue: Venue) -> None:
    placed = await bracket(venue, order_class=OrderClass.COVER, exits=(STOP,))
    await venue.work()
    await fill(venue, placed.id, 10)
    await venue.work()
    (stop,) = await family(venue, placed.id)
    with pytest.raises(DomainError) as caught:
        await cancel(venue, stop["id"])
    assert caught.value.code == "compulsory_stop"
    await venue.show(PRICE - 1_100)
    assert await held(venue) == 0


BRACKET: dict[str, Any] = {"order_class": OrderClass.BRACKET}


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"exits": ()}, "invalid_exits", "stop_loss"),
        ({"exits": (STOP,)}, "invalid_exits", "take_profit"),
        ({"order_class": OrderClass.OTO}, "invalid_exits", "take_profit"),
        ({"order_class": OrderClass.OTO, "exits": ()}, "invalid_exits", "stop_loss"),
        ({"order_class": OrderClass.COVER}, "invalid_exits", "take_profit"),
        ({"order_class": OrderClass.COVER, "exits": (TARGET,)}, "invalid_exits", "stop_loss"),
        ({"order_class": OrderClass.OCO, "exits": ()}, "invalid_exits", "stop_loss"),
        ({"order_class": OrderClass.SINGLE}, "invalid_exits", "stop_loss"),
        ({"order_class": OrderClass.ICEBERG, "slices": 2}, "invalid_exits", "stop_loss"),
        ({"side": Side.SELL}, "invalid_side", "side"),
        ({"order_class": OrderClass.OCO, "exits": (STOP,)}, "invalid_side", "side"),
        ({"slices": 2}, "invalid_slices", "slices"),
        ({"validity": Validity.IOC}, "invalid_validity", "validity"),
        ({"exits": (Exit(Leg.TARGET, PRICE), STOP)}, "target_on_the_wrong_side", "take_profit.limit_price"),
        ({"exits": (TARGET, Exit(Leg.STOP, None, PRICE))}, "stop_on_the_wrong_side", "stop_loss.trigger_price"),
        (
            {"exits": (TARGET, Exit(Leg.STOP, PRICE - 900, PRICE - 1_000))},
            "stop_on_the_wrong_side",
            "stop_loss.limit_price",
        ),
        ({"exits": (Exit(Leg.TARGET, PRICE + 1_050), STOP)}, "off_tick", "take_profit.limit_price"),
        ({"exits": (TARGET, Exit(Leg.STOP, None, PRICE - 1_050))}, "off_tick", "stop_loss.trigger_price"),
        (
            {"order_class": OrderClass.OCO, "side": Side.SELL, "exits": (STOP,), "limit_price": PRICE},
            "target_on_the_wrong_side",
            "limit_price",
        ),
    ],
)
async def test_exits_that_cannot_be_are_refused_and_nothing_is_written(
    venue: Venue, changes: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(DomainError) as caught:
        await bracket(venue, **changes)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert await venue.rows("select 1 from orders union all select 1 from work_items") == []
