"""Trades settle on the venue's next full trading day, once, however often the job runs."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.kernel.orders import Side
from app.trading.portfolio.service import settle_due
from tests.integration.trading.conftest import AT, PRICE, Venue

FRIDAY_CLOSE = datetime(2003, 1, 3, 21, 0, tzinfo=UTC)


async def cash(venue: Venue) -> dict[str, Any]:
    sql = "select posted, receivable, payable from ledger_accounts where kind = 'client_cash'"
    return (await venue.rows(sql))[0]


async def trade(venue: Venue, side: Side, quantity: int, *, days: int = 1) -> None:
    await venue.order(side=side, quantity=quantity)
    await venue.work()
    await venue.show(PRICE, days=days)


async def pending(venue: Venue) -> list[dict[str, Any]]:
    return await venue.rows("select trade_day, due_at, quantity from settlements where state = 'pending' order by id")


async def test_a_purchase_is_paid_and_delivered_on_the_next_trading_day(venue: Venue) -> None:
    await trade(venue, Side.BUY, 10)
    before = await cash(venue)
    assert before["posted"] == 1_000_000 and before["payable"] >= 20_000
    assert await venue.securities() == {"settled": 0, "waiting": 10}
    assert [row["trade_day"] for row in await pending(venue)] == [date(2003, 1, 3)]
    for days in (1, 2, 3):  # the Friday itself and the weekend: nothing is due
        await venue.settle(days=days)
        assert await venue.securities() == {"settled": 0, "waiting": 10}
    await venue.settle(days=4)
    assert await cash(venue) == {"posted": 1_000_000 - before["payable"], "receivable": 0, "payable": 0}
    assert await venue.securities() == {"settled": 10, "waiting": 0}
    await venue.is_sound()


async def test_running_twice_or_at_once_posts_once(venue: Venue) -> None:
    await trade(venue, Side.BUY, 10)
    await venue.settle(days=1)
    at = AT + timedelta(days=4)
    await venue.app.database.reference.execute("update feed_state set market_at = $2 where feed = $1", venue.feed, at)
    await asyncio.gather(*(settle_due(venue.app) for _ in range(4)))
    await settle_due(venue.app)
    assert await venue.rows("select count(*) as n from ledger_transactions where kind = 'settlement'") == [{"n": 1}]
    await venue.is_sound()


async def test_a_day_of_purchases_and_sales_settles_as_one(venue: Venue) -> None:
    await trade(venue, Side.BUY, 10)
    await trade(venue, Side.BUY, 5)
    await trade(venue, Side.SELL, 8)
    assert len(await pending(venue)) == 1
    before = await cash(venue)
    assert before["receivable"] > 0 and before["payable"] > 0
    await venue.settle(days=4)
    after = before["posted"] + before["receivable"] - before["payable"]
    assert await cash(venue) == {"posted": after, "receivable": 0, "payable": 0}
    assert await venue.securities() == {"settled": 7, "waiting": 0}
    await venue.is_sound()


async def test_the_proceeds_of_a_sale_buy_again_the_same_day(venue: Venue) -> None:
    await trade(venue, Side.BUY, 480)
    await trade(venue, Side.SELL, 480)
    again = await venue.order(quantity=480)
    assert await venue.status(again.id) == "accepted"
    await venue.is_sound()


async def test_each_trading_day_settles_by_itself(venue: Venue) -> None:
    await trade(venue, Side.BUY, 10)
    await trade(venue, Side.BUY, 4, days=4)
    assert [row["trade_day"] for row in await pending(venue)] == [date(2003, 1, 3), date(2003, 1, 6)]
    await venue.settle(days=4)
    assert await venue.securities() == {"settled": 10, "waiting": 4}
    await venue.settle(days=5)
    assert await venue.securities() == {"settled": 14, "waiting": 0}
    await venue.is_sound()


async def test_a_fill_that_is_reported_after_its_day_has_settled_settles_too(venue: Venue) -> None:
    await trade(venue, Side.BUY, 10)
    await venue.settle(days=4)
    await trade(venue, Side.BUY, 3)
    assert await venue.securities() == {"settled": 10, "waiting": 3}
    await venue.settle(days=4)
    assert await venue.securities() == {"settled": 13, "waiting": 0}
    await venue.is_sound()


async def _day(venue: Venue, day: str) -> Any:
    return await venue.app.database.pool.fetchval(
        "select market_settles_at($1, $2)", venue.instrument_id, date.fromisoformat(day)
    )


@pytest.mark.parametrize(
    ("traded", "settles"),
    [
        ("2003-01-02", "2003-01-03"),
        ("2003-01-03", "2003-01-06"),
        ("2003-01-17", "2003-01-21"),  # the Monday is Martin Luther King Day
        ("2003-07-03", "2003-07-07"),  # Independence Day and a weekend
        ("2003-12-24", "2003-12-26"),
    ],
)
async def test_the_settlement_day_is_a_row_of_the_calendar_and_no_weekday(
    venue: Venue, traded: str, settles: str
) -> None:
    assert (await _day(venue, traded)).date() == date.fromisoformat(settles)


async def test_a_holiday_declared_after_the_trade_moves_its_settlement(venue: Venue) -> None:
    await trade(venue, Side.BUY, 10)
    assert (await pending(venue))[0]["due_at"].date() == date(2003, 1, 6)
    reference = venue.app.database.reference
    row = await reference.fetchrow(
        "delete from trading_sessions t using instruments i where t.venue = i.venue and t.segment = i.segment "
        "and i.id = $1 and t.day = '2003-01-06' returning t.*",
        venue.instrument_id,
    )
    try:
        await venue.settle(days=4)
        assert await venue.securities() == {"settled": 0, "waiting": 10}
        assert (await pending(venue))[0]["due_at"].date() == date(2003, 1, 7)
        await venue.settle(days=5)
        assert await venue.securities() == {"settled": 10, "waiting": 0}
    finally:
        names = ", ".join(row.keys())
        places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await reference.execute(f"insert into trading_sessions ({names}) values ({places})", *row.values())


async def test_past_the_end_of_the_calendar_a_trade_waits_for_more_of_it(venue: Venue) -> None:
    assert await _day(venue, "2999-01-03") is None
    beyond = AT + timedelta(days=364_000)
    owe = (
        "select portfolio_owe(jsonb_build_array(jsonb_build_object('account', cast(:account as uuid), 'instrument', "
        "cast(:instrument as uuid), 'cash', 0, 'charges', 0, 'signed', 5, 'at', cast(:at as timestamptz))))"
    )
    await venue.rows(owe, account=venue.account_id, instrument=venue.instrument_id, at=beyond)
    await venue.settle(days=364_002)
    assert await venue.securities() == {"settled": 0, "waiting": 5}
    assert (await pending(venue))[0]["due_at"] == beyond + timedelta(days=3)
