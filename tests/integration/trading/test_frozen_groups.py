"""Brackets, covers and pairs above the freeze quantity: each part is a group of its own, and the whole sums them up."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.kernel.errors import DomainError
from app.kernel.ids import encode_id
from app.kernel.orders import Leg, OrderClass, OrderType, Side
from app.trading.orders.domain import Exit
from app.trading.orders.service import PlacedOrder, request_cancel
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.groups import STOP, TARGET, bracket, exits, family, fill, work_of
from tests.integration.trading.groups import held as units
from tests.integration.trading.scripted import change, change_refused, held, told
from tests.integration.trading.test_slices import frozen as frozen


async def _row(venue: Venue, order_id: UUID) -> dict[str, Any]:
    return (await venue.rows("select * from orders where id = :id", id=order_id))[0]


async def _cancel(venue: Venue, order_id: UUID) -> None:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, order_id, now=AT)
    await venue.work()


async def _pair(venue: Venue) -> PlacedOrder:
    """Hold 40, and close them at 20.10 or 19.90."""
    await venue.order(quantity=40)
    await venue.work()
    await venue.show(PRICE)
    return await venue.order(
        order_class=OrderClass.OCO, side=Side.SELL, order_type=OrderType.LIMIT, limit_price=PRICE + 1_000, quantity=40,
        exits=(STOP,),
    )  # fmt: skip


async def test_an_entry_above_the_freeze_quantity_is_sent_in_parts_whose_exits_are_stored_before(frozen: Venue) -> None:
    placed = await bracket(frozen, quantity=40)
    whole, entries = await _row(frozen, placed.id), await family(frozen, placed.id)
    assert (whole["leg"], whole["order_class"], whole["counted"]) == ("whole", "bracket", False)
    assert [(one["leg"], one["status"], one["quantity"], one["counted"]) for one in entries] == [
        ("entry", "accepted", quantity, True) for quantity in (15, 15, 10)
    ]
    assert whole["hold_minor"] == sum(one["hold_minor"] for one in entries) == await held(frozen)
    for number, entry in enumerate(entries, start=1):
        assert entry["client_order_id"] == f"{encode_id('ord', placed.id)}.entry.{number}"
        assert await exits(frozen, entry["id"]) == [
            (leg, "waiting", entry["quantity"], 0) for leg in ("target", "stop")
        ]
        assert await work_of(frozen, entry["id"]) == [("order.submit", 1)]
    assert len(await frozen.rows("select 1 from risk_decisions where verdict = 'approved'")) == 1 + 3 + 6
    await frozen.is_sound()


async def test_each_fill_of_a_part_is_covered_in_its_own_transaction(frozen: Venue) -> None:
    placed = await bracket(frozen, quantity=40)
    await frozen.work()
    first, second, third = await family(frozen, placed.id)
    await fill(frozen, second["id"], 5)
    assert await exits(frozen, second["id"]) == [("target", "accepted", 5, 0), ("stop", "accepted", 5, 0)]
    for other in (first, third):
        assert {status for _, status, *_ in await exits(frozen, other["id"])} == {"waiting"}
    await fill(frozen, second["id"], 10)
    assert await exits(frozen, second["id"]) == [("target", "accepted", 15, 0), ("stop", "accepted", 15, 0)]
    whole = await _row(frozen, placed.id)
    assert (whole["status"], whole["filled_quantity"]) == ("partially_filled", 15)
    assert await told(frozen, placed.id) == ["accepted", "open", "partially_filled", "partially_filled"]
    await frozen.is_sound()


async def test_no_exit_is_larger_than_the_freeze_quantity_and_one_of_each_pair_ends_the_other(frozen: Venue) -> None:
    placed = await bracket(frozen, quantity=40)
    await frozen.work()
    await frozen.show(PRICE - 100)
    await frozen.work()
    assert (await _row(frozen, placed.id))["status"] == "filled"
    assert len(await frozen.rows("select 1 from paper_orders where remaining <= 18")) == 6
    await frozen.show(PRICE + 1_100)
    for entry in await family(frozen, placed.id):
        assert {leg: status for leg, status, *_ in await exits(frozen, entry["id"])} == {
            "target": "filled", "stop": "cancelled"
        }  # fmt: skip
    assert (await units(frozen), await frozen.rows("select 1 from paper_orders")) == (0, [])
    await frozen.is_sound()


async def test_the_cancel_of_the_whole_takes_entries_back_and_leaves_what_was_bought_covered(frozen: Venue) -> None:
    placed = await bracket(frozen, quantity=40)
    await frozen.work()
    first, *others = await family(frozen, placed.id)
    await fill(frozen, first["id"], 5)
    await _cancel(frozen, placed.id)
    whole = await _row(frozen, placed.id)
    assert (whole["status"], whole["filled_quantity"]) == ("cancelled", 5)
    assert {(leg, status, quantity) for leg, status, quantity, _ in await exits(frozen, first["id"])} == {
        ("target", "open", 5), ("stop", "open", 5)
    }  # fmt: skip
    for other in others:
        assert {status for _, status, *_ in await exits(frozen, other["id"])} == {"cancelled"}
    await frozen.show(PRICE - 1_100)
    assert await units(frozen) == 0
    await frozen.is_sound()


@pytest.mark.parametrize("order_class", [OrderClass.OTO, OrderClass.COVER])
async def test_orders_with_one_exit_are_cut_like_brackets(frozen: Venue, order_class: OrderClass) -> None:
    placed = await bracket(frozen, quantity=40, order_class=order_class, exits=(STOP,))
    await frozen.work()
    await frozen.show(PRICE - 100)
    await frozen.work()
    entries = await family(frozen, placed.id)
    assert [await exits(frozen, one["id"]) for one in entries] == [
        [("stop", "open", quantity, 0)] for quantity in (15, 15, 10)
    ]
    (stop,) = await family(frozen, entries[0]["id"])
    if order_class is OrderClass.COVER:
        with pytest.raises(DomainError, match="stop of a cover order stays"):
            await _cancel(frozen, stop["id"])
    await frozen.show(PRICE - 1_100)
    assert await units(frozen) == 0
    await frozen.is_sound()


async def test_a_pair_above_the_freeze_quantity_is_several_pairs_that_never_sell_more_than_there_is(
    frozen: Venue,
) -> None:
    placed = await _pair(frozen)
    assert [(one["leg"], one["quantity"], one["counted"]) for one in await family(frozen, placed.id)] == [
        (leg, quantity, leg == "target") for quantity in (15, 15, 10) for leg in ("target", "stop")
    ]
    await frozen.work()
    await frozen.show(PRICE - 1_100)
    whole, parts = await _row(frozen, placed.id), await family(frozen, placed.id)
    assert (whole["status"], whole["filled_quantity"], await units(frozen)) == ("filled", 40, 0)
    assert {(one["leg"], one["status"]) for one in parts} == {("target", "cancelled"), ("stop", "filled")}
    assert (await told(frozen, placed.id))[-1] == "filled"
    await frozen.is_sound()


async def test_a_pair_that_is_cut_may_leave_by_both_ways_and_is_taken_back_whole(frozen: Venue) -> None:
    placed = await _pair(frozen)
    await frozen.work()
    target, _, _, other_stop, *_ = await family(frozen, placed.id)
    await fill(frozen, target["id"], 15, price=PRICE + 1_000)
    await fill(frozen, other_stop["id"], 4, price=PRICE - 1_000)
    whole = await _row(frozen, placed.id)
    assert (whole["status"], whole["filled_quantity"]) == ("partially_filled", 19)
    await _cancel(frozen, placed.id)
    whole = await _row(frozen, placed.id)
    assert (whole["status"], whole["filled_quantity"], await units(frozen)) == ("cancelled", 19, 21)
    assert await frozen.rows("select 1 from paper_orders") == []


async def test_a_part_is_no_order_to_change_but_its_exits_are(frozen: Venue) -> None:
    placed = await bracket(frozen, quantity=40)
    entry = (await family(frozen, placed.id))[0]
    target = (await family(frozen, entry["id"]))[0]
    assert (await change_refused(frozen, entry["id"], limit_price=PRICE - 100))[0] == "order_not_changeable"
    await change(frozen, target["id"], limit_price=PRICE + 2_000)
    assert (await _row(frozen, target["id"]))["limit_price"] == PRICE + 2_000
    pair = await _pair(frozen)
    assert await change_refused(frozen, pair.id, limit_price=PRICE + 500) == ("order_not_changeable", None)


@pytest.mark.parametrize("worked", [False, True])
async def test_the_entries_of_a_group_that_is_cut_take_another_price_that_goes_with_their_exits(
    frozen: Venue, worked: bool
) -> None:
    placed = await bracket(frozen, quantity=40)
    if worked:
        await frozen.work()
    assert await change_refused(frozen, placed.id, limit_price=PRICE + 1_000) == (
        "target_on_the_wrong_side",
        "limit_price",
    )
    assert await change_refused(frozen, placed.id, limit_price=PRICE - 1_000) == (
        "stop_on_the_wrong_side",
        "limit_price",
    )
    assert await change_refused(frozen, placed.id, quantity=45) == ("order_not_changeable", "quantity")
    await change(frozen, placed.id, limit_price=PRICE - 500)
    await frozen.work()
    entries = await family(frozen, placed.id)
    assert {one["limit_price"] for one in (await _row(frozen, placed.id), *entries)} == {PRICE - 500}
    await frozen.show(PRICE - 100)
    assert await units(frozen) == 0
    await frozen.show(PRICE - 600)
    assert (await _row(frozen, placed.id))["status"] == "filled"
    assert [await exits(frozen, one["id"]) for one in entries] == [
        [("target", "accepted", quantity, 0), ("stop", "accepted", quantity, 0)] for quantity in (15, 15, 10)
    ]
    await frozen.is_sound()


@pytest.mark.parametrize("worked", [False, True])
async def test_less_of_a_group_that_is_cut_takes_entries_back_with_the_exits_that_wait_for_them(
    frozen: Venue, worked: bool
) -> None:
    placed = await bracket(frozen, quantity=40)
    if worked:
        await frozen.work()
    first, second, third = (one["id"] for one in await family(frozen, placed.id))
    if worked:
        await fill(frozen, first, 15)
    await change(frozen, placed.id, quantity=20)
    await frozen.work()
    assert await exits(frozen, second) == [(leg, "waiting", 5, 0) for leg in ("target", "stop")]
    assert await exits(frozen, third) == [(leg, "cancelled", 10, 0) for leg in ("target", "stop")]
    whole = await _row(frozen, placed.id)
    assert (whole["quantity"], whole["filled_quantity"]) == (20, 15 if worked else 0)
    await frozen.show(PRICE - 100)
    await frozen.work()
    assert ((await _row(frozen, placed.id))["status"], await units(frozen)) == ("filled", 20)
    await frozen.show(PRICE - 1_100)
    assert await units(frozen) == 0
    await frozen.is_sound()


async def test_more_than_ten_parts_and_a_change_above_the_freeze_quantity_are_refused(frozen: Venue) -> None:
    with pytest.raises(DomainError) as caught:
        await bracket(frozen, quantity=155)
    assert (caught.value.code, caught.value.param) == ("above_freeze", "quantity")
    single = await frozen.order(order_type=OrderType.LIMIT, limit_price=PRICE - 1_000, quantity=10)
    assert await change_refused(frozen, single.id, quantity=20) == ("above_freeze", "quantity")
    wrong = replace(STOP, trigger_price=PRICE + 500)
    with pytest.raises(DomainError) as caught:
        await bracket(frozen, quantity=40, exits=(TARGET, wrong))
    assert caught.value.code == "stop_on_the_wrong_side"
    right = await bracket(frozen, quantity=40, exits=(Exit(Leg.TARGET, PRICE + 500), STOP))
    assert right.status == "accepted"
