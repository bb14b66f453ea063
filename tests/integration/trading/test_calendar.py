"""Jobs of the calendar: made of sessions, done once each on the feed's clock, however late, and by whomever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.orders import OrderType, Product, Side, Validity
from app.trading.brokers.ports import Accepted, BrokerAccount, NotFound, Unknown, VenueStatus
from app.trading.orders.service.calendar import LEASE, plan, run_feed
from app.trading.orders.service.executing import handlers, resolve_unknown
from app.trading.orders.service.reconciling import Book, read_book
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.scripted import Scripted, held, item, later, report, sent, told

FRIDAY = date(2003, 1, 3)
OPEN = datetime.fromisoformat("2003-01-03T14:30:00Z")
CUT_OFF = datetime.fromisoformat("2003-01-03T20:50:00Z")
CLOSE = datetime.fromisoformat("2003-01-03T21:00:00Z")
MORNING = datetime.fromisoformat("2003-01-06T13:00:00Z")
LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE - 1_000}


async def _at(venue: Venue, at: datetime) -> int:
    """The feed's clock comes to `at`, and the scheduler looks."""
    await venue.app.database.reference.execute("update feed_state set market_at = $2 where feed = $1", venue.feed, at)
    return await run_feed(venue.app, venue.feed, at)


async def _jobs(venue: Venue, **wanted: Any) -> list[dict[str, Any]]:
    rows = await venue.app.database.dispatch.fetch(
        "select * from calendar_jobs where feed = $1 and venue = 'XNAS' order by due_at, kind", venue.feed
    )
    return [dict(row) for row in rows if all(row[name] == value for name, value in wanted.items())]


async def _work(venue: Venue, script: Scripted) -> int:
    dispatch, shard = venue.app.database.dispatch, shard_of(venue.tenant_id)
    await venue.forget_others()
    return await drain(dispatch, handlers(venue.desk(script)), "execution", shard, holder="test")


async def _intraday(venue: Venue, **changes: Any) -> UUID:
    return (await venue.order(product=Product.INTRADAY, **changes)).id


async def _bought(venue: Venue, quantity: int) -> None:
    await _intraday(venue, quantity=quantity)
    await venue.work()
    await venue.show(PRICE)


async def _held(venue: Venue) -> int:
    return sum(row["quantity"] for row in await venue.rows("select quantity from positions"))


async def test_the_rows_of_the_coming_week_are_made_of_its_sessions(venue: Venue) -> None:
    await plan(venue.app, venue.feed, AT)
    assert [(job["kind"], job["due_at"]) for job in await _jobs(venue, day=FRIDAY)] == [
        ("open", OPEN),
        ("square_off", CUT_OFF),
        ("expire", CLOSE + timedelta(minutes=30)),
    ]
    assert max(job["day"] for job in await _jobs(venue)) == date(2003, 1, 9)
    before = await _jobs(venue)
    await plan(venue.app, venue.feed, AT)
    assert await _jobs(venue) == before


@asynccontextmanager
async def _session_changed(venue: Venue, day: date, closes_at: datetime | None) -> AsyncIterator[None]:
    """A session that closes early, or (None) is declared a holiday; afterwards the calendar is as it was."""
    reference = venue.app.database.reference
    was = await reference.fetchrow("select * from trading_sessions where venue = 'XNAS' and day = $1", day)
    if closes_at is None:
        await reference.execute("delete from trading_sessions where venue = 'XNAS' and day = $1", day)
    else:
        await reference.execute(
            "update trading_sessions set closes_at = $2 where venue = 'XNAS' and day = $1", day, closes_at
        )
    try:
        yield
    finally:
        await reference.execute("delete from trading_sessions where venue = 'XNAS' and day = $1", day)
        places = ", ".join(f"${n}" for n in range(1, len(was) + 1))
        await reference.execute(
            f"insert into trading_sessions ({', '.join(was.keys())}) values ({places})", *was.values()
        )


async def test_a_holiday_declared_after_the_rows_were_made_takes_them_away_and_back(venue: Venue) -> None:
    await plan(venue.app, venue.feed, AT)
    before = await _jobs(venue)
    assert len(await _jobs(venue, day=FRIDAY)) == 3
    async with _session_changed(venue, FRIDAY, None):
        await plan(venue.app, venue.feed, AT)
        assert await _jobs(venue, day=FRIDAY) == []
        assert len(await _jobs(venue)) == len(before) - 3
        assert await _at(venue, CLOSE) > 0
        assert {job["day"] for job in await _jobs(venue, state="done")} <= {date(2002, 12, 30), *_days_before(FRIDAY)}
    await plan(venue.app, venue.feed, AT)
    assert len(await _jobs(venue, day=FRIDAY)) == 3


