"""News of live orders: pushed or read, twice, late, out of order or never, the books come to what the broker has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.infra.work.runner import Item
from app.kernel.orders import OrderType
from app.kernel.times import format_time
from app.trading.brokers.ports import BrokerAccount, SessionExpired
from app.trading.orders.service import Desk, request_cancel
from app.trading.orders.service.executing import submit
from app.trading.orders.service.listening import run_listener
from app.trading.orders.service.outcomes import broker_order, read_state
from app.trading.orders.service.reconciling import Book, read_book
from tests.contract.conftest import LiveStage, until
from tests.contract.fakelive.venue import Fault, VenueOrder
from tests.integration.trading.conftest import PRICE, Venue


class Troubled:
    """The database, but for one order's fills."""

    def __init__(self, pool: asyncpg.Pool, order_id: UUID, trouble: Exception) -> None:
        self.pool = self
        self._pool, self._order, self._trouble = pool, str(order_id), trouble

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    async def fetch(self, sql: str, *what: Any) -> list[asyncpg.Record]:
        if "orders_record_fills" in sql and self._order in str(what):
            raise self._trouble
        rows: list[asyncpg.Record] = await self._pool.fetch(sql, *what)
        return rows


def _desk(stage: LiveStage, *, later: int = 0) -> Desk:
    desk = stage.desk.desk(stage.broker)
    return replace(desk, clock=lambda: stage.exchange.clock() + timedelta(seconds=later))


async def _sent(stage: LiveStage, **terms: Any) -> tuple[UUID, VenueOrder]:
    """An order for 10 that was sent by a worker, and what the broker has of it."""
    placed = await stage.desk.order(**{"order_type": OrderType.LIMIT, "limit_price": PRICE} | terms)
    payload = {"order_id": str(placed.id)}
    await submit(_desk(stage), Item(stage.desk.tenant_id, uuid4(), stage.desk.account_id, "", payload, 1, 1))
    state = await read_state(stage.desk.app.database.pool, stage.desk.tenant_id, placed.id)
    assert state is not None
    return placed.id, stage.at_broker(broker_order(stage.desk.tenant_id, state))


def _book(stage: LiveStage) -> Book:
    return Book(BrokerAccount(stage.desk.tenant_id, stage.desk.account_id), stage.broker)


async def _read(stage: LiveStage, *, differences: bool = False, later: int = 0) -> None:
    assert await read_book(_desk(stage, later=later), _book(stage), differences=differences) is None


async def _told(desk: Venue, kind: str) -> list[dict[str, Any]]:
    rows = await desk.rows("select data from events where type = :kind order by xid, id", kind=kind)
    return [row["data"] for row in rows]


@asynccontextmanager
async def _listening(stage: LiveStage) -> AsyncIterator[None]:
    """The role `listener`, with a connection."""
    stop = asyncio.Event()
    role = asyncio.create_task(run_listener(stage.desk.app.database.dispatch, _desk(stage), stop=stop))
    try:
        await until(lambda: _true(bool(stage.server.sockets)))
        yield
    finally:
        stop.set()
        await asyncio.wait_for(role, 10)


async def _true(found: bool) -> bool:
    return found


async def _becomes(stage: LiveStage, order_id: UUID, status: str) -> None:
    async def there() -> bool:
        return await stage.desk.status(order_id) == status

    await until(there, seconds=20)


async def test_what_is_pushed_is_recorded_and_the_same_again_in_any_order_changes_nothing(
    live_stage: LiveStage,
) -> None:
    async with _listening(live_stage):
        order_id, there = await _sent(live_stage)
        live_stage.exchange.fill(there.order_id, 4, "19.95")
        await _becomes(live_stage, order_id, "partially_filled")
        live_stage.exchange.fill(there.order_id, 6, "19.90")
        await _becomes(live_stage, order_id, "filled")
        live_stage.server.repeat()
        second, at_broker = await _sent(live_stage)
        live_stage.exchange.reject(at_broker.order_id, "RMS:Margin exceeds")
        await _becomes(live_stage, second, "rejected")
    fills = await live_stage.desk.rows("select quantity from fills order by venue_fill_id")
    assert [fill["quantity"] for fill in fills] == [4, 6]
    assert (await _told(live_stage.desk, "order.rejected"))[0]["reason"] == "RMS:Margin exceeds"
    await live_stage.desk.is_sound()


