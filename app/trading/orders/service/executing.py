"""Send an order and take it back: intent committed, call, outcome committed; never a transaction across the call."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from app.infra.database import Database
from app.infra.process import App
from app.infra.waiting import few_at_once
from app.infra.work.runner import Handler, Item, Retry
from app.kernel.orders import Leg, OrderStatus
from app.kernel.times import format_time
from app.trading.brokers.ports import (
    Broker,
    BrokerOrder,
    KeepsItsBookHere,
    NotFound,
    Outcome,
    Rejected,
    Report,
    SessionExpired,
    Throttled,
    Unknown,
)
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.asking import modify
from app.trading.orders.service.expiring import expire_order
from app.trading.orders.service.grouping import cancel_family
from app.trading.orders.service.kinds import kinds
from app.trading.orders.service.leaving import exit_position
from app.trading.orders.service.outcomes import BUSY, ask, broker_order, move, read_state, record, refusal
from app.trading.orders.service.reducing import reduce_exit
from app.trading.orders.service.resolving import LOGIN_SECONDS, pause, resolve

REMEMBERED = timedelta(days=1)
"""How long a cancel waits for an order that is lost: should it appear, it is taken back."""

LOST_SECONDS = 5
log = structlog.get_logger(__name__)
_REST = "select * from orders_rest_each($1, $2, $3, $4, $5::jsonb, $6::jsonb)"
PAPER = "paper"
"""The broker whose orders rest in our database."""

TOGETHER = 50
"""Orders of one transaction: their accounts are locked as long."""

AT_ONCE = 2
"""Such transactions of one drain: they are work for the database, not waiting."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Who executes, and by which clock. `deadline`: how long an order may stay hidden before it is lost.

    `send_within`: the time between an order's turn and its sending. A process that stood still for longer may have lost
    its lane meanwhile.
    """

    database: Database
    brokers: Mapping[str, Broker]
    clock: Callable[[], datetime]
    deadline: timedelta
    send_within: timedelta = timedelta(seconds=10)

    @property
    def pool(self) -> asyncpg.Pool:
        return self.database.pool

    def broker(self, state: Mapping[str, Any]) -> Broker:
        """Raises `LookupError` when this process has no such broker."""
        name: str = state["order"]["broker"]
        if name not in self.brokers:
            raise LookupError(f"this process has no broker {name!r}")
        return self.brokers[name]


def open_desk(app: App, brokers: Mapping[str, Broker]) -> Desk:
    """The desk of a process."""
    deadline = timedelta(seconds=app.settings.unknown_order_seconds)
    return Desk(app.database, brokers, app.clock, deadline)


def handlers(desk: Desk) -> dict[str, Handler]:
    """What the queue `execution` runs, by kind of work."""

    async def submit_order(item: Item) -> None:
        await submit(desk, item)

    async def submit_orders(items: Sequence[Item]) -> Collection[UUID]:
        return await submit_together(desk, items)

    async def cancel_order(item: Item) -> None:
        await cancel(desk, item)

    async def leave_position(item: Item) -> None:
        await exit_position(desk.database, item, now=desk.clock())

    async def reduce_order(item: Item) -> None:
        await reduce(desk, item)

    async def modify_order(item: Item) -> None:
        await modify(desk, item)

    async def resolve_order(item: Item) -> None:
        await resolve_unknown(desk, item)

    async def end_order(item: Item) -> None:
        await expire_order(desk.pool, desk.broker, item, now=desk.clock())

    return {
        "order.submit": Handler(submit_order, together=submit_orders),
        "order.protect": Handler(submit_order, never_dies=True),
        "order.cancel": Handler(cancel_order, never_dies=True),
        "order.reduce": Handler(reduce_order, never_dies=True),
        "order.modify": Handler(modify_order, never_dies=True),
        "position.exit": Handler(leave_position, never_dies=True),
        "order.resolve": Handler(resolve_order, never_dies=True),
        "order.expire": Handler(end_order, never_dies=True),
    }


async def submit(desk: Desk, item: Item) -> None:
    """Send one accepted order. An order found `submitting` was interrupted: its fate is unknown, and it is not sent
    again unless its broker is sure that one sent twice it has once. Raises `Retry` when the broker was too busy."""
    began = desk.clock()
    order_id = UUID(item.payload["order_id"])
    found = await desk.pool.fetchval("select orders_begin($1, $2, $3)", item.tenant_id, order_id, item.fence)
    if found is None:
        raise LookupError(f"order {order_id} is gone")
    state = json.loads(found)
    order, name = broker_order(item.tenant_id, state), state["order"]["broker"]
    if state["begun"]:
        outcome = await _send(desk, name, order, began, leads=state["order"]["leg"] == Leg.ENTRY)
    elif state["order"]["status"] == OrderStatus.SUBMITTING:
        broker = desk.broker(state)
        interrupted = Unknown("it was interrupted on its way")
        outcome = await ask(broker.submit(order), order_id) if broker.capabilities.sure else interrupted
    else:
        return
    await record(desk.pool, order, outcome, received_at=desk.clock())
    if isinstance(outcome, Throttled):
        raise Retry(outcome.seconds, BUSY)


async def submit_together(desk: Desk, items: Sequence[Item]) -> set[UUID]:
    """Send what can be sent of many orders in a few calls. The ids of the items that are done; the rest is for
    `submit`."""
    book = desk.brokers.get(PAPER)
    turns = sorted((item for item in items if "feed" in item.payload), key=lambda item: item.tenant_id)
    if not isinstance(book, KeepsItsBookHere) or not turns:
        return set()
    batches = [turns[start : start + TOGETHER] for start in range(0, len(turns), TOGETHER)]
    done: set[UUID] = set()
    for answer in await few_at_once(AT_ONCE, [partial(_rest, desk, book, batch) for batch in batches]):
        if isinstance(answer, BaseException):
            log.error("orders.not_together", exc_info=answer)
        else:
            done |= answer
    return done


async def _rest(desk: Desk, book: KeepsItsBookHere, items: Sequence[Item]) -> set[UUID]:
    after = {feed: await book.last_entry(feed) for feed in {item.payload["feed"] for item in items}}
    asked = {UUID(item.payload["order_id"]): item for item in items}
    turns = [item.tenant_id for item in items], list(asked), [item.fence for item in items]
    types = [name for name, kind in kinds().items() if kind.rests_as_asked]
    event = json.dumps({"received_at": format_time(desk.clock())})
    rows = await desk.pool.fetch(_REST, *turns, types, json.dumps(after), event)
    return {asked[row[0]].id for row in rows}


async def _send(desk: Desk, name: str, order: BrokerOrder, began: datetime, *, leads: bool) -> Outcome:
    broker = desk.brokers.get(name)
    if broker is None:
        return Rejected(f"the broker {name} is not connected here")
    if desk.clock() - began > desk.send_within:
        return Unknown("its turn was over before it was sent")
    if refused := refusal(broker.capabilities, order, leads=leads):
        return refused
    return await ask(broker.submit(order), order.order_id)


async def cancel(desk: Desk, item: Item) -> None:
    """Take an order back, wherever it is, and see it end. One that is filled meanwhile stays filled. Raises `Retry`
    until it has ended: a cancel is never lost, and an order that appears later than its cancel is taken back then."""
    order_id, reason = UUID(item.payload["order_id"]), item.payload.get("reason", "requested")
    state = await read_state(desk.pool, item.tenant_id, order_id)
    if state is None or await cancel_family(desk.pool, item.tenant_id, state["order"]):
        return
    order, now = broker_order(item.tenant_id, state), desk.clock()
    if await move(desk.pool, order, OrderStatus.CANCELLED, frm=["waiting", "accepted"], reason=reason, received_at=now):
        return
    state = await read_state(desk.pool, item.tenant_id, order_id)  # its turn may have come meanwhile
    assert state is not None  # orders are never deleted
    order, status = broker_order(item.tenant_id, state), OrderStatus(state["order"]["status"])
    if status is OrderStatus.ACCEPTED:
        raise Retry(pause(item.attempts), "the order waits to be sent again")
    if status is OrderStatus.LOST:
        if now - datetime.fromisoformat(state["order"]["updated_at"]) < REMEMBERED:
            raise Retry(LOST_SECONDS, "the order is lost; should it appear, it is taken back")
        return
    if status is OrderStatus.SUBMITTING:  # its lane is ours: whoever was sending it is gone
        await move(
            desk.pool, order, OrderStatus.UNKNOWN, frm=[status], reason="it was interrupted on its way", received_at=now
        )
    elif status not in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED, OrderStatus.UNKNOWN):
        return
    await _take_back(desk, desk.broker(state), order, item.attempts, reason)


async def _take_back(desk: Desk, broker: Broker, order: BrokerOrder, attempts: int, reason: str) -> None:
    """Ask the broker to cancel, then what the order has become. Only an order that has ended there is done."""
    outcome = await ask(broker.cancel(order), order.order_id)
    found = await ask(broker.find(order), order.order_id)
    match found:
        case Report():
            done = await adopt(desk.pool, order, found, received_at=desk.clock(), reason=reason)
            if done and found.status.ended:
                return
            refused = f": {outcome.reason}" if isinstance(outcome, Rejected) else ""
            raise Retry(pause(attempts), f"the order is still {found.status} at the broker{refused}")
        case NotFound():
            raise Retry(pause(attempts), "the broker does not show the order that is to be cancelled")
        case SessionExpired():
            raise Retry(LOGIN_SECONDS, "the broker's session has ended")
        case Throttled(seconds):
            raise Retry(max(seconds, pause(attempts)), "the broker answers no more questions just now")
    raise Retry(pause(attempts), f"the broker did not answer the cancel: {found.reason}")


async def reduce(desk: Desk, item: Item) -> None:
    """Bring an exit at a broker down to what its pair has left. Raises `Retry` until that is certain."""
    state = await read_state(desk.pool, item.tenant_id, UUID(item.payload["order_id"]))
    assert state is not None  # orders are never deleted
    broker = desk.broker(state)

    async def take_back(order: BrokerOrder, reason: str) -> None:
        await _take_back(desk, broker, order, item.attempts, reason)

    await reduce_exit(desk.pool, broker, item, clock=desk.clock, take_back=take_back)


async def resolve_unknown(desk: Desk, item: Item) -> None:
    """Ask about one order whose fate is unknown. Raises `Retry` while it stays so."""
    state = await read_state(desk.pool, item.tenant_id, UUID(item.payload["order_id"]))
    if state is not None:
        order = broker_order(item.tenant_id, state)
        await resolve(
            desk.pool,
            desk.broker(state),
            order,
            attempts=item.attempts,
            now=desk.clock(),
            deadline=desk.deadline,
        )