def _days_before(day: date) -> set[date]:
    return {day - timedelta(days=n) for n in range(1, 6)}


async def test_a_close_that_moves_moves_the_cut_off(venue: Venue) -> None:
    await plan(venue.app, venue.feed, AT)
    async with _session_changed(venue, FRIDAY, CLOSE - timedelta(hours=3)):
        await plan(venue.app, venue.feed, AT)
        due = {job["kind"]: job["due_at"] for job in await _jobs(venue, day=FRIDAY)}
    assert due["square_off"] == CUT_OFF - timedelta(hours=3)
    assert due["expire"] == CLOSE - timedelta(hours=2, minutes=30)
    assert due["open"] == OPEN


async def test_a_late_start_does_what_was_missed_in_order_and_each_once(venue: Venue) -> None:
    await plan(venue.app, venue.feed, AT)
    late = AT + timedelta(days=12)
    assert await _at(venue, late) >= 20
    done = await _jobs(venue, state="done")
    assert [job["done_at"] for job in done] == sorted(job["done_at"] for job in done)
    assert {job["day"] for job in done} >= {FRIDAY, date(2003, 1, 6), date(2003, 1, 10), date(2003, 1, 14)}
    pending = await _jobs(venue, state="pending")
    assert pending and all(job["due_at"] > late for job in pending)
    assert all(job["attempts"] == 1 for job in done)
    assert await _at(venue, late) == 0


async def test_what_a_killed_scheduler_had_claimed_is_done_after_its_lease_and_nothing_overtakes_it(
    venue: Venue,
) -> None:
    await _at(venue, OPEN - timedelta(hours=1))
    dispatch = venue.app.database.dispatch
    claim = "select * from orders_claim_job($1, $2, $3)"
    ours = [dict(row) for row in await dispatch.fetch(claim, venue.feed, OPEN, LEASE)]
    while ours and ours[-1]["venue"] != "XNAS":
        ours += [dict(row) for row in await dispatch.fetch(claim, venue.feed, OPEN, LEASE)]
    assert (ours[-1]["kind"], ours[-1]["day"]) == ("open", FRIDAY)
    await _at(venue, CLOSE)
    assert {job["state"] for job in await _jobs(venue, day=FRIDAY)} == {"pending"}
    await dispatch.execute("update calendar_jobs set claimed_until = now() where feed = $1", venue.feed)
    await _at(venue, CLOSE)
    assert [job["state"] for job in await _jobs(venue, day=FRIDAY)] == ["done", "done", "pending"]
    assert [job["attempts"] for job in await _jobs(venue, day=FRIDAY)] == [2, 1, 0]


async def test_a_job_that_fails_thrice_holds_up_no_other_and_is_tried_again(venue: Venue) -> None:
    await _at(venue, OPEN - timedelta(hours=1))
    dispatch = venue.app.database.dispatch
    failed = "update calendar_jobs set attempts = 3, claimed_until = now() + interval '1 hour' where feed = $1 and {}"
    await dispatch.execute(failed.format("venue = 'XNAS' and kind = 'open' and day = '2003-01-03'"), venue.feed)
    await _at(venue, CLOSE)
    assert [job["state"] for job in await _jobs(venue, day=FRIDAY)] == ["pending", "done", "pending"]
    await dispatch.execute("update calendar_jobs set claimed_until = now() where feed = $1", venue.feed)
    await _at(venue, CLOSE)
    assert [job["state"] for job in await _jobs(venue, day=FRIDAY)] == ["done", "done", "pending"]


async def test_an_order_for_the_day_that_its_broker_shows_no_longer_has_expired(live: Venue) -> None:
    order_id, _ = await sent(live, Accepted("V1"))
    assert await held(live) > 0
    await _at(live, MORNING)
    script = Scripted([NotFound()])
    await _work(live, script)
    assert script.asked == ["find"]
    assert await live.status(order_id) == "expired"
    assert await held(live) == 0
    assert (await told(live, order_id))[-1] == "expired"
    await _at(live, MORNING)
    assert await _work(live, Scripted([])) == 0


async def test_before_its_session_has_ended_an_order_is_left_alone(live: Venue) -> None:
    order_id, _ = await sent(live, Accepted("V1"))
    await _at(live, CLOSE)
    assert await _work(live, Scripted([])) <= 1  # the order's own row of work: it was sent by hand
    assert await live.status(order_id) == "open"


