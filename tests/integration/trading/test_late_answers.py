"""What a broker says late of a change is of the one that was sent, and of no other that was asked for meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest

from app.infra.work.runner import Retry
from app.kernel.orders import OrderType
from app.trading.brokers.ports import Accepted, BrokerOrder, Change, Rejected, Report, Throttled, VenueStatus
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.asking import modify
from app.trading.orders.service.changes import change_done, change_refused
from app.trading.orders.service.executing import submit
from app.trading.orders.service.outcomes import broker_order, read_state
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.scripted import Scripted, change, held, item, report, told

CAN_CHANGE = replace(Scripted([]).capabilities, modify=True)


@dataclass
class Late(Scripted):
    """A broker that does what it is asked at once, and says so only after what happens meanwhile."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def modify(self, order: BrokerOrder, change: Change) -> Any:
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super().modify(order, change)


def _shown(order_id: UUID, quantity: int) -> Report:
    return replace(report(order_id, VenueStatus.OPEN), quantity=str(quantity), limit_price="20.00")


async def _live(venue: Venue) -> UUID:
    """An order for 10 at 20.00 that works at a live broker."""
    placed = await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE)
    await submit(venue.desk(Scripted([Accepted("V1")])), item(venue, placed.id))
    return placed.id


async def _heard(venue: Venue, order_id: UUID, news: Report) -> None:
    """The listener reads the book."""
    state = await read_state(venue.app.database.pool, venue.tenant_id, order_id)
    assert state is not None
    await adopt(venue.app.database.pool, broker_order(venue.tenant_id, state), news, received_at=AT)


async def _overtaken(venue: Venue, *answers: Any) -> tuple[UUID, Late]:
    """The change to 12 is answered so after the listener has adopted it and the client has asked for 15."""
    order_id = await _live(venue)
    await change(venue, order_id, quantity=12)

    async def meanwhile() -> None:
        await _heard(venue, order_id, _shown(order_id, 12))
        await change(venue, order_id, quantity=15)

    script = Late([*answers, *_stale(order_id, answers)], capabilities=CAN_CHANGE, meanwhile=meanwhile)
    try:
        await modify(venue.desk(script), item(venue, order_id, "order.modify"))
    except Retry:
        assert isinstance(answers[0], Throttled)
    return order_id, script


def _stale(order_id: UUID, answers: tuple[Any, ...]) -> list[Report]:
    """What the question after a refusal is answered with: a book that lags behind."""
    return [_shown(order_id, 10)] if isinstance(answers[0], Rejected) else []


async def _row(venue: Venue, order_id: UUID) -> dict[str, Any]:
    sql = "select quantity, hold_minor, pending_change->>'quantity' as asked from orders where id = :id"
    return (await venue.rows(sql, id=order_id))[0]


@pytest.mark.parametrize("answer", [Accepted("V1"), Rejected("nothing to change"), Throttled(1.0)])
async def test_a_late_answer_leaves_the_change_that_was_not_sent_as_it_is(live: Venue, answer: Any) -> None:
    order_id, _ = await _overtaken(live, answer)
    row = await _row(live, order_id)
    assert (row["quantity"], row["asked"]) == (12, "15")
    assert await held(live) > row["hold_minor"], "what the second change costs more stays reserved"
    assert [what for what in await told(live, order_id) if what.startswith("modif")] == ["modified"]
    await live.is_sound()


@pytest.mark.parametrize(
    ("answers", "quantity", "last"), [((Accepted("V1"),), 15, "modified"), ((Rejected("no"),), 12, "modify_rejected")]
)
async def test_the_change_that_was_not_sent_is_sent_next_and_becomes_what_is_said_of_it(
    live: Venue, answers: tuple[Any, ...], quantity: int, last: str
) -> None:
    order_id, _ = await _overtaken(live, Accepted("V1"))
    script = Scripted([*answers, _shown(order_id, 12)], capabilities=CAN_CHANGE)
    await modify(live.desk(script), item(live, order_id, "order.modify"))
    assert script.asked[0] == "modify"
    row = await _row(live, order_id)
    assert (row["quantity"], row["asked"], await held(live)) == (quantity, None, row["hold_minor"])
    assert (await told(live, order_id))[-1] == last
    await live.is_sound()


async def test_a_report_that_was_read_before_a_change_was_done_says_nothing_of_the_next(live: Venue) -> None:
    """Two who adopt the same book: the second is late."""
    order_id = await _live(live)
    await change(live, order_id, quantity=12)
    pool = live.app.database.pool
    state = await read_state(pool, live.tenant_id, order_id)
    assert state is not None
    order, seen = broker_order(live.tenant_id, state), state["order"]["pending_change"]
    await change_done(pool, order, seen)
    await change(live, order_id, quantity=15)
    assert not await change_done(pool, order, seen)
    assert not await change_refused(pool, order, seen, "no")
    assert (await _row(live, order_id))["asked"] == "15"
