"""An order's way: decided, stored, sent, filled, posted; once, whatever is repeated or raced."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.kernel.errors import DomainError
from app.kernel.orders import Fill, OrderStatus, OrderType, Side, Validity
from app.trading.orders.service import request_cancel
from app.trading.orders.service.filling import record_fill, record_fills
from app.trading.orders.service.matching import match_entries
from app.trading.paper.service import checkpoint
from tests.integration.trading.conftest import PRICE, Venue, open_venue


async def test_a_market_order_is_accepted_sent_and_filled_at_the_next_price(venue: Venue) -> None:
    placed = await venue.order()
    assert placed.status is OrderStatus.ACCEPTED
    await venue.work()
    assert await venue.status(placed.id) == "open"
    await venue.show(PRICE + 100)
    (fill,) = await venue.rows("select * from fills")
    assert (fill["quantity"], fill["price"], fill["notional_minor"]) == (10, PRICE + 100, 20010)
    assert await venue.status(placed.id) == "filled"
    (cash,) = await venue.rows(
        "select posted + receivable - payable as posted, pending_out from ledger_accounts where kind = 'client_cash'"
    )
    assert cash == {"posted": 1_000_000 - 20010 - fill["charges_minor"], "pending_out": 0}
    await venue.is_sound()


async def test_an_order_placed_twice_trades_once(venue: Venue) -> None:
    first = await venue.order(client_order_id="one")
    again = await venue.order(client_order_id="one")
    assert (again.id, again.replayed) == (first.id, True)
    with pytest.raises(DomainError, match="client_order_id") as caught:
        await venue.order(client_order_id="one", quantity=11)
    assert caught.value.code == "client_order_id_reused"
    assert len(await venue.rows("select 1 from orders")) == 1


@pytest.mark.parametrize("apart", [False, True])
async def test_racing_placements_of_one_id_store_one_order(venue: Venue, apart: bool) -> None:
    placed = await asyncio.gather(*(venue.order(client_order_id="raced", apart=apart) for _ in range(12)))
    assert len({order.id for order in placed}) == 1
    assert sum(not order.replayed for order in placed) == 1


@pytest.mark.parametrize("apart", [False, True])
async def test_racing_orders_never_spend_more_than_there_is(venue: Venue, apart: bool) -> None:
    """20 orders of about 1,000.00 race for 10,000.00: none is lost, those beyond the funds are denied and stored."""
    asked = [venue.order(quantity=50, client_order_id=f"r{n}", apart=apart) for n in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    placed = [answer for answer in answers if not isinstance(answer, BaseException)]
    accepted = [order for order in placed if order.status is OrderStatus.ACCEPTED]
    busy = [answer for answer in answers if isinstance(answer, DomainError)]
    assert len(placed) + len(busy) == 20
    assert all(error.code == "account_busy" for error in busy)
    assert apart or not busy, "in one process each gets his turn"
    assert 0 < len(accepted) <= 9
    (cash,) = await venue.rows(
        "select c.posted - c.held as available from ledger_accounts a, ledger_cash(a.account_id) c "
        "where a.kind = 'client_cash'"
    )
    assert cash["available"] >= 0
    await venue.is_sound()


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"quantity": 0}, "invalid_quantity", "quantity"),
        ({"quantity": -5}, "invalid_quantity", "quantity"),
        ({"order_type": OrderType.LIMIT, "limit_price": PRICE + 1}, "off_tick", "limit_price"),
        ({"order_type": OrderType.LIMIT}, "invalid_limit_price", "limit_price"),
        ({"limit_price": PRICE}, "invalid_limit_price", "limit_price"),
        ({"instrument_id": uuid4()}, "unknown_instrument", "instrument_id"),
        ({"account_id": uuid4()}, "account_not_found", "id"),
        ({"client_order_id": "no spaces"}, "invalid_client_order_id", "client_order_id"),
    ],
)
async def test_what_is_wrong_by_form_is_refused_and_nothing_is_written(
    venue: Venue, changes: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(DomainError) as caught:
        await venue.order(**changes)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert await venue.rows("select 1 from orders union all select 1 from work_items") == []


async def test_a_denied_order_is_stored_with_its_figures_and_never_sent(venue: Venue) -> None:
    placed = await venue.order(quantity=1_000)
    assert placed.status is OrderStatus.DENIED
    (decision,) = await venue.rows("select verdict, findings from risk_decisions")
    funds = next(f for f in decision["findings"] if f["rule"] == "available_funds")
    assert (decision["verdict"], funds["verdict"], funds["limit"]) == ("denied", "deny", "10000.00")
    assert await venue.rows("select 1 from work_items") == []
    await venue.is_sound()


async def test_nothing_can_be_sold_that_is_not_held(venue: Venue) -> None:
    placed = await venue.order(side=Side.SELL)
    assert [reason.rule for reason in placed.reasons] == ["short_sale"]


async def test_a_limit_order_waits_for_a_trade_through_and_a_day_order_expires(venue: Venue) -> None:
    limit = {"order_type": OrderType.LIMIT, "limit_price": PRICE - 1_000}
    through = await venue.order(**limit)
    waiting = await venue.order(**limit | {"limit_price": PRICE - 5_000})
    kept = await venue.order(**limit | {"limit_price": PRICE - 5_000, "validity": Validity.GTC})
    await venue.work()
    await venue.show(PRICE, PRICE - 1_000)
    assert await venue.rows("select 1 from fills") == []
    await venue.show(PRICE - 1_100, close=True)
    assert [await venue.status(o.id) for o in (through, waiting, kept)] == ["filled", "expired", "open"]
    (fill,) = await venue.rows("select price from fills")
    assert fill["price"] == PRICE - 1_000
    await venue.is_sound()


async def test_a_cancel_overtakes_and_gives_the_hold_back(venue: Venue) -> None:
    unsent = await venue.order()
    resting = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE - 1_000)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, unsent.id, now=datetime.now(UTC))
    await venue.work()
    assert [await venue.status(o.id) for o in (unsent, resting)] == ["cancelled", "open"]
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, resting.id, now=datetime.now(UTC))
    await venue.work()
    assert await venue.status(resting.id) == "cancelled"
    assert await venue.rows("select 1 from paper_orders") == []
    with pytest.raises(DomainError) as caught:
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await request_cancel(tx, resting.id, now=datetime.now(UTC))
    assert caught.value.code == "order_not_cancellable"
    await venue.is_sound()


async def test_entries_matched_twice_fill_once(venue: Venue) -> None:
    await venue.order()
    await venue.work()
    await venue.show(PRICE)
    await match_entries(venue.app, venue.feed, venue.sent, after="0-0")
    assert len(await venue.rows("select 1 from fills")) == 1
    await venue.is_sound()


async def test_prices_that_touch_nothing_move_the_matcher_on_without_reading_the_book(venue: Venue) -> None:
    limit = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE - 1_000)
    stop = await venue.order(order_type="sl_m", trigger_price=PRICE + 1_000)
    await venue.work()
    dispatch = venue.app.database.dispatch

    async def met(low: int, high: int) -> set[str]:
        met = "select rests ->> 'id' as id from orders_met($1, array[$2::uuid], array[$3::bigint], array[$4::bigint], "
        rows = await dispatch.fetch(met + "'{}', null, null)", venue.feed, venue.instrument_id, low, high)
        return {row["id"] for row in rows}

    assert await met(PRICE - 999, PRICE + 999) == set()
    assert await met(PRICE - 1_000, PRICE + 999) == {str(limit.id)}
    assert await met(PRICE - 999, PRICE + 1_000) == {str(stop.id)}
    await venue.show(PRICE)
    assert await checkpoint(dispatch, venue.feed) == venue.sent[-1][0]
    assert [await venue.status(one.id) for one in (limit, stop)] == ["open", "open"]
    await venue.show(PRICE - 1_100)
    assert [await venue.status(one.id) for one in (limit, stop)] == ["filled", "open"]
    assert await checkpoint(dispatch, venue.feed) == venue.sent[-1][0]
    await venue.is_sound()


async def test_a_fill_reported_by_many_at_once_is_recorded_once(venue: Venue) -> None:
    placed = await venue.order()
    await venue.work()
    fill = Fill(placed.id, "v1", venue.instrument_id, Side.BUY, 10, PRICE, 0, datetime.now(UTC))
    answers = await asyncio.gather(*(record_fill(venue.app.database.pool, venue.tenant_id, fill) for _ in range(8)))
    assert sorted(answers) == ["recorded"] + ["replayed"] * 7
    await venue.is_sound()


async def test_a_fill_that_cannot_be_recorded_stops_no_other_tenants(venue: Venue) -> None:
    first, second = sorted([venue, await open_venue(venue.app)], key=lambda one: one.tenant_id)
    told, placed = {}, {}
    for one, quantity in ((first, 11), (second, 10)):  # of the first more than was asked for
        placed[one.tenant_id] = (await one.order()).id
        await one.work()
        fill = Fill(placed[one.tenant_id], "v1", one.instrument_id, Side.BUY, quantity, PRICE, 0, datetime.now(UTC))
        told[one.tenant_id] = [fill]
    with pytest.raises(asyncpg.CheckViolationError):
        await record_fills(venue.app.database.pool, told)
    assert await first.status(placed[first.tenant_id]) == "open"
    assert await second.status(placed[second.tenant_id]) == "filled"
    await first.is_sound()
    await second.is_sound()


async def test_an_order_interrupted_while_it_was_sent_is_asked_for_not_doubled(venue: Venue) -> None:
    """The worker died between the two transactions: the lane's next run finds `submitting`."""
    placed = await venue.order()
    pool = venue.app.database.pool
    await pool.fetchval("select orders_begin($1, $2, $3)", venue.tenant_id, placed.id, 1)
    assert await venue.status(placed.id) == "submitting"
    await venue.work()
    assert await venue.status(placed.id) == "open"
    await venue.show(PRICE)
    assert len(await venue.rows("select 1 from fills")) == 1
    await venue.is_sound()