async def test_a_connection_that_was_cut_or_fell_silent_begins_again_with_the_book(live_stage: LiveStage) -> None:
    async with _listening(live_stage):
        for silence in (False, True):
            order_id, there = await _sent(live_stage)
            live_stage.server.mute = True
            live_stage.exchange.fill(there.order_id, 10, "19.95")
            if not silence:
                await live_stage.server.cut()
            await _becomes(live_stage, order_id, "filled")
            live_stage.server.mute = False
            await until(lambda: _true(bool(live_stage.server.sockets)))
    await live_stage.desk.is_sound()


async def test_a_restart_reads_first_and_tells_what_differed(live_stage: LiveStage) -> None:
    (filled, first), (same, second), (gone, third) = [await _sent(live_stage) for _ in range(3)]
    live_stage.exchange.fill(first.order_id, 10, "19.95")
    live_stage.exchange.open(second.order_id)
    live_stage.exchange.fill(third.order_id, 3, "19.95")
    live_stage.exchange.end(third.order_id)
    await _read(live_stage, differences=True)
    assert [await live_stage.desk.status(one) for one in (filled, same, gone)] == ["filled", "open", "cancelled"]
    told = await _told(live_stage.desk, "order.reconciled")
    assert [(one["status"], one["broker_status"], one["filled"], one["broker_filled"]) for one in told] == [
        ("open", "filled", "0", "10"),
        ("open", "cancelled", "0", "3"),
    ]
    await _read(live_stage, differences=True)
    assert len(await _told(live_stage.desk, "order.reconciled")) == 2
    await live_stage.desk.is_sound()


async def test_news_that_were_heard_in_time_are_no_differences(live_stage: LiveStage) -> None:
    _, there = await _sent(live_stage)
    live_stage.exchange.fill(there.order_id, 10, "19.95")
    await _read(live_stage)
    assert await _told(live_stage.desk, "order.reconciled") == []


async def test_a_strangers_order_is_told_once_and_again_when_it_changes_and_never_adopted(
    live_stage: LiveStage,
) -> None:
    strange = live_stage.exchange.place_by_hand(str(live_stage.desk.account_id), "TCS", 5)
    for _ in range(2):
        await _read(live_stage)
    live_stage.exchange.fill(strange, 5, "100.00")
    for _ in range(2):
        await _read(live_stage)
    told = await _told(live_stage.desk, "account.foreign_order_seen")
    assert [(one["symbol"], one["status"], one["filled"]) for one in told] == [
        ("TCS", "pending", "0"),
        ("TCS", "filled", "5"),
    ]
    assert await live_stage.desk.rows("select 1 from orders") == await live_stage.desk.rows("select 1 from fills") == []
    (kept,) = await live_stage.desk.rows("select venue_order_id, filled from foreign_orders")
    assert (kept["venue_order_id"], kept["filled"]) == (strange, "5")


async def test_a_second_order_under_our_tag_is_a_strangers(live_stage: LiveStage) -> None:
    order_id, there = await _sent(live_stage)
    double = live_stage.exchange.place_by_hand(str(live_stage.desk.account_id), "AAPL", 10)
    live_stage.exchange.orders[double].form["tag"] = there.form["tag"]
    live_stage.exchange.fill(double, 10, "19.95")
    await _read(live_stage)
    assert await live_stage.desk.status(order_id) == "open"
    assert len(await _told(live_stage.desk, "account.foreign_order_seen")) == 1


