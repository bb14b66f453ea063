"""An order that is sent in slices takes another quantity: the last slices give, what is more comes in new ones."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.infra.work.runner import Retry
from app.kernel.errors import DomainError
from app.kernel.orders import OrderClass, Product, Side, Validity
from app.trading.brokers.ports import Accepted, Rejected, Report, Unknown, VenueStatus
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.asking import modify
from app.trading.orders.service.executing import cancel, submit
from app.trading.orders.service.outcomes import broker_order, read_state
from app.trading.risk.service import TENANT, set_limit
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.groups import STOP, TARGET
from tests.integration.trading.scripted import Scripted, change, held, item, report, told
from tests.integration.trading.test_changing_slices import (
    CAN_CHANGE,
    ICEBERG,
    LIMIT,
    LOW,
    SMALLER,
    UP,
    liquid,
    refused,
    reserved,
)
from tests.integration.trading.test_slices import frozen as frozen
from tests.integration.trading.test_slices import slices, whole

pytestmark = pytest.mark.asyncio
UNDER = replace(STOP, trigger_price=LOW - 1_000)


@pytest_asyncio.fixture
async def there(frozen: Venue, live: Venue) -> Venue:
    """The same with a live account."""
    return replace(frozen, account_id=live.account_id)


async def _at_broker(venue: Venue, **changes: Any) -> tuple[UUID, list[UUID]]:
    """An order whose three slices work at a broker."""
    placed = await venue.order(**LIMIT | changes)
    parts = [part["id"] for part in await slices(venue, placed.id)]
    for part in parts:
        await submit(venue.desk(Scripted([Accepted(str(part))])), item(venue, part))
    return placed.id, parts


async def _taken_back(venue: Venue, slice_id: UUID, *answers: Any) -> None:
    """What comes of the row of work that asks for a slice to be taken back."""
    (row,) = await venue.rows(
        "select payload from work_items where kind = 'order.cancel' and payload->>'order_id' = :id", id=str(slice_id)
    )
    asked = replace(item(venue, slice_id, "order.cancel"), payload=row["payload"])
    await cancel(venue.desk(Scripted(list(answers))), asked)


async def _heard(venue: Venue, slice_id: UUID, said: Report) -> None:
    """The broker tells of it by itself."""
    state = await read_state(venue.app.database.pool, venue.tenant_id, slice_id)
    assert state is not None
    await adopt(venue.app.database.pool, broker_order(venue.tenant_id, state), said, received_at=AT)


async def _modified(venue: Venue, slice_id: UUID, *answers: Any) -> None:
    script = Scripted(list(answers), capabilities=CAN_CHANGE)
    await modify(venue.desk(script), item(venue, slice_id, "order.modify"))


def _said(slice_id: UUID, status: VenueStatus, *fills: int, quantity: int) -> Report:
    return replace(
        report(slice_id, status, *fills), venue_order_id=str(slice_id), quantity=str(quantity), limit_price="19.0000"
    )


async def _sizes(venue: Venue, order_id: Any) -> list[tuple[int, str]]:
    return [(part["quantity"], part["status"]) for part in await slices(venue, order_id)]


async def test_slices_that_were_not_sent_give_at_once_what_is_asked_less(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT)
    before = await held(frozen)
    await change(frozen, placed.id, quantity=20)
    assert await _sizes(frozen, placed.id) == [(15, "accepted"), (5, "accepted"), (10, "cancelled")]
    found = await whole(frozen, placed.id)
    assert (found["quantity"], found["limit_price"], found["status"]) == (20, LOW, "accepted")
    assert found["hold_minor"] == await held(frozen) == await reserved(frozen)
    assert before / 2 <= await held(frozen) < before * 0.6
    (event,) = await frozen.rows(
        "select data from events where subject_id = :id and type = 'order.modified'", id=placed.id
    )
    assert event["data"] == {"quantity": "20", "limit_price": "19.00", "trigger_price": None}
    assert await frozen.work() == 3  # the row of work of a slice that was taken back sends nothing
    await frozen.show(PRICE, LOW - 100)
    found = await whole(frozen, placed.id)
    assert (found["status"], found["filled_quantity"]) == ("filled", 20)
    assert (await told(frozen, placed.id))[-1] == "filled"
    assert await held(frozen) == 0
    await frozen.is_sound()


@pytest.mark.parametrize("worked", [False, True])
async def test_what_is_more_comes_in_new_slices_and_those_that_are_there_keep_their_places(
    frozen: Venue, worked: bool
) -> None:
    placed = await frozen.order(**LIMIT)
    if worked:
        await frozen.work()
    before = await slices(frozen, placed.id)
    await change(frozen, placed.id, quantity=60)
    parts = await slices(frozen, placed.id)
    assert parts[:3] == before
    assert [(part["quantity"], part["limit_price"], part["status"]) for part in parts[3:]] == [
        (15, LOW, "accepted"),
        (5, LOW, "accepted"),
    ]
    assert [part["client_order_id"].split(".")[1:] for part in parts] == [["slice", str(n)] for n in range(1, 6)]
    assert len({part["broker_tag"] for part in parts}) == 5
    found = await whole(frozen, placed.id)
    assert (found["quantity"], found["hold_minor"]) == (60, await held(frozen))
    assert await held(frozen) == await reserved(frozen)
    assert await frozen.work() == (2 if worked else 5)
    await frozen.show(PRICE, LOW - 100)
    found = await whole(frozen, placed.id)
    assert (found["status"], found["filled_quantity"]) == ("filled", 60)
    await frozen.is_sound()


async def test_at_the_venue_the_last_are_taken_back_and_the_order_follows_when_they_are(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT)
    await frozen.work()
    before = await held(frozen)
    await change(frozen, placed.id, quantity=20)
    assert (await whole(frozen, placed.id))["quantity"] == 40
    first, second, third = await slices(frozen, placed.id)
    assert (first["pending_change"], second["pending_change"]["quantity"], third["pending_change"]) == (None, 5, None)
    assert await held(frozen) == before
    assert await refused(frozen, placed.id, quantity=60) == ("change_pending", None)
    assert await frozen.work() == 2
    assert await _sizes(frozen, placed.id) == [(15, "open"), (5, "open"), (10, "cancelled")]
    found = await whole(frozen, placed.id)
    assert (found["quantity"], found["status"]) == (20, "open")
    assert await held(frozen) == await reserved(frozen) == found["hold_minor"]
    modified = await frozen.rows(
        "select data->>'quantity' as now from events where subject_id = :id and type = 'order.modified' order by id",
        id=placed.id,
    )
    assert modified[-1]["now"] == "20"
    await frozen.show(PRICE, LOW - 100)
    assert (await whole(frozen, placed.id))["status"] == "filled"
    await frozen.is_sound()


async def test_a_slice_that_is_filled_before_it_is_taken_back_counts_and_the_order_says_so(there: Venue) -> None:
    order_id, parts = await _at_broker(there)
    await change(there, order_id, quantity=30)
    assert await refused(there, order_id, quantity=60) == ("change_pending", None)
    await _taken_back(there, parts[2], Rejected("too late"), _said(parts[2], VenueStatus.FILLED, 10, quantity=10))
    found = await whole(there, order_id)
    assert (found["quantity"], found["filled_quantity"], found["status"]) == (40, 10, "partially_filled")
    await there.is_sound()


@pytest.mark.parametrize("heard", [False, True])
async def test_a_part_of_a_slice_that_was_filled_before_stays_whoever_hears_of_its_end(
    there: Venue, heard: bool
) -> None:
    order_id, parts = await _at_broker(there)
    await change(there, order_id, quantity=30)
    said = replace(_said(parts[2], VenueStatus.CANCELLED, 4, quantity=10), reason="cancelled by user")
    if heard:
        await _heard(there, parts[2], said)
    else:
        await _taken_back(there, parts[2], Accepted(""), said)
    found = await whole(there, order_id)
    assert (found["quantity"], found["filled_quantity"], found["status"]) == (34, 4, "partially_filled")
    assert await held(there) == await reserved(there)
    await there.is_sound()


async def test_a_broker_that_leaves_a_slice_as_it_was_leaves_the_order_as_it_was(there: Venue) -> None:
    order_id, parts = await _at_broker(there)
    await change(there, order_id, quantity=35)
    await _modified(there, parts[2], Rejected("too late"), _said(parts[2], VenueStatus.OPEN, quantity=10))
    found = await whole(there, order_id)
    assert (found["quantity"], found["status"]) == (40, "open")
    await change(there, order_id, quantity=35)
    await _modified(there, parts[2], Accepted(""))
    assert (await whole(there, order_id))["quantity"] == 35
    assert await held(there) == await reserved(there)


@pytest.mark.parametrize("last_of_all", [False, True])
@pytest.mark.parametrize("group", [{}, {"order_class": OrderClass.BRACKET, "exits": (TARGET, UNDER)}])
async def test_a_slice_that_filled_more_than_is_wanted_of_it_ends_with_that(
    there: Venue, last_of_all: bool, group: dict[str, Any]
) -> None:
    order_id, parts = await _at_broker(there, **group)
    await change(there, order_id, quantity=35)
    for part in parts[:2] if last_of_all else ():
        await _heard(there, part, _said(part, VenueStatus.FILLED, 15, quantity=15))
    partly = _said(parts[2], VenueStatus.OPEN, 7, quantity=10)
    with pytest.raises(Retry):
        await _modified(there, parts[2], Unknown("?"), partly)
    await _modified(there, parts[2], Accepted(""))
    found, last = await whole(there, order_id), (await slices(there, order_id))[2]
    assert (last["status"], last["status_reason"]) == ("cancelled", "changed to what was filled")
    assert (found["quantity"], found["filled_quantity"]) == (40, 37 if last_of_all else 7)
    assert found["status"] == ("cancelled" if last_of_all else "partially_filled")
    assert await held(there) == await reserved(there)
    await there.is_sound()


async def test_an_order_that_comes_down_to_what_was_filled_has_ended(there: Venue) -> None:
    order_id, parts = await _at_broker(there)
    await change(there, order_id, quantity=15)
    await _heard(there, parts[0], _said(parts[0], VenueStatus.FILLED, 15, quantity=15))
    for part, quantity in zip(parts[1:], (15, 10), strict=True):
        await _taken_back(there, part, Accepted(""), _said(part, VenueStatus.CANCELLED, quantity=quantity))
    found = await whole(there, order_id)
    assert (found["quantity"], found["filled_quantity"], found["status"]) == (15, 15, "cancelled")
    assert found["status_reason"] == SMALLER
    assert (await told(there, order_id))[-2:] == ["modified", "cancelled"]
    assert await held(there) == 0
    await there.is_sound()


async def test_an_iceberg_hides_more_or_less_behind_the_slice_that_is_shown(frozen: Venue) -> None:
    placed = await frozen.order(**ICEBERG)
    await frozen.work()
    await frozen.show(PRICE, LOW - 100)
    await frozen.work()
    await change(frozen, placed.id, quantity=30)
    assert await _sizes(frozen, placed.id) == [(15, "filled"), (15, "open"), (10, "cancelled")]
    assert (await whole(frozen, placed.id))["quantity"] == 30
    assert (await refused(frozen, placed.id, quantity=15)) == ("quantity_filled", "quantity")
    await change(frozen, placed.id, quantity=50)
    assert await _sizes(frozen, placed.id) == [
        (15, "filled"),
        (15, "open"),
        (10, "cancelled"),
        (15, "accepted"),
        (5, "accepted"),
    ]
    assert len(await frozen.rows("select 1 from paper_orders")) == 1
    assert await frozen.work() == 0
    for shown in (15, 15, 5):
        (resting,) = await frozen.rows("select remaining from paper_orders")
        assert resting["remaining"] == shown
        await frozen.show(PRICE, LOW - 100)
        await frozen.work()
    found = await whole(frozen, placed.id)
    assert (found["status"], found["filled_quantity"], found["quantity"]) == ("filled", 50, 50)
    await frozen.is_sound()


async def test_what_is_disclosed_bounds_the_quantity_from_below_and_new_slices_from_above(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT | {"order_class": OrderClass.SINGLE, "disclosed_quantity": 15})
    await frozen.work()
    assert (await refused(frozen, placed.id, quantity=15)) == ("invalid_quantity", "quantity")
    await change(frozen, placed.id, quantity=20)
    assert await _sizes(frozen, placed.id) == [(15, "open"), (5, "accepted"), (10, "cancelled")]
    await change(frozen, placed.id, quantity=100)
    assert [size for size, status in await _sizes(frozen, placed.id) if status != "cancelled"] == [15, 5] + [15] * 5 + [
        5
    ]
    await frozen.is_sound()


async def test_of_the_slice_that_is_shown_a_part_is_taken_when_nothing_else_is_left(frozen: Venue) -> None:
    placed = await frozen.order(**ICEBERG)
    await frozen.work()
    await change(frozen, placed.id, quantity=10)
    assert await _sizes(frozen, placed.id) == [(15, "open"), (15, "cancelled"), (10, "cancelled")]
    assert (await slices(frozen, placed.id))[0]["pending_change"]["quantity"] == 10
    await frozen.work()
    assert (await whole(frozen, placed.id))["quantity"] == 10
    await frozen.show(PRICE, LOW - 100)
    found = await whole(frozen, placed.id)
    assert (found["status"], found["filled_quantity"], await held(frozen)) == ("filled", 10, 0)
    await frozen.is_sound()


async def test_more_waits_for_what_the_others_wait_for_and_less_waits_for_nothing(frozen: Venue) -> None:
    gtt = {"order_type": "sl", "trigger_price": UP, "limit_price": UP + 1_000, "validity": Validity.GTT}
    waiting = await frozen.order(**gtt, quantity=40)
    tomorrow = await frozen.order(**LIMIT | {"validity": Validity.DAY}, after_market=True)
    await change(frozen, waiting.id, quantity=50, trigger_price=UP + 2_000, limit_price=UP + 3_000)
    await change(frozen, tomorrow.id, quantity=15)
    waits = await frozen.rows("select waits_for, trigger_price from waiting_orders order by id")
    assert (
        sorted((row["waits_for"], row["trigger_price"]) for row in waits)
        == [("open", None)] + [("price", UP + 2_000)] * 4
    )
    assert await frozen.work() == 0
    await frozen.show(UP + 2_000)
    assert await frozen.work() == 4
    assert (await refused(frozen, waiting.id, quantity=60)) == ("order_not_changeable", "quantity")
    await change(frozen, waiting.id, quantity=40)  # less is taken of what was set off
    await frozen.work()
    assert (await whole(frozen, waiting.id))["quantity"] == 40
    await frozen.is_sound()


async def test_what_is_more_passes_the_rules_and_is_paid_for(frozen: Venue) -> None:
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_position", {"limit": "1900.00"})
    placed = await frozen.order(**LIMIT)
    assert await refused(frozen, placed.id, quantity=105) == ("change_denied", None)
    await change(frozen, placed.id, quantity=100)
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await set_limit(tx, TENANT, "max_position", {"limit": "950.00"})
    assert (await refused(frozen, placed.id, limit_price=LOW + 100)) == ("change_denied", None)
    await change(frozen, placed.id, quantity=60)  # less is never refused by a rule
    assert (await whole(frozen, placed.id))["quantity"] == 60
    assert await held(frozen) == await reserved(frozen)


async def test_of_one_whose_slice_has_ended_the_rest_is_counted_from_what_it_says(frozen: Venue) -> None:
    """Its quantity counts the slice that was refused: the same again sends nothing."""
    placed = await frozen.order(**LIMIT)
    parts = await slices(frozen, placed.id)
    await submit(frozen.desk(Scripted([Rejected("no")])), item(frozen, parts[0]["id"]))
    assert (await refused(frozen, placed.id, quantity=40))[0] == "nothing_to_change"
    await change(frozen, placed.id, quantity=45)
    assert [part["quantity"] for part in await slices(frozen, placed.id)] == [15, 15, 10, 5]
    assert (await refused(frozen, placed.id, quantity=15)) == ("quantity_filled", "quantity")


async def test_a_sale_that_would_go_short_is_refused_and_one_that_closes_less_goes_on(frozen: Venue) -> None:
    await frozen.order(quantity=40)
    await frozen.work()
    await frozen.show(PRICE)
    placed = await frozen.order(**LIMIT | {"side": Side.SELL, "limit_price": UP})
    with pytest.raises(DomainError) as caught:
        await change(frozen, placed.id, quantity=45)
    assert caught.value.code == "change_denied"
    await change(frozen, placed.id, quantity=35)
    await change(frozen, placed.id, quantity=40)
    parts = await slices(frozen, placed.id)
    assert [(part["quantity"], part["reduces"]) for part in parts] == [(15, True), (15, True), (5, True), (5, True)]
    await frozen.work()
    await frozen.show(UP, UP + 100)
    (position,) = await frozen.rows("select quantity from positions")
    assert position["quantity"] == 0
    await frozen.is_sound()


async def test_new_slices_of_an_iceberg_are_no_larger_than_those_that_it_was_cut_into(frozen: Venue) -> None:
    placed = await frozen.order(**ICEBERG | {"quantity": 30, "slices": 6})
    await change(frozen, placed.id, quantity=45)
    assert await _sizes(frozen, placed.id) == [(5, "accepted")] * 9


async def test_slices_that_close_a_position_turn_it_by_no_change(frozen: Venue) -> None:
    """The slice that opens could fill before those that close and hold nothing."""
    await frozen.order(quantity=40, product=Product.INTRADAY, validity=Validity.DAY)
    await frozen.work()
    await frozen.show(PRICE)
    sale = LIMIT | {"side": Side.SELL, "limit_price": UP, "product": Product.INTRADAY, "validity": Validity.DAY}
    placed = await frozen.order(**sale)
    assert placed.status == "accepted", placed.reasons
    with pytest.raises(DomainError, match="position allows 40, not 60") as refused:
        await change(frozen, placed.id, quantity=60)
    assert refused.value.code == "change_denied"
    assert [part["reduces"] for part in await slices(frozen, placed.id)] == [True, True, True]
    assert await held(frozen) == await reserved(frozen) == 0


@pytest.mark.parametrize(("quantity", "worked"), [(75, True), (80, True), (75, False)])
async def test_less_at_a_higher_price_is_paid_for_before_a_broker_has_given_back(
    frozen: Venue, quantity: int, worked: bool
) -> None:
    """Of 150 units at 19.00, with 100.00 free beside them, half would be paid for at 21.50 by what the others hold."""
    placed = await frozen.order(**LIMIT | {"quantity": 150})
    (cash,) = await frozen.rows("select posted - pending_out as free from ledger_accounts where kind = 'client_cash'")
    other = await frozen.order(
        **LIMIT | {"quantity": int(cash["free"] - 100_00) // (LOW // 100), "instrument_id": await liquid(frozen)}
    )
    assert (placed.status, other.status) == ("accepted", "accepted"), (placed.reasons, other.reasons)
    if worked:
        await frozen.work()
        refusal = await refused(frozen, placed.id, quantity=quantity, limit_price=PRICE + 15_000)
        assert refusal == ("change_denied", None)
        await change(frozen, placed.id, quantity=quantity)
        await frozen.work()
    await change(frozen, placed.id, quantity=75, limit_price=PRICE + 15_000)
    await frozen.work()
    assert await held(frozen) == await reserved(frozen)
    await frozen.is_sound()