async def test_the_brokers_last_word_comes_first(live: Venue) -> None:
    order_id, _ = await sent(live, Accepted("V1"))
    await _at(live, MORNING)
    await _work(live, Scripted([report(order_id, VenueStatus.FILLED, 10)]))
    assert await live.status(order_id) == "filled"
    await live.is_sound()


async def test_an_order_that_still_works_after_its_session_is_taken_back(live: Venue) -> None:
    order_id, _ = await sent(live, Accepted("V1"))
    await _at(live, MORNING)
    script = Scripted([report(order_id, VenueStatus.OPEN), Accepted("V1")])
    await _work(live, script)
    assert script.asked == ["find", "cancel"]
    assert await live.status(order_id) == "open"
    await live.app.database.dispatch.execute("update work_items set available_at = now() where kind = 'order.expire'")
    await _work(live, Scripted([report(order_id, VenueStatus.CANCELLED)]))
    assert await live.status(order_id) == "cancelled"


async def test_an_order_good_till_cancelled_outlives_its_session(live: Venue) -> None:
    placed = await live.order(**LIMIT, validity=Validity.GTC)
    await _work(live, Scripted([Accepted("V1")]))
    await _at(live, MORNING)
    assert await _work(live, Scripted([])) == 0
    assert await live.status(placed.id) == "open"


async def test_an_order_that_was_never_sent_expires_with_its_session(live: Venue) -> None:
    placed = await live.order(**LIMIT)
    await _at(live, MORNING)
    await _work(live, Scripted([]))
    assert await live.status(placed.id) == "expired"
    assert await held(live) == 0


async def test_a_listener_that_misses_it_in_the_morning_lets_it_expire_and_asks_nobody_else(live: Venue) -> None:
    order_id, _ = await sent(live, Accepted("V1"))
    script = Scripted([[]])
    account = BrokerAccount(live.tenant_id, live.account_id)
    await live.app.database.reference.execute(
        "update feed_state set market_at = $2 where feed = $1", live.feed, MORNING
    )
    await read_book(later(live, script, 181), Book(account, script), differences=False)
    assert await live.status(order_id) == "expired"


async def test_one_whose_fate_is_unknown_expires_only_if_it_was_once_seen(live: Venue) -> None:
    seen, _ = await sent(live, Accepted("V1"))
    account = BrokerAccount(live.tenant_id, live.account_id)
    script = Scripted([[]])
    await read_book(later(live, script, 181), Book(account, script), differences=False)
    assert await live.status(seen) == "unknown"
    never, _ = await sent(live, Unknown("?"))
    await live.app.database.reference.execute(
        "update feed_state set market_at = $2 where feed = $1", live.feed, MORNING
    )
    await resolve_unknown(later(live, Scripted([NotFound()]), 1), item(live, seen, "order.resolve"))
    assert await live.status(seen) == "expired"
    await resolve_unknown(later(live, Scripted([NotFound()]), 181), item(live, never, "order.resolve"))
    assert await live.status(never) == "lost"


async def test_orders_of_a_contract_end_with_its_last_day(venue: Venue) -> None:
    placed = await venue.order(**LIMIT, validity=Validity.GTC)
    await venue.work()
    reference = venue.app.database.reference
    await reference.execute("update instruments set delisted_on = $2 where id = $1", venue.instrument_id, FRIDAY)
    try:
        await _at(venue, CLOSE)
        await venue.work()
        assert await venue.status(placed.id) == "open"
        await _at(venue, MORNING)
        await venue.work()
    finally:
        await reference.execute("update instruments set delisted_on = null where id = $1", venue.instrument_id)
    assert await venue.status(placed.id) == "expired"
    await venue.is_sound()


async def _waiting(venue: Venue) -> UUID:
    """An order that was accepted while the market was closed, and is kept until it opens."""
    placed = await venue.order()
    await venue.app.database.dispatch.execute("delete from work_items where tenant_id = $1", venue.tenant_id)
    await venue.rows(
        "insert into waiting_orders (tenant_id, id, account_id, feed, instrument_id, venue, side, validity, "
        "waits_for, tick, seen_to) "
        "select tenant_id, id, account_id, feed, instrument_id, 'XNAS', side, validity, 'open', 100, '0' "
        "from orders where id = :id returning 1",
        id=placed.id,
    )
    return placed.id