async def test_a_lost_order_that_appears_late_is_adopted_and_told(live_stage: LiveStage) -> None:
    live_stage.exchange.fail("place", Fault.HIDE)
    order_id, there = await _sent(live_stage)
    moved = "select orders_transition($1, $2, '{unknown}', 'lost', null, 'x', '{\"reason\": \"x\"}')"
    await live_stage.desk.app.database.pool.fetchval(moved, live_stage.desk.tenant_id, order_id)
    live_stage.exchange.fill(there.order_id, 10, "19.95")
    there.hidden_until = there.at
    await _read(live_stage)
    assert await live_stage.desk.status(order_id) == "filled"
    assert [one["status"] for one in await _told(live_stage.desk, "order.reconciled")] == ["lost"]
    await live_stage.desk.is_sound()


@pytest.mark.parametrize(("asked", "reason"), [(False, "cancelled at the broker"), (True, "requested")])
async def test_a_cancelled_order_says_who_wanted_it_although_the_broker_tells_of_it_first(
    live_stage: LiveStage, asked: bool, reason: str
) -> None:
    order_id, there = await _sent(live_stage)
    if asked:
        async with live_stage.desk.app.database.tx(live_stage.desk.tenant_id) as tx:
            await request_cancel(tx, order_id, now=datetime.now(UTC))
    live_stage.exchange.end(there.order_id)
    await _read(live_stage)
    (order,) = await live_stage.desk.rows("select status, status_reason from orders where id = :id", id=order_id)
    assert order == {"status": "cancelled", "status_reason": reason}
    (told,) = await _told(live_stage.desk, "order.cancelled")
    assert told["reason"] == reason


async def test_an_open_order_that_is_shown_no_more_is_unknown_only_after_the_longest_hiding(
    live_stage: LiveStage,
) -> None:
    order_id, there = await _sent(live_stage)
    there.hidden_until += timedelta(days=1)
    await _read(live_stage, later=170)
    assert await live_stage.desk.status(order_id) == "open"
    await _read(live_stage, later=200)
    assert await live_stage.desk.status(order_id) == "unknown"
    assert [one["broker_status"] for one in await _told(live_stage.desk, "order.reconciled")] == ["missing"]
    assert len(await live_stage.desk.rows("select 1 from work_items where kind = 'order.resolve'")) == 1


async def test_an_order_that_ended_here_and_lives_there_lives_on_once_the_broker_has_said_so_again(
    live_stage: LiveStage,
) -> None:
    order_id, there = await _sent(live_stage)
    moved = "select orders_transition($1, $2, '{open}', 'rejected', null, 'x', '{\"reason\": \"x\"}')"
    await live_stage.desk.app.database.pool.fetchval(moved, live_stage.desk.tenant_id, order_id)
    live_stage.exchange.faults["read"].extend([Fault.SLOW_CANCEL] * 2 + [Fault.DROP_BEFORE])
    await _read(live_stage)  # the second question is not answered
    assert await live_stage.desk.status(order_id) == "rejected"
    await _read(live_stage)
    assert await live_stage.desk.status(order_id) == "open"
    live_stage.exchange.end(there.order_id)
    await _read(live_stage)
    assert await live_stage.desk.status(order_id) == "cancelled"
    await live_stage.desk.is_sound()


async def test_one_order_that_cannot_be_right_stops_no_other(live_stage: LiveStage) -> None:
    (wrong, first), (right, second) = [await _sent(live_stage) for _ in range(2)]
    first.form["quantity"] = "12"  # changed behind our back
    live_stage.exchange.fill(first.order_id, 12, "19.95")
    live_stage.exchange.fill(second.order_id, 10, "19.95")
    await _read(live_stage)
    assert [await live_stage.desk.status(one) for one in (wrong, right)] == ["open", "filled"]
    await live_stage.desk.is_sound()


async def test_a_report_that_cannot_be_read_stops_no_other_and_is_told_with_its_order(live_stage: LiveStage) -> None:
    (wrong, first), (right, second) = [await _sent(live_stage) for _ in range(2)]
    live_stage.exchange.fill(first.order_id, 10, "19.123456789")
    live_stage.exchange.fill(second.order_id, 10, "19.95")
    with capture_logs() as logs:
        await _read(live_stage, differences=True)
    assert [await live_stage.desk.status(one) for one in (wrong, right)] == ["open", "filled"]
    (said,) = [entry for entry in logs if entry["event"] == "reconciling.failed"]
    assert (said["order"], said["venue_order_id"]) == (str(wrong), first.order_id)
    assert said["exc_info"].code == "too_precise"
    await live_stage.desk.is_sound()


