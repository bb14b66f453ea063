"""Orders of unknown fate: asked for, never sent again, lost in the end, taken back or adopted when they appear."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.infra.work.runner import Retry
from app.kernel.orders import Side
from app.trading.brokers.ports import (
    Accepted,
    NotFound,
    Rejected,
    SessionExpired,
    Throttled,
    Unknown,
    VenueStatus,
)
from app.trading.orders.service.executing import cancel, resolve_unknown, submit
from app.trading.orders.service.outcomes import broker_order, read_state, record
from tests.integration.trading.conftest import Venue
from tests.integration.trading.scripted import (
    Answer,
    Scripted,
    begun,
    held,
    item,
    later,
    lost,
    report,
    sent,
    told,
)


async def test_a_lost_order_that_was_to_be_cancelled_is_taken_back_when_it_appears(live: Venue) -> None:
    order_id, _ = await lost(live)
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
    order_id, _ = await sent(live, Unknown("?"))
    await resolve_unknown(live.desk(Scripted([report(order_id, *found)])), item(live, order_id, "order.resolve"))
    assert await live.status(order_id) == status
    await live.is_sound()


@pytest.mark.parametrize("found", [NotFound(), Unknown("?"), Throttled(1.0), SessionExpired(), TimeoutError()])
async def test_an_unknown_order_stays_so_until_the_broker_shows_it(live: Venue, found: Answer) -> None:
    order_id, _ = await sent(live, Unknown("?"))
    with pytest.raises(Retry):
        await resolve_unknown(live.desk(Scripted([found])), item(live, order_id, "order.resolve"))
    assert (await live.status(order_id), await held(live) > 0) == ("unknown", True)


@pytest.mark.parametrize("found", [Unknown("?"), Throttled(1.0), SessionExpired()])
async def test_a_broker_that_does_not_answer_makes_no_order_lost(live: Venue, found: Answer) -> None:
    order_id, _ = await sent(live, Unknown("?"))
    with pytest.raises(Retry):
        await resolve_unknown(later(live, Scripted([found]), 3600), item(live, order_id, "order.resolve"))
    assert await live.status(order_id) == "unknown"


async def test_an_order_is_lost_only_after_the_longest_time_that_one_was_hidden(live: Venue) -> None:
    order_id, _ = await sent(live, Unknown("?"))
    work = item(live, order_id, "order.resolve")
    with pytest.raises(Retry):
        await resolve_unknown(later(live, Scripted([NotFound()]), 91), work)
    await resolve_unknown(later(live, Scripted([NotFound()]), 181), work)
    assert (await live.status(order_id), await held(live)) == ("lost", 0)
    again = Scripted([])
    for kind in ("order.resolve", "order.submit"):
        await (resolve_unknown if kind == "order.resolve" else submit)(live.desk(again), item(live, order_id, kind))
    assert (again.asked, (await told(live, order_id))[-1]) == ([], "lost")
    await live.is_sound()


async def test_a_paper_order_of_unknown_fate_is_found_or_sure_never_to_arrive(venue: Venue) -> None:
    there, never = await venue.order(), await venue.order()
    await submit(venue.desk(), item(venue, there.id))
    for placed in (there, never):
        if placed is never:
            await begun(venue, placed.id)
        moved = "select orders_transition($1, $2, '{open,submitting}', 'unknown', null, 'x', $3::jsonb)"
        heard = '{"reason": "x", "received_at": "2026-01-01T00:00:00Z"}'
        await venue.app.database.pool.fetchval(moved, venue.tenant_id, placed.id, heard)
        await resolve_unknown(venue.desk(), item(venue, placed.id, "order.resolve"))
    assert [await venue.status(one.id) for one in (there, never)] == ["open", "cancelled"]


async def test_a_late_answer_of_the_sender_never_undoes_what_a_report_said(live: Venue) -> None:
    order_id, _ = await sent(live, Unknown("?"))
    ended = Scripted([report(order_id, VenueStatus.CANCELLED, 4)])
    await resolve_unknown(live.desk(ended), item(live, order_id, "order.resolve"))
    pool = live.app.database.pool
    state = await read_state(pool, live.tenant_id, order_id)
    assert state is not None
    order = broker_order(live.tenant_id, state)
    for late in (Accepted("V1"), Rejected("no"), Unknown("?"), Throttled(1.0), SessionExpired()):
        await record(pool, order, late, received_at=datetime.now(UTC))
        assert await live.status(order_id) == "cancelled"


async def test_what_is_held_can_be_sold_while_a_buys_fate_is_unknown_and_no_more(live: Venue) -> None:
    held, _ = await sent(live, Unknown("?"))
    filled = Scripted([report(held, VenueStatus.FILLED, 10)])
    await resolve_unknown(live.desk(filled), item(live, held, "order.resolve"))
    await sent(live, Unknown("?"))
    exit_, more = [await live.order(side=Side.SELL, quantity=n) for n in (10, 1)]
    assert (exit_.status, [reason.rule for reason in more.reasons]) == ("accepted", ["short_sale"])