async def test_an_order_that_waits_for_the_session_is_sent_once_when_it_opens(venue: Venue) -> None:
    order_id = await _waiting(venue)
    await _at(venue, OPEN - timedelta(seconds=1))
    assert await venue.work() == 0
    await asyncio.gather(_at(venue, OPEN), _at(venue, OPEN))
    again = "update calendar_jobs set state = 'pending', done_at = null, claimed_until = null where feed = $1"
    await venue.app.database.dispatch.execute(again, venue.feed)
    await _at(venue, OPEN)
    assert len(await venue.rows("select 1 from work_items where kind = 'order.submit'")) == 1
    await venue.work()
    assert await venue.status(order_id) == "open"
    await venue.show(PRICE)
    assert await venue.status(order_id) == "filled"


async def test_one_that_was_taken_back_while_it_waited_is_not_sent(venue: Venue) -> None:
    order_id = await _waiting(venue)
    await venue.app.database.pool.fetchval(
        "select orders_transition($1, $2, '{accepted}', 'cancelled', null, 'requested', '{}'::jsonb)",
        venue.tenant_id,
        order_id,
    )
    await _at(venue, OPEN)
    assert await venue.work() == 0
    assert await venue.status(order_id) == "cancelled"


async def test_the_cut_off_closes_what_is_intraday_and_nothing_else(venue: Venue) -> None:
    await venue.order(quantity=5)
    await venue.work()
    await venue.show(PRICE)
    await _bought(venue, 10)
    resting = await _intraday(venue, **LIMIT)
    kept = await venue.order(**LIMIT)
    selling = await venue.order(side=Side.SELL, quantity=5, order_type=OrderType.LIMIT, limit_price=PRICE + 1_000)
    await venue.work()
    await _at(venue, CUT_OFF - timedelta(minutes=1))
    await venue.work()
    assert await _held(venue) == 15
    await _at(venue, CUT_OFF)
    for _ in range(3):
        await venue.work()
    assert await venue.status(resting) == "cancelled"
    assert [await venue.status(order.id) for order in (kept, selling)] == ["open", "open"]
    (closing,) = await venue.rows("select side, quantity, product from orders where intent_reason = 'square_off'")
    assert closing == {"side": "sell", "quantity": 10, "product": Product.INTRADAY.value}
    await venue.show(PRICE)
    assert await _held(venue) == 5
    await venue.is_sound()


async def test_a_cut_off_that_is_done_once_more_or_by_two_sells_once(venue: Venue) -> None:
    await _bought(venue, 10)
    await _intraday(venue, **LIMIT)
    await venue.work()
    await asyncio.gather(_at(venue, CUT_OFF), _at(venue, CUT_OFF))
    asked = await venue.rows("select kind from work_items where priority = 0 and state = 'ready' order by kind")
    again = "update calendar_jobs set state = 'pending', done_at = null, claimed_until = null where feed = $1"
    await venue.app.database.dispatch.execute(again, venue.feed)
    await _at(venue, CUT_OFF)
    assert asked == await venue.rows("select kind from work_items where priority = 0 and state = 'ready' order by kind")
    assert [row["kind"] for row in asked] == ["order.cancel", "position.exit"]
    for _ in range(3):
        await venue.work()
    await venue.app.database.dispatch.execute(again, venue.feed)
    await _at(venue, CUT_OFF)  # the exit rests: neither is it taken back, nor is there another
    await venue.work()
    await venue.show(PRICE)
    assert await _held(venue) == 0
    assert len(await venue.rows("select 1 from orders where intent_reason = 'square_off'")) == 1
    await venue.is_sound()


async def test_a_cut_off_that_comes_a_day_late_closes_that_days_rest_and_not_the_next_days(venue: Venue) -> None:
    await _bought(venue, 10)  # filled on Friday at the close
    await venue.app.database.reference.execute(
        "update feed_state set market_at = $2 where feed = $1", venue.feed, MORNING + timedelta(hours=3)
    )
    await _intraday(venue, quantity=4)
    await venue.work()
    await venue.show(PRICE, days=4)
    await _at(venue, MORNING + timedelta(hours=3))
    for _ in range(3):
        await venue.work()
    (closing,) = await venue.rows("select quantity from orders where intent_reason = 'square_off'")
    assert closing["quantity"] == 10


async def test_a_cut_off_that_comes_late_covers_what_is_short_still(venue: Venue) -> None:
    await _intraday(venue, side=Side.SELL)
    await venue.work()
    await venue.show(PRICE)
    await _intraday(venue, quantity=6)  # covered on Monday, before anybody did Friday's job
    await venue.work()
    await venue.show(PRICE, days=4)
    await _at(venue, MORNING + timedelta(hours=3))
    for _ in range(3):
        await venue.work()
    (closing,) = await venue.rows("select side, quantity from orders where intent_reason = 'square_off'")
    assert closing == {"side": "buy", "quantity": 4}