async def test_an_order_that_never_holds_still_stops_no_other_and_is_read_again(live_stage: LiveStage) -> None:
    (busy, first), (right, second) = [await _sent(live_stage) for _ in range(2)]
    for there in (first, second):
        live_stage.exchange.fill(there.order_id, 10, "19.95")
    book = _book(live_stage)
    contended: Any = Troubled(live_stage.desk.app.database.pool, busy, asyncpg.SerializationError())
    assert await read_book(replace(_desk(live_stage), database=contended), book, differences=False) is None
    assert [await live_stage.desk.status(one) for one in (busy, right)] == ["open", "filled"]
    assert await read_book(_desk(live_stage), book, differences=False) is None
    assert await live_stage.desk.status(busy) == "filled"
    await live_stage.desk.is_sound()


@pytest.mark.parametrize("away", [asyncpg.AdminShutdownError(), ConnectionResetError()])
async def test_a_database_that_goes_away_is_no_orders_fault(live_stage: LiveStage, away: Exception) -> None:
    order_id, there = await _sent(live_stage)
    live_stage.exchange.fill(there.order_id, 10, "19.95")
    gone: Any = Troubled(live_stage.desk.app.database.pool, order_id, away)
    with pytest.raises(type(away)), capture_logs() as logs:
        await read_book(replace(_desk(live_stage), database=gone), _book(live_stage), differences=False)
    assert logs == []


async def test_a_broker_that_does_not_answer_leaves_the_books_as_they_are(live_stage: LiveStage) -> None:
    order_id, _ = await _sent(live_stage)
    live_stage.exchange.fail("read", Fault.NO_SESSION)
    assert await read_book(_desk(live_stage, later=500), _book(live_stage), differences=True) == SessionExpired()
    assert await live_stage.desk.status(order_id) == "open"
    assert await _told(live_stage.desk, "order.reconciled") == []


async def test_a_stop_that_the_broker_sets_off_is_told_once_and_before_its_fill(live_stage: LiveStage) -> None:
    order_id, at_broker = await _sent(
        live_stage, limit_price=PRICE + 20_000, order_type="sl", trigger_price=PRICE + 10_000
    )
    live_stage.exchange.open(at_broker.order_id)
    await _read(live_stage)
    assert await _told(live_stage.desk, "order.triggered") == []
    live_stage.exchange.trigger(at_broker.order_id)
    for _ in range(2):
        await _read(live_stage)
    (said,) = await _told(live_stage.desk, "order.triggered")
    assert said["price"] is None
    live_stage.exchange.fill(at_broker.order_id, 10, "21.50")
    await _read(live_stage)
    rows = await live_stage.desk.rows("select type from events where subject_id = :id order by xid, id", id=order_id)
    assert [row["type"] for row in rows] == ["order.accepted", "order.open", "order.triggered", "order.filled"]
    (order,) = await live_stage.desk.rows("select triggered_at from orders where id = :id", id=order_id)
    assert format_time(order["triggered_at"]) == said["market_at"]


async def test_a_stop_of_which_only_the_fill_was_heard_was_set_off_then(live_stage: LiveStage) -> None:
    order_id, at_broker = await _sent(live_stage, limit_price=None, order_type="sl_m", trigger_price=PRICE + 10_000)
    live_stage.exchange.open(at_broker.order_id)
    live_stage.exchange.fill(at_broker.order_id, 4, "21.50")
    await _read(live_stage)
    rows = await live_stage.desk.rows("select type from events where subject_id = :id order by xid, id", id=order_id)
    assert [row["type"] for row in rows][-2:] == ["order.triggered", "order.partially_filled"]
