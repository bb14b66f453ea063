"""Groups that sell first, for intraday: a target below, a stop above, and the cut-off that ends both."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.infra.work.runner import Retry
from app.kernel.errors import DomainError
from app.kernel.orders import Leg, OrderClass, OrderType, Product, Validity
from app.trading.orders.domain import Exit
from app.trading.orders.service.calendar import run_feed
from app.trading.orders.service.leaving import exit_position
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.groups import COVER, STOP, STOP_ABOVE, TARGET, bracket, exits, family, fill
from tests.integration.trading.scripted import item
from tests.integration.trading.test_intraday import CUT_OFF, SELL, clock, positions, traded

SHORT: dict[str, Any] = {"product": Product.INTRADAY, "limit_price": PRICE, "exits": (COVER, STOP_ABOVE), **SELL}


@pytest.mark.parametrize(("price", "through"), [(PRICE - 2_000, "target"), (PRICE + 2_000, "stop")])
async def test_a_short_bracket_buys_back_below_or_above(venue: Venue, price: int, through: str) -> None:
    entry = await bracket(venue, **SHORT)
    assert [row[:2] for row in await exits(venue, entry.id)] == [("target", "waiting"), ("stop", "waiting")]
    await venue.work()
    await venue.show(PRICE + 100)
    await venue.work()
    assert [row[:3] for row in await exits(venue, entry.id)] == [("target", "open", 10), ("stop", "open", 10)]
    assert {(row["side"], row["reduces"]) for row in await family(venue, entry.id)} == {("buy", True)}
    await venue.show(price)
    ended = {leg: status for leg, status, *_ in await exits(venue, entry.id)}
    assert ended == {"target": "cancelled", "stop": "cancelled"} | {through: "filled"}
    assert await positions(venue) == {}
    await venue.is_sound()


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"product": Product.DELIVERY}, "invalid_side", "side"),
        ({"exits": (TARGET, STOP_ABOVE)}, "target_on_the_wrong_side", "take_profit.limit_price"),
        ({"exits": (COVER, STOP)}, "stop_on_the_wrong_side", "stop_loss.trigger_price"),
        (
            {"exits": (COVER, Exit(Leg.STOP, PRICE + 900, PRICE + 1_000))},
            "stop_on_the_wrong_side",
            "stop_loss.limit_price",
        ),
        ({"validity": Validity.GTC}, "invalid_validity", "validity"),
    ],
)
async def test_a_short_bracket_that_makes_no_sense_is_refused(
    venue: Venue, changes: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(DomainError) as caught:
        await bracket(venue, **SHORT | changes)
    assert (caught.value.code, caught.value.param) == (code, field)
    assert await venue.rows("select 1 from orders") == []


async def test_one_of_two_ways_out_closes_a_short_position_and_opens_none(venue: Venue) -> None:
    ways: dict[str, Any] = {"order_class": OrderClass.OCO, "order_type": OrderType.LIMIT, "product": Product.INTRADAY}
    ways |= {"limit_price": PRICE - 1_000, "exits": (STOP_ABOVE,)}
    assert [reason.rule for reason in (await venue.order(**ways)).reasons] == ["position"]
    await traded(venue, **SELL)
    pair = await venue.order(**ways)
    assert [reason.rule for reason in (await venue.order(**ways)).reasons] == ["position"]
    await venue.work()
    await venue.show(PRICE + 2_000)
    assert [row[:2] for row in await exits(venue, pair.id)] == [("stop", "filled")]
    assert await venue.status(pair.id) == "cancelled"
    assert await positions(venue) == {}
    await venue.is_sound()


async def test_the_cut_off_takes_a_short_bracket_back_and_closes_what_it_opened(venue: Venue) -> None:
    entry = await bracket(venue, **SHORT)
    await venue.work()
    await fill(venue, entry.id, 4)
    await venue.work()
    await clock(venue, CUT_OFF)
    await run_feed(venue.app, venue.feed, CUT_OFF)
    for _ in range(4):
        await venue.work()
    await venue.show(PRICE)
    assert await positions(venue) == {}
    assert await venue.status(entry.id) == "cancelled"
    closing = await venue.rows("select side, quantity from orders where intent_reason = 'square_off'")
    assert closing == [{"side": "buy", "quantity": 4}]
    await venue.is_sound()


async def test_the_cut_off_leaves_the_ways_out_of_what_is_delivered(venue: Venue) -> None:
    await venue.order(quantity=30)
    await venue.work()
    await venue.show(PRICE)
    await traded(venue, **SELL)
    ways: dict[str, Any] = {"order_class": OrderClass.OCO, "order_type": OrderType.LIMIT, "exits": (STOP,), **SELL}
    pair = await venue.order(quantity=30, limit_price=PRICE + 1_000, **ways)
    covering = await venue.order(product=Product.INTRADAY, order_type=OrderType.LIMIT, limit_price=PRICE - 1_000)
    await venue.work()
    payload: dict[str, Any] = {
        "account_id": venue.account_id,
        "book_id": venue.account_id,
        "instrument_id": venue.instrument_id,
    }
    payload |= {"request": "r", "feed": venue.feed, "until": CUT_OFF.isoformat()}
    leaving = replace(item(venue, pair.id, "position.exit"), payload={name: str(one) for name, one in payload.items()})
    with pytest.raises(Retry):  # as long as the covering order may still be taken back
        await exit_position(venue.app.database, leaving, now=datetime.now(UTC))
    assert await venue.rows("select 1 from work_items where kind = 'order.cancel' and state = 'ready'") == []
    await clock(venue, CUT_OFF)
    await run_feed(venue.app, venue.feed, CUT_OFF)
    for _ in range(4):
        await venue.work()
    assert await venue.status(covering.id) == "cancelled"
    assert [await venue.status(pair.id), *(row[1] for row in await exits(venue, pair.id))] == ["open", "open"]
    await venue.show(PRICE)
    assert {name: held[0] for name, held in (await positions(venue)).items()} == {"delivery": 30}
    await venue.is_sound()