async def test_racing_fills_and_cancels_end_in_one_of_both(venue: Venue) -> None:
    for _ in range(10):
        placed = await venue.order(quantity=1)
        await venue.work()
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await request_cancel(tx, placed.id, now=datetime.now(UTC))
        await asyncio.gather(venue.work(), venue.show(PRICE))
        status = await venue.status(placed.id)
        fills = await venue.rows("select 1 from fills where order_id = :id", id=placed.id)
        assert (status, len(fills)) in (("cancelled", 0), ("filled", 1))
    await venue.is_sound()


@pytest.mark.parametrize("seed", range(4))
async def test_random_orders_prices_and_cancels_leave_books_that_balance(venue: Venue, seed: int) -> None:
    randomness = random.Random(seed)
    placed: list[UUID] = []
    for _ in range(25):
        match randomness.randrange(5):
            case 0 | 1:
                side = randomness.choice((Side.BUY, Side.SELL))
                limit = randomness.choice((None, PRICE + 100 * randomness.randrange(-20, 20)))
                kind = OrderType.MARKET if limit is None else OrderType.LIMIT
                order = await venue.order(
                    side=side, quantity=randomness.randrange(1, 40), order_type=kind, limit_price=limit
                )
                placed.append(order.id)
            case 2 if placed:
                try:
                    async with venue.app.database.tx(venue.tenant_id) as tx:
                        await request_cancel(tx, randomness.choice(placed), now=datetime.now(UTC))
                except DomainError:
                    pass
            case 3:
                await venue.work()
            case _:
                await venue.show(PRICE + 100 * randomness.randrange(-20, 20), close=randomness.random() < 0.2)
    await venue.work()
    await venue.show(PRICE, close=True)
    await venue.is_sound()
