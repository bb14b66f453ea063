"""What the order path does with a broker's answers. The broker here is a script: its answers are the test's."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.infra.work.runner import Item, Retry
from app.kernel.ids import broker_tag
from app.kernel.orders import Fill, OrderType, Side, Validity
from app.trading.brokers.ports import (
    Accepted,
    BrokerAccount,
    BrokerOrder,
    Capabilities,
    Change,
    NotFound,
    Outcome,
    Rejected,
    Report,
    SessionExpired,
    Throttled,
    Unknown,
    Updates,
    VenueFill,
    VenueStatus,
)
from app.trading.orders.service import request_cancel
from app.trading.orders.service.executing import cancel, resolve_unknown, submit
from app.trading.orders.service.filling import record_fill
from app.trading.orders.service.outcomes import broker_order, read_state, record
from tests.integration.trading.conftest import AT, PRICE, Venue

Answer = Outcome | Report | NotFound | Exception | Sequence[Report]

_CAPABILITIES = Capabilities(
    order_types=frozenset(OrderType),
    validities=frozenset(Validity),
    modify=False,
    native_iceberg=False,
    orders_per_second=10,
    updates=Updates.POLL,
    sure=False,
)


@dataclass
class Scripted:
    """Answers each call with the next of `answers`, an exception by raising it; remembers what it was asked."""

    answers: list[Answer]
    asked: list[str] = field(default_factory=list)
    capabilities: Capabilities = _CAPABILITIES

    async def submit(self, order: BrokerOrder) -> Any:
        return self._answer("submit")

    async def modify(self, order: BrokerOrder, change: Change) -> Any:
        return self._answer("modify")

    async def cancel(self, order: BrokerOrder) -> Any:
        return self._answer("cancel")

    async def find(self, order: BrokerOrder) -> Any:
        return self._answer("find")

    async def orders(self, account: BrokerAccount) -> Any:
        return self._answer("orders")

    async def positions(self, account: BrokerAccount) -> Any:
        return self._answer("positions")

    async def updates(self, account: BrokerAccount) -> AsyncIterator[str | None]:
        return
        yield

    def _answer(self, call: str) -> Any:
        self.asked.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def item(venue: Venue, order_id: UUID, kind: str = "order.submit") -> Item:
    return Item(venue.tenant_id, uuid4(), venue.account_id, kind, {"order_id": str(order_id)}, attempts=1, fence=1)


def report(order_id: UUID, status: VenueStatus, *fills: int, filled: int | None = None) -> Report:
    """What a broker says of an order for 10."""
    made = tuple(VenueFill(f"F{n}", str(quantity), "20.00", AT) for n, quantity in enumerate(fills))
    told = sum(fills) if filled is None else filled
    return Report(broker_tag(order_id), "V1", status, "AAPL", Side.BUY, "10", str(told), made, at=AT)


async def _sent(venue: Venue, *answers: Answer) -> tuple[UUID, Scripted]:
    """A limit order, sent to a broker that answers so."""
    placed = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE)
    script = Scripted(list(answers))
    await submit(venue.desk(script), item(venue, placed.id))
    return placed.id, script


async def _held(venue: Venue) -> int:
    return int(
        (await venue.rows("select sum(pending_out)::bigint as held from ledger_accounts where kind = 'client_cash'"))[
            0
        ]["held"]
    )


async def _told(venue: Venue, order_id: UUID) -> list[str]:
    rows = await venue.rows("select type from events where subject_id = :id order by xid, id", id=order_id)
    return [row["type"].removeprefix("order.") for row in rows]


@pytest.mark.parametrize(
    ("answer", "status", "held"),
    [
        (Accepted("V1"), "open", True),
        (Rejected("not today"), "rejected", False),
        (SessionExpired(), "rejected", False),
        (Unknown("no answer"), "unknown", True),
        (ConnectionError("gone"), "unknown", True),
    ],
)
async def test_each_answer_has_its_status_and_only_a_sure_no_gives_the_hold_back(
    live: Venue, answer: Answer, status: str, held: bool
) -> None:
    order_id, script = await _sent(live, answer)
    assert (await live.status(order_id), script.asked) == (status, ["submit"])
    assert (await _held(live) > 0) is held
    await live.is_sound()


@pytest.mark.parametrize("answer", [Accepted("V1"), Rejected("no"), Unknown("?"), SessionExpired()])
async def test_work_that_is_run_again_sends_nothing_again(live: Venue, answer: Outcome) -> None:
    order_id, _ = await _sent(live, answer)
    status, again = await live.status(order_id), Scripted([])
    await submit(live.desk(again), item(live, order_id))
    assert (again.asked, await live.status(order_id)) == ([], status)


async def test_an_order_that_a_busy_broker_did_not_look_at_waits_and_is_sent_again(live: Venue) -> None:
    placed = await live.order()
    script = Scripted([Throttled(2.0), Accepted("V1")])
    with pytest.raises(Retry) as wait:
        await submit(live.desk(script), item(live, placed.id))
    assert (await live.status(placed.id), wait.value.seconds) == ("accepted", 2.0)
    await submit(live.desk(script), item(live, placed.id))
    assert script.asked == ["submit", "submit"]
    assert await _told(live, placed.id) == ["accepted", "deferred", "open"]


async def test_an_interrupted_order_is_not_sent_again_but_asked_for(live: Venue) -> None:
    placed = await live.order()
    await _begun(live, placed.id)
    script = Scripted([])
    await submit(live.desk(script), item(live, placed.id))
    assert (script.asked, await live.status(placed.id)) == ([], "unknown")
    (work,) = await live.rows("select lane, kind from work_items where kind = 'order.resolve'")
    assert work["lane"] == placed.id  # its own lane: it holds up no exit


async def test_a_sure_broker_is_told_again_what_was_interrupted(venue: Venue) -> None:
    placed = await venue.order()
    await _begun(venue, placed.id)
    await submit(venue.desk(), item(venue, placed.id))
    assert await venue.status(placed.id) == "open"
    await venue.show(PRICE)
    await venue.app.database.pool.execute(  # as if the worker had slept through all of it
        "select paper_accept($1, $2::jsonb)", venue.tenant_id, await _resting(venue, placed.id)
    )
    assert await venue.rows("select 1 from paper_orders") == []


async def test_an_order_whose_process_stood_still_is_not_sent(live: Venue) -> None:
    placed, script = await live.order(), Scripted([])
    await submit(replace(live.desk(script), send_within=-1.0), item(live, placed.id))
    assert (script.asked, await live.status(placed.id)) == ([], "unknown")


async def test_an_order_for_a_broker_that_is_not_here_is_rejected(live: Venue) -> None:
    placed = await live.order()
    await submit(replace(live.desk(), brokers={}), item(live, placed.id))
    assert await live.status(placed.id) == "rejected"


async def test_an_order_that_is_gone_is_said(live: Venue) -> None:
    with pytest.raises(LookupError, match="is gone"):
        await submit(live.desk(), item(live, uuid4()))
    await cancel(live.desk(), item(live, uuid4(), "order.cancel"))
    await resolve_unknown(live.desk(), item(live, uuid4(), "order.resolve"))


@pytest.mark.parametrize(
    ("answer", "found", "status", "filled"),
    [
        (Accepted("V1"), (VenueStatus.CANCELLED,), "cancelled", 0),
        (Rejected("too late"), (VenueStatus.FILLED, 10), "filled", 10),
        (Accepted("V1"), (VenueStatus.CANCELLED, 4), "cancelled", 4),
        (Unknown("?"), (VenueStatus.CANCELLED, 3, 4), "cancelled", 7),
        (Accepted("V1"), (VenueStatus.REJECTED,), "rejected", 0),
    ],
)
async def test_a_cancel_believes_what_the_order_has_become(
    live: Venue, answer: Outcome, found: tuple[Any, ...], status: str, filled: int
) -> None:
    order_id, _ = await _sent(live, Accepted("V1"))
    script = Scripted([answer, report(order_id, *found)])
    await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert await live.status(order_id) == status
    (row,) = await live.rows("select filled_quantity from orders")
    assert row["filled_quantity"] == filled
    await live.is_sound()


@pytest.mark.parametrize(
    "answers",
    [
        (Accepted("V1"), VenueStatus.OPEN),
        (Rejected("being processed"), VenueStatus.PENDING),
        (TimeoutError(), Unknown("?")),
        (Unknown("?"), NotFound()),
        (Throttled(1.0), Throttled(1.0)),
        (SessionExpired(), SessionExpired()),
    ],
)
async def test_a_cancel_is_asked_for_until_the_order_has_ended(live: Venue, answers: tuple[Any, Any]) -> None:
    order_id, _ = await _sent(live, Accepted("V1"))
    call, found = answers
    found = report(order_id, found) if isinstance(found, VenueStatus) else found
    script = Scripted([call, found, Accepted("V1"), report(order_id, VenueStatus.CANCELLED)])
    with pytest.raises(Retry):
        await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert await live.status(order_id) == "open"
    await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert await live.status(order_id) == "cancelled"


async def test_an_order_does_not_end_before_all_its_fills_are_here(live: Venue) -> None:
    order_id, _ = await _sent(live, Accepted("V1"))
    early = report(order_id, VenueStatus.CANCELLED, 4, filled=7)
    whole = report(order_id, VenueStatus.CANCELLED, 4, 3)
    script = Scripted([Accepted("V1"), early, Accepted("V1"), whole])
    with pytest.raises(Retry):
        await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert await live.status(order_id) == "partially_filled"
    await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    (row,) = await live.rows("select status, filled_quantity from orders")
    assert (row["status"], row["filled_quantity"], await _held(live)) == ("cancelled", 7, 0)
    await live.is_sound()


async def test_a_cancel_of_an_interrupted_order_makes_its_fate_unknown_and_waits_for_it(live: Venue) -> None:
    placed = await live.order()
    await _begun(live, placed.id)
    script = Scripted([Unknown("not shown"), NotFound()])
    with pytest.raises(Retry):
        await cancel(live.desk(script), item(live, placed.id, "order.cancel"))
    assert await live.status(placed.id) == "unknown"
    script.answers = [Accepted("V1"), report(placed.id, VenueStatus.CANCELLED)]
    await cancel(live.desk(script), item(live, placed.id, "order.cancel"))
    assert await live.status(placed.id) == "cancelled"


async def test_an_interrupted_paper_order_that_is_cancelled_never_arrives_later(venue: Venue) -> None:
    placed = await venue.order()
    await _begun(venue, placed.id)
    await cancel(venue.desk(), item(venue, placed.id, "order.cancel"))
    resting = await _resting(venue, placed.id)
    await venue.app.database.pool.execute("select paper_accept($1, $2::jsonb)", venue.tenant_id, resting)
    await venue.show(PRICE)
    assert (await venue.status(placed.id), await venue.rows("select 1 from fills")) == ("cancelled", [])
    await venue.is_sound()


async def test_a_lost_order_that_was_to_be_cancelled_is_taken_back_when_it_appears(live: Venue) -> None:
    order_id, _ = await _lost(live)
    with pytest.raises(Retry):
        await cancel(live.desk(Scripted([])), item(live, order_id, "order.cancel"))
    moved = "select orders_transition($1, $2, '{lost}', 'open', 'V1', null, '{}')"
    await live.app.database.pool.fetchval(moved, live.tenant_id, order_id)
    script = Scripted([Accepted("V1"), report(order_id, VenueStatus.CANCELLED)])
    await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert await live.status(order_id) == "cancelled"


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ((VenueStatus.OPEN,), "open"),
        ((VenueStatus.PENDING,), "open"),
        ((VenueStatus.OPEN, 4), "partially_filled"),
        ((VenueStatus.FILLED, 4, 6), "filled"),
        ((VenueStatus.CANCELLED, 4), "cancelled"),
        ((VenueStatus.REJECTED,), "rejected"),
        ((VenueStatus.EXPIRED,), "expired"),
    ],
)
async def test_an_unknown_order_becomes_what_the_broker_shows(live: Venue, found: tuple[Any, ...], status: str) -> None:
    order_id, _ = await _sent(live, Unknown("?"))
    await resolve_unknown(live.desk(Scripted([report(order_id, *found)])), item(live, order_id, "order.resolve"))
    assert await live.status(order_id) == status
    await live.is_sound()


@pytest.mark.parametrize("found", [NotFound(), Unknown("?"), Throttled(1.0), SessionExpired(), TimeoutError()])
async def test_an_unknown_order_stays_so_until_the_broker_shows_it(live: Venue, found: Answer) -> None:
    order_id, _ = await _sent(live, Unknown("?"))
    with pytest.raises(Retry):
        await resolve_unknown(live.desk(Scripted([found])), item(live, order_id, "order.resolve"))
    assert (await live.status(order_id), await _held(live) > 0) == ("unknown", True)


@pytest.mark.parametrize("found", [Unknown("?"), Throttled(1.0), SessionExpired()])
async def test_a_broker_that_does_not_answer_makes_no_order_lost(live: Venue, found: Answer) -> None:
    order_id, _ = await _sent(live, Unknown("?"))
    with pytest.raises(Retry):
        await resolve_unknown(_later(live, Scripted([found]), 3600), item(live, order_id, "order.resolve"))
    assert await live.status(order_id) == "unknown"


async def test_an_order_is_lost_only_after_the_longest_time_that_one_was_hidden(live: Venue) -> None:
    order_id, _ = await _sent(live, Unknown("?"))
    work = item(live, order_id, "order.resolve")
    with pytest.raises(Retry):
        await resolve_unknown(_later(live, Scripted([NotFound()]), 91), work)
    await resolve_unknown(_later(live, Scripted([NotFound()]), 181), work)
    assert (await live.status(order_id), await _held(live)) == ("lost", 0)
    again = Scripted([])
    for kind in ("order.resolve", "order.submit"):
        await (resolve_unknown if kind == "order.resolve" else submit)(live.desk(again), item(live, order_id, kind))
    assert (again.asked, (await _told(live, order_id))[-1]) == ([], "lost")
    await live.is_sound()


async def test_a_paper_order_of_unknown_fate_is_found_or_sure_never_to_arrive(venue: Venue) -> None:
    there, never = await venue.order(), await venue.order()
    await submit(venue.desk(), item(venue, there.id))
    for placed in (there, never):
        if placed is never:
            await _begun(venue, placed.id)
        moved = "select orders_transition($1, $2, '{open,submitting}', 'unknown', null, 'x', $3::jsonb)"
        heard = '{"reason": "x", "received_at": "2026-01-01T00:00:00Z"}'
        await venue.app.database.pool.fetchval(moved, venue.tenant_id, placed.id, heard)
        await resolve_unknown(venue.desk(), item(venue, placed.id, "order.resolve"))
    assert [await venue.status(one.id) for one in (there, never)] == ["open", "cancelled"]


async def test_a_late_answer_of_the_sender_never_undoes_what_a_report_said(live: Venue) -> None:
    order_id, _ = await _sent(live, Unknown("?"))
    ended = Scripted([report(order_id, VenueStatus.CANCELLED, 4)])
    await resolve_unknown(live.desk(ended), item(live, order_id, "order.resolve"))
    pool = live.app.database.pool
    state = await read_state(pool, live.tenant_id, order_id)
    assert state is not None
    order = broker_order(live.tenant_id, state)
    for late in (Accepted("V1"), Rejected("no"), Unknown("?"), Throttled(1.0), SessionExpired()):
        await record(pool, order, late, received_at=datetime.now(UTC))
        assert await live.status(order_id) == "cancelled"


async def test_each_change_tells_the_brokers_time_and_ours(live: Venue) -> None:
    order_id, _ = await _sent(live, Accepted("V1", at=AT))
    script = Scripted([Accepted("V1"), report(order_id, VenueStatus.CANCELLED)])
    await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    rows = await live.rows("select type, data from events where subject_id = :id order by xid, id", id=order_id)
    for row in rows[1:]:
        assert row["data"]["venue_at"] == "2003-01-02T21:00:00Z", row
        assert datetime.fromisoformat(row["data"]["received_at"]) > datetime(2026, 1, 1, tzinfo=UTC)


async def test_orders_of_an_account_that_was_halted_meanwhile_are_not_sent(live: Venue) -> None:
    placed = await live.order()
    async with live.app.database.tx(live.tenant_id) as tx:
        await tx.execute(text("update accounts set status = 'reduce_only'"))
    script = Scripted([])
    await submit(live.desk(script), item(live, placed.id))
    assert (script.asked, await live.status(placed.id), await _held(live)) == ([], "cancelled", 0)


async def test_a_fill_of_an_order_that_was_taken_back_is_refused(venue: Venue) -> None:
    placed = await venue.order()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, placed.id, now=datetime.now(UTC))
    await venue.work()
    fill = Fill(placed.id, "1-0", venue.instrument_id, Side.BUY, 10, PRICE, 0, AT)
    assert await record_fill(venue.app.database.pool, venue.tenant_id, fill) == "gone"
    assert await venue.rows("select 1 from fills") == []
    await venue.is_sound()


async def test_what_is_held_can_be_sold_while_a_buys_fate_is_unknown_and_no_more(live: Venue) -> None:
    held, _ = await _sent(live, Unknown("?"))
    filled = Scripted([report(held, VenueStatus.FILLED, 10)])
    await resolve_unknown(live.desk(filled), item(live, held, "order.resolve"))
    await _sent(live, Unknown("?"))
    exit_, more = [await live.order(side=Side.SELL, quantity=n) for n in (10, 1)]
    assert (exit_.status, [reason.rule for reason in more.reasons]) == ("accepted", ["short_sale"])


def _later(live: Venue, script: Scripted, seconds: float) -> Any:
    return replace(live.desk(script), clock=lambda: datetime.now(UTC) + timedelta(seconds=seconds))


async def _begun(venue: Venue, order_id: UUID) -> None:
    await venue.app.database.pool.fetchval("select orders_begin($1, $2, $3)", venue.tenant_id, order_id, 1)


async def _lost(venue: Venue) -> tuple[UUID, Scripted]:
    order_id, script = await _sent(venue, Unknown("?"))
    await resolve_unknown(_later(venue, Scripted([NotFound()]), 181), item(venue, order_id, "order.resolve"))
    return order_id, script


async def _resting(venue: Venue, order_id: UUID) -> str:
    """The row that a submission brings to the paper venue."""
    return json.dumps(
        {
            "id": str(order_id),
            "account_id": str(venue.account_id),
            "feed": venue.feed,
            "instrument_id": str(venue.instrument_id),
            "venue": "XNAS",
            "side": "buy",
            "order_type": "market",
            "validity": "day",
            "limit_price": None,
            "remaining": 10,
            "tick": 100,
            "slippage_bps": 0,
            "arrived_after": "0-0",
        }
    )
