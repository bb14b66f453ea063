"""What the order path does with a broker's answers. The broker here is a script: its answers are the test's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.infra.work.runner import Retry
from app.kernel.orders import Fill, Side
from app.trading.brokers.ports import (
    Accepted,
    NotFound,
    Outcome,
    Rejected,
    SessionExpired,
    Throttled,
    Unknown,
    VenueStatus,
)
from app.trading.orders.service import request_cancel
from app.trading.orders.service.executing import cancel, resolve_unknown, submit
from app.trading.orders.service.filling import record_fill
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.scripted import (
    Answer,
    Scripted,
    begun,
    held,
    item,
    report,
    resting,
    sent,
    told,
)


@pytest.mark.parametrize(
    ("answer", "status", "holds"),
    [
        (Accepted("V1"), "open", True),
        (Rejected("not today"), "rejected", False),
        (SessionExpired(), "rejected", False),
        (Unknown("no answer"), "unknown", True),
        (ConnectionError("gone"), "unknown", True),
    ],
)
async def test_each_answer_has_its_status_and_only_a_sure_no_gives_the_hold_back(
    live: Venue, answer: Answer, status: str, holds: bool
) -> None:
    order_id, script = await sent(live, answer)
    assert (await live.status(order_id), script.asked) == (status, ["submit"])
    assert (await held(live) > 0) is holds
    await live.is_sound()


@pytest.mark.parametrize("answer", [Accepted("V1"), Rejected("no"), Unknown("?"), SessionExpired()])
async def test_work_that_is_run_again_sends_nothing_again(live: Venue, answer: Outcome) -> None:
    order_id, _ = await sent(live, answer)
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
    assert await told(live, placed.id) == ["accepted", "deferred", "open"]


async def test_an_interrupted_order_is_not_sent_again_but_asked_for(live: Venue) -> None:
    placed = await live.order()
    await begun(live, placed.id)
    script = Scripted([])
    await submit(live.desk(script), item(live, placed.id))
    assert (script.asked, await live.status(placed.id)) == ([], "unknown")
    (work,) = await live.rows("select lane, kind from work_items where kind = 'order.resolve'")
    assert work["lane"] == placed.id  # its own lane: it holds up no exit


async def test_a_sure_broker_is_told_again_what_was_interrupted(venue: Venue) -> None:
    placed = await venue.order()
    await begun(venue, placed.id)
    await submit(venue.desk(), item(venue, placed.id))
    assert await venue.status(placed.id) == "open"
    await venue.show(PRICE)
    await venue.app.database.pool.execute(  # as if the worker had slept through all of it
        "select paper_accept($1, $2::jsonb)", venue.tenant_id, await resting(venue, placed.id)
    )
    assert await venue.rows("select 1 from paper_orders") == []


async def test_an_order_whose_process_stood_still_is_not_sent(live: Venue) -> None:
    placed, script = await live.order(), Scripted([])
    await submit(replace(live.desk(script), send_within=timedelta(seconds=-1)), item(live, placed.id))
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
    order_id, _ = await sent(live, Accepted("V1"))
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
    order_id, _ = await sent(live, Accepted("V1"))
    call, found = answers
    found = report(order_id, found) if isinstance(found, VenueStatus) else found
    script = Scripted([call, found, Accepted("V1"), report(order_id, VenueStatus.CANCELLED)])
    with pytest.raises(Retry):
        await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert await live.status(order_id) == "open"
    await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert await live.status(order_id) == "cancelled"


async def test_an_order_does_not_end_before_all_its_fills_are_here(live: Venue) -> None:
    order_id, _ = await sent(live, Accepted("V1"))
    early = report(order_id, VenueStatus.CANCELLED, 4, filled=7)
    whole = report(order_id, VenueStatus.CANCELLED, 4, 3)
    script = Scripted([Accepted("V1"), early, Accepted("V1"), whole])
    with pytest.raises(Retry):
        await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    assert await live.status(order_id) == "partially_filled"
    await cancel(live.desk(script), item(live, order_id, "order.cancel"))
    (row,) = await live.rows("select status, filled_quantity from orders")
    assert (row["status"], row["filled_quantity"], await held(live)) == ("cancelled", 7, 0)
    await live.is_sound()


async def test_a_cancel_of_an_interrupted_order_makes_its_fate_unknown_and_waits_for_it(live: Venue) -> None:
    placed = await live.order()
    await begun(live, placed.id)
    script = Scripted([Unknown("not shown"), NotFound()])
    with pytest.raises(Retry):
        await cancel(live.desk(script), item(live, placed.id, "order.cancel"))
    assert await live.status(placed.id) == "unknown"
    script.answers = [Accepted("V1"), report(placed.id, VenueStatus.CANCELLED)]
    await cancel(live.desk(script), item(live, placed.id, "order.cancel"))
    assert await live.status(placed.id) == "cancelled"


async def test_an_interrupted_paper_order_that_is_cancelled_never_arrives_later(venue: Venue) -> None:
    placed = await venue.order()
    await begun(venue, placed.id)
    await cancel(venue.desk(), item(venue, placed.id, "order.cancel"))
    late = await resting(venue, placed.id)
    accept = "select paper_accept($1, $2::jsonb)"
    await venue.app.database.pool.execute(accept, venue.tenant_id, late)
    await venue.show(PRICE)
    assert (await venue.status(placed.id), await venue.rows("select 1 from fills")) == ("cancelled", [])
    await venue.is_sound()


async def test_each_change_tells_the_brokers_time_and_ours(live: Venue) -> None:
    order_id, _ = await sent(live, Accepted("V1", at=AT))
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
    assert (script.asked, await live.status(placed.id), await held(live)) == ([], "cancelled", 0)


async def test_a_fill_of_an_order_that_was_taken_back_is_refused(venue: Venue) -> None:
    placed = await venue.order()
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await request_cancel(tx, placed.id, now=datetime.now(UTC))
    await venue.work()
    fill = Fill(placed.id, "1-0", venue.instrument_id, Side.BUY, 10, PRICE, 0, AT)
    assert await record_fill(venue.app.database.pool, venue.tenant_id, fill) == "gone"
    assert await venue.rows("select 1 from fills") == []
    await venue.is_sound()
