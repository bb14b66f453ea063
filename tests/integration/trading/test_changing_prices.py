"""A price that is moved: a short sale pays for a higher one; every one obeys the day's band, whichever way it goes."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.kernel.errors import DomainError
from app.kernel.orders import Leg, OrderClass, OrderType, Product, Side
from app.trading.orders.domain import Exit
from app.trading.risk.domain import HaltMode, Target
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.groups import STOP, bracket, family
from tests.integration.trading.scripted import change, held
from tests.integration.trading.test_changing_slices import liquid
from tests.integration.trading.test_halts import halted
from tests.integration.trading.test_slices import frozen as frozen

HIGH, LOWER, UPPER = PRICE * 6 // 5, PRICE - 10_000, PRICE + 10_000
LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE}
SHORT: dict[str, Any] = {**LIMIT, "side": Side.SELL, "product": Product.INTRADAY}


async def _row(venue: Venue, order_id: UUID) -> dict[str, Any]:
    return (await venue.rows("select * from orders where id = :id", id=order_id))[0]


async def _denied(venue: Venue, order_id: UUID, **changes: Any) -> str:
    """What the refusal says; the order is as it was."""
    before, kept = await _row(venue, order_id), await held(venue)
    with pytest.raises(DomainError) as caught:
        await change(venue, order_id, **changes)
    assert caught.value.code == "change_denied"
    assert (await _row(venue, order_id), await held(venue)) == (before, kept)
    return caught.value.message


async def _banded(venue: Venue, *, halted: bool = False) -> None:
    """A band of an instrument that is the test's own."""
    await venue.app.database.reference.execute(
        "insert into instrument_bands (id, instrument_id, lower, upper, halted, valid_from, valid_to, source) "
        "values ($1, $2, $3, $4, $5, $6, $7, 'test')",
        uuid4(), venue.instrument_id, LOWER, UPPER, halted, AT - timedelta(hours=1), AT + timedelta(hours=1),
    )  # fmt: skip


@pytest.mark.parametrize("worked", [False, True])
async def test_a_short_sale_at_a_higher_price_needs_the_margin_that_placing_it_there_would(
    venue: Venue, worked: bool
) -> None:
    placed = await venue.order(**SHORT, quantity=900)  # 9,000.00 of 10,000.00
    assert placed.status == "accepted", placed.reasons
    before = await held(venue)
    if worked:
        await venue.work()
    anew = await venue.order(**SHORT | {"limit_price": HIGH}, quantity=900)
    assert [one.rule for one in anew.reasons] == ["available_funds"]
    assert "available_funds" in await _denied(venue, placed.id, limit_price=HIGH)
    await change(venue, placed.id, limit_price=PRICE + 10_000)
    assert 45_000 <= await held(venue) - before < 45_010  # half of 1.00 for each, and its charges
    await venue.work()
    assert (await _row(venue, placed.id))["hold_minor"] == await held(venue)
    await venue.show(PRICE + 11_000)
    assert (await venue.status(placed.id), await held(venue)) == ("filled", 0)
    await venue.is_sound()


async def test_slices_of_a_short_sale_at_a_higher_price_need_it_too(frozen: Venue) -> None:
    placed = await frozen.order(**SHORT, quantity=150)
    other = await frozen.order(**LIMIT, quantity=420, instrument_id=await liquid(frozen))
    assert (placed.status, other.status) == ("accepted", "accepted"), (placed.reasons, other.reasons)
    before = await held(frozen)
    assert "available_funds" in await _denied(frozen, placed.id, limit_price=HIGH)
    await change(frozen, placed.id, limit_price=PRICE + 5_000)
    assert 3_750 <= await held(frozen) - before < 3_760
    await frozen.is_sound()


async def test_an_exit_is_raised_and_holds_nothing_when_the_account_may_only_exit(venue: Venue) -> None:
    await venue.order(quantity=100, product=Product.INTRADAY)
    await venue.work()
    await venue.show(PRICE)
    closing = await venue.order(**SHORT, quantity=100)
    await halted(venue, Target(), HaltMode.REDUCE_ONLY)
    await change(venue, closing.id, limit_price=HIGH)
    assert ((await _row(venue, closing.id))["limit_price"], await held(venue)) == (HIGH, 0)


@pytest.mark.parametrize("worked", [False, True])
@pytest.mark.parametrize(
    ("order", "quantity"),
    [
        (LIMIT, 10),
        (LIMIT, 40),  # in slices
        (LIMIT | {"order_class": OrderClass.ICEBERG, "slices": 4}, 40),
    ],
)
async def test_a_buy_is_not_moved_below_the_band_and_its_quantity_is_free(
    frozen: Venue, order: dict[str, Any], quantity: int, worked: bool
) -> None:
    placed = await frozen.order(**order | {"limit_price": LOWER}, quantity=quantity)
    if worked:
        await frozen.work()
    await _banded(frozen)
    assert "price_band allows 19.00 to 21.00" in await _denied(frozen, placed.id, limit_price=LOWER - 100)
    assert "price_band" in await _denied(frozen, placed.id, limit_price=LOWER - 100, quantity=quantity - 5)
    await change(frozen, placed.id, limit_price=LOWER + 100)
    await frozen.work()
    assert (await _row(frozen, placed.id))["limit_price"] == LOWER + 100
    await frozen.is_sound()


async def test_an_exit_obeys_the_band_and_one_that_a_new_band_left_behind_may_become_less(frozen: Venue) -> None:
    await frozen.order(quantity=10)
    await frozen.work()
    await frozen.show(PRICE)
    closing = await frozen.order(**LIMIT | {"side": Side.SELL, "limit_price": UPPER + 100}, quantity=10)
    await _banded(frozen)
    assert "price_band" in await _denied(frozen, closing.id, limit_price=UPPER + 200)
    await change(frozen, closing.id, quantity=5)
    await change(frozen, closing.id, limit_price=UPPER)
    assert (await _row(frozen, closing.id))["limit_price"] == UPPER


async def test_while_the_venue_has_halted_it_an_exit_is_moved_and_what_opens_is_not(frozen: Venue) -> None:
    await frozen.order(quantity=10)
    await frozen.work()
    await frozen.show(PRICE)
    closing = await frozen.order(**LIMIT | {"side": Side.SELL, "limit_price": UPPER}, quantity=10)
    opening = await frozen.order(**LIMIT, quantity=10)
    trailing = await frozen.order(order_type="trailing_stop", parameters={"trail_by": "1.00"}, quantity=10)
    await _banded(frozen, halted=True)
    await change(frozen, closing.id, limit_price=UPPER - 100)
    assert "price_band allows halted" in await _denied(frozen, opening.id, limit_price=PRICE - 100)
    for one in (opening, trailing):
        await change(frozen, one.id, quantity=5)


async def test_an_exit_that_waits_for_its_entry_is_moved_as_freely_as_it_was_placed(frozen: Venue) -> None:
    await _banded(frozen)
    far = Exit(Leg.TARGET, UPPER + 1_000)
    entry = await bracket(frozen, exits=(far, STOP))
    assert entry.status == "accepted", entry.reasons
    target = (await family(frozen, entry.id))[0]
    await change(frozen, target["id"], limit_price=UPPER + 2_000)
    assert (await _row(frozen, target["id"]))["limit_price"] == UPPER + 2_000
