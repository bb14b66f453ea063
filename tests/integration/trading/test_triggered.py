"""A stop that is set off is told, once, with the price and the time, in the transaction that acts on it."""

from typing import Any
from uuid import UUID

import pytest

from app.kernel.ids import encode_id
from app.kernel.money import format_trimmed
from app.kernel.orders import Side, Validity
from app.trading.orders.service.matching import match_entries
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.groups import bracket, family
from tests.integration.trading.scripted import told

UP, DOWN = PRICE + 10_000, PRICE - 10_000


async def _bought(venue: Venue) -> None:
    await venue.order()
    await venue.work()
    await venue.show(PRICE)


async def _again(venue: Venue) -> None:
    """The matcher was killed before its checkpoint: it reads everything once more."""
    await match_entries(venue.app, venue.feed, venue.sent, after="0-0")


async def _triggered(venue: Venue, order_id: UUID) -> list[dict[str, Any]]:
    sql = "select data from events where subject_id = :id and type = 'order.triggered'"
    return [row["data"] for row in await venue.rows(sql, id=order_id)]


WAITS: list[dict[str, Any]] = [
    {"order_type": "sl_m", "trigger_price": DOWN, "validity": Validity.GTT},
    {"order_type": "sl", "trigger_price": DOWN, "limit_price": DOWN - 1_000, "validity": Validity.GTT},
    {"order_type": "trailing_stop", "parameters": {"trail_by": "1.00"}},
]


@pytest.mark.parametrize("asked", WAITS)
async def test_one_that_waits_here_is_told_when_it_is_sent(venue: Venue, asked: dict[str, Any]) -> None:
    await _bought(venue)
    stop = await venue.order(side=Side.SELL, **asked)
    await venue.show(DOWN + 100)
    assert await _triggered(venue, stop.id) == []
    await venue.show(DOWN - 150)
    await _again(venue)
    assert await _triggered(venue, stop.id) == [{"price": "18.985", "market_at": "2003-01-03T21:00:00Z"}]
    await venue.work()
    await venue.show(DOWN)
    assert await told(venue, stop.id) == ["accepted", "triggered", "open", "filled"]


async def test_one_that_fills_where_it_rests_at_paper_is_told_before_its_fill(venue: Venue) -> None:
    await _bought(venue)
    stop = await venue.order(side=Side.SELL, order_type="sl_m", trigger_price=DOWN)
    await venue.work()
    await venue.show(DOWN)
    await _again(venue)
    assert await told(venue, stop.id) == ["accepted", "open", "triggered", "filled"]
    assert await _triggered(venue, stop.id) == [{"price": "19.00", "market_at": "2003-01-03T21:00:00Z"}]
    await venue.is_sound()


async def test_one_that_is_beyond_its_limit_is_told_when_it_is_set_off_and_not_again_when_it_fills(
    venue: Venue,
) -> None:
    stop = await venue.order(order_type="sl", trigger_price=UP, limit_price=UP + 5_000)
    await venue.work()
    await venue.show(UP + 10_000, first=True)
    await _again(venue)
    await venue.show(UP)
    await _again(venue)
    assert await told(venue, stop.id) == ["accepted", "open", "triggered", "filled"]
    assert [one["price"] for one in await _triggered(venue, stop.id)] == ["22.00"]
    await venue.is_sound()


async def test_one_that_is_beyond_its_protection_is_told_before_it_is_cancelled(venue: Venue) -> None:
    stop = await venue.order(order_type="sl_m", trigger_price=UP, market_protection_bps=10)
    await venue.work()
    await venue.show(UP + 10_000, first=True)
    await _again(venue)
    assert await told(venue, stop.id) == ["accepted", "open", "triggered", "cancelled"]
    await venue.is_sound()


async def test_the_stop_of_a_group_names_its_parent(venue: Venue) -> None:
    entry = await bracket(venue)
    await venue.work()
    await venue.show(PRICE - 100)
    await venue.work()
    await venue.show(PRICE - 1_000)
    target, stop = await family(venue, entry.id)
    assert [one["parent_id"] for one in await _triggered(venue, stop["id"])] == [encode_id("ord", entry.id)]
    assert await _triggered(venue, target["id"]) == []


async def test_what_no_trigger_holds_back_is_never_told(venue: Venue) -> None:
    plain = await venue.order(order_type="limit", limit_price=DOWN)
    later = await venue.order(order_type="limit", limit_price=DOWN, after_market=True)
    await venue.app.database.pool.fetchval("select orders_release($1, $2)", venue.tenant_id, later.id)
    await venue.work()
    await venue.show(DOWN - 100)
    for order in (plain, later):
        assert await told(venue, order.id) == ["accepted", "open", "filled"]


async def test_sql_writes_prices_as_python_does(venue: Venue) -> None:
    for price, exponent in ((1, 4), (123_450, 4), (200_000, 4), (5, 0), (17, 1), (10**15, 8), (123_456_789, 8)):
        (row,) = await venue.rows("select orders_price_text(:price, :exp) as text", price=price, exp=exponent)
        assert row["text"] == format_trimmed(price, exponent)
