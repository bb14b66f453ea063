"""Orders that are sent in slices: above the freeze quantity, and icebergs. The whole says what its slices sum to."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from app.kernel.errors import DomainError
from app.kernel.ids import broker_tag, encode_id, uuid7
from app.kernel.orders import OrderClass, OrderType, Side, Validity
from app.trading.orders.service import request_cancel
from tests.integration.trading.conftest import AT, PRICE, Venue

LOT, FREEZE = 5, 18


@pytest_asyncio.fixture
async def frozen(venue: Venue) -> AsyncIterator[Venue]:
    """The venue with an instrument of its own: lots of 5, at most 18 in one order."""
    reference, instrument = venue.app.database.reference, uuid7()
    name = f"F{instrument.hex[-8:].upper()}"
    await reference.execute(
        "insert into instruments (id, isin, symbol, venue, segment, name, currency, price_exp, qty_exp, source) "
        "select $1, $2, $2, venue, segment, $2, currency, 4, 0, 'test' from instruments where id = $3",
        instrument,
        name,
        venue.instrument_id,
    )
    await reference.execute(
        "insert into instrument_rules (id, instrument_id, session_segment, tick, lot, freeze_quantity, valid_from, "
        "source) "
        "select $1, $2, session_segment, 100, $3, $4, '2000-01-01Z', 'test' from instrument_rules "
        "where instrument_id = $5 limit 1",
        uuid7(),
        instrument,
        LOT,
        FREEZE,
        venue.instrument_id,
    )
    await reference.execute(
        "insert into last_prices (feed, instrument_id, price, market_at, session_date) values ($1, $2, $3, $4, $5)",
        venue.feed,
        instrument,
        PRICE,
        AT,
        date(2003, 1, 2),
    )
    yield replace(venue, instrument_id=instrument)


async def slices(venue: Venue, whole: UUID) -> list[dict[str, Any]]:
    return await venue.rows("select * from orders where parent_id = :id order by id", id=whole)


async def whole(venue: Venue, order_id: UUID) -> dict[str, Any]:
    return (await venue.rows("select * from orders where id = :id", id=order_id))[0]


async def told(venue: Venue, order_id: UUID) -> list[str]:
    rows = await venue.rows("select type from events where subject_id = :id order by xid, id", id=order_id)
    return [row["type"].removeprefix("order.") for row in rows]


async def test_a_quantity_above_the_freeze_quantity_is_sent_as_several_orders(frozen: Venue) -> None:
    placed = await frozen.order(quantity=40)
    parts = await slices(frozen, placed.id)
    assert [part["quantity"] for part in parts] == [15, 15, 10]
    assert {(part["leg"], part["order_class"], part["status"]) for part in parts} == {("slice", "sliced", "accepted")}
    assert [part["broker_tag"] for part in parts] == [broker_tag(part["id"]) for part in parts]
    assert len({part["client_order_id"] for part in parts}) == 3
    work = await frozen.rows("select payload from work_items where state = 'ready' order by sequence")
    assert [row["payload"]["order_id"] for row in work] == [str(part["id"]) for part in parts]
    decided = await frozen.rows("select id, verdict from risk_decisions")
    assert {row["id"] for row in decided} == {placed.id, *(part["id"] for part in parts)}
    assert (await whole(frozen, placed.id))["hold_minor"] == sum(part["hold_minor"] for part in parts)
    await frozen.is_sound()


async def test_the_whole_is_filled_when_its_slices_are(frozen: Venue) -> None:
    placed = await frozen.order(quantity=40)
    await frozen.work()
    assert (await whole(frozen, placed.id))["status"] == "open"
    await frozen.show(PRICE)
    found = await whole(frozen, placed.id)
    assert (found["status"], found["filled_quantity"], found["filled_notional"]) == ("filled", 40, 80_000)
    assert await told(frozen, placed.id) == ["accepted", "open", "partially_filled", "partially_filled", "filled"]
    (position,) = await frozen.rows("select quantity from positions")
    assert position["quantity"] == 40
    rows = await frozen.rows("select data from events where subject_id <> :id and type = 'order.filled'", id=placed.id)
    assert {row["data"]["parent_id"] for row in rows} == {encode_id("ord", placed.id)}
    await frozen.is_sound()


async def test_the_cancel_of_a_whole_takes_every_slice_back(frozen: Venue) -> None:
    limit = {"order_type": OrderType.LIMIT, "limit_price": PRICE - 1_000, "quantity": 40}
    sent, unsent = await frozen.order(**limit), await frozen.order(**limit)
    shard = await frozen.rows(
        "select id from work_items where payload->>'order_id' in (select id::text from orders where parent_id = :id)",
        id=unsent.id,
    )
    assert len(shard) == 3
    await frozen.work()
    for order in (sent, unsent):
        async with frozen.app.database.tx(frozen.tenant_id) as tx:
            await request_cancel(tx, order.id, now=AT)
    await frozen.work()
    for order in (sent, unsent):
        assert (await whole(frozen, order.id))["status"] == "cancelled"
        assert {part["status"] for part in await slices(frozen, order.id)} == {"cancelled"}
    await frozen.show(PRICE - 2_000)
    assert await frozen.rows("select 1 from fills") == []
    await frozen.is_sound()


async def test_a_whole_whose_slices_end_half_filled_ends_with_what_was_filled(frozen: Venue) -> None:
    placed = await frozen.order(
        order_type=OrderType.LIMIT, limit_price=PRICE - 1_000, quantity=40, validity=Validity.DAY
    )
    await frozen.work()
    first = (await slices(frozen, placed.id))[0]
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await request_cancel(tx, first["id"], now=AT)
    await frozen.work()
    assert (await whole(frozen, placed.id))["status"] == "open"
    await frozen.show(PRICE - 2_000)
    found = await whole(frozen, placed.id)
    assert (found["status"], found["filled_quantity"]) == ("cancelled", 25)
    assert (await told(frozen, placed.id))[-1] == "partially_filled"
    await frozen.is_sound()


async def test_what_a_sliced_order_asks_for_is_counted_once_by_the_next_decision(frozen: Venue) -> None:
    await frozen.order(quantity=40)
    context = await frozen.rows("select count(*) as n, sum(quantity) as asked from orders where counted")
    assert (context[0]["n"], context[0]["asked"]) == (3, 40)
    denied = await frozen.order(side=Side.SELL, quantity=40)
    assert [reason.rule for reason in denied.reasons] == ["short_sale"]
    assert await slices(frozen, denied.id) == []


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"quantity": 155}, "above_freeze", "quantity"),
        ({"quantity": 42}, "off_lot", "quantity"),
        ({"slices": 2, "quantity": 20}, "invalid_slices", "slices"),
        ({"order_class": OrderClass.ICEBERG, "quantity": 20}, "invalid_slices", "slices"),
        ({"order_class": OrderClass.ICEBERG, "quantity": 20, "slices": 1}, "invalid_slices", "slices"),
        ({"order_class": OrderClass.ICEBERG, "quantity": 20, "slices": 51}, "invalid_slices", "slices"),
        ({"order_class": OrderClass.ICEBERG, "quantity": 20, "slices": 5}, "invalid_slices", "slices"),
        ({"order_class": OrderClass.ICEBERG, "quantity": 60, "slices": 3}, "above_freeze", "slices"),
    ],
)
async def test_slices_that_cannot_be_are_refused_and_nothing_is_written(
    frozen: Venue, changes: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(DomainError) as caught:
        await frozen.order(**changes)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert await frozen.rows("select 1 from orders union all select 1 from work_items") == []


async def test_an_iceberg_sends_the_next_slice_in_the_transaction_that_fills_the_one_before(frozen: Venue) -> None:
    placed = await frozen.order(order_class=OrderClass.ICEBERG, slices=3, quantity=40)
    assert [part["quantity"] for part in await slices(frozen, placed.id)] == [15, 15, 10]
    for sent in (1, 2, 3):
        ready = await frozen.rows("select payload from work_items where state = 'ready'")
        assert [row["payload"]["order_id"] for row in ready] == [str((await slices(frozen, placed.id))[sent - 1]["id"])]
        await frozen.work()
        assert len(await frozen.rows("select 1 from paper_orders")) == 1
        await frozen.show(PRICE)
        assert len(await frozen.rows("select 1 from fills")) == sent
    assert (await whole(frozen, placed.id))["status"] == "filled"
    await frozen.is_sound()


async def test_an_iceberg_whose_slice_ends_unfilled_shows_no_more(frozen: Venue) -> None:
    placed = await frozen.order(
        order_class=OrderClass.ICEBERG, slices=3, quantity=40, order_type=OrderType.LIMIT, limit_price=PRICE - 1_000
    )
    await frozen.work()
    await frozen.show(PRICE - 2_000)
    await frozen.work()
    await frozen.show(PRICE, close=True)
    found = await whole(frozen, placed.id)
    assert (found["status"], found["filled_quantity"]) == ("expired", 15)
    assert [part["status"] for part in await slices(frozen, placed.id)] == ["filled", "expired", "cancelled"]
    await frozen.is_sound()


async def test_slices_of_an_order_for_the_next_session_wait_for_it(frozen: Venue) -> None:
    placed = await frozen.order(quantity=40, after_market=True)
    parts = await slices(frozen, placed.id)
    waiting = await frozen.rows("select id, waits_for from waiting_orders order by id")
    assert [(row["id"], row["waits_for"]) for row in waiting] == [(part["id"], "open") for part in parts]
    assert await frozen.rows("select 1 from work_items where state = 'ready'") == []
    for part in parts:
        await frozen.app.database.pool.fetchval("select orders_release($1, $2)", frozen.tenant_id, part["id"])
    await frozen.work()
    await frozen.show(PRICE)
    assert (await whole(frozen, placed.id))["status"] == "filled"


async def test_the_cancel_of_an_iceberg_leaves_nothing_to_be_sent(frozen: Venue) -> None:
    placed = await frozen.order(order_class=OrderClass.ICEBERG, slices=3, quantity=40)
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await request_cancel(tx, placed.id, now=AT)
    await frozen.work()
    assert (await whole(frozen, placed.id))["status"] == "cancelled"
    assert await frozen.rows("select 1 from paper_orders") == []
    await frozen.is_sound()


async def test_sql_writes_ids_as_python_does(venue: Venue) -> None:
    for order_id in (uuid7(), UUID(int=0), UUID(int=2**128 - 1), *(uuid7() for _ in range(50))):
        (row,) = await venue.rows("select orders_public_id(:id) as id, orders_broker_tag(:id) as tag", id=order_id)
        assert (row["id"], row["tag"]) == (encode_id("ord", order_id), broker_tag(order_id))
