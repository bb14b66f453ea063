"""Ask a broker for a change that was decided, and record what it says of it."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from app.infra.work.runner import Item, Retry
from app.kernel.orders import OrderStatus, Validity
from app.trading.brokers.ports import (
    Accepted,
    Broker,
    BrokerOrder,
    Capabilities,
    Change,
    Rejected,
    Report,
    SessionExpired,
    Throttled,
    Updates,
)
from app.trading.orders.domain.changing import CHANGEABLE
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.changes import change_done, change_in_book, change_refused, shows
from app.trading.orders.service.outcomes import ask, broker_order, read_state
from app.trading.orders.service.resolving import LOGIN_SECONDS, pause

if TYPE_CHECKING:
    from app.trading.orders.service.executing import Desk


async def modify(desk: "Desk", item: Item) -> None:
    """Ask the broker for the change that is pending. It names what the order shall be, not by how much it differs, so
    one that was not answered is looked for and asked for again. Raises `Retry` until it is done or refused."""
    state = await read_state(desk.pool, item.tenant_id, UUID(item.payload["order_id"]))
    if state is None or state["order"]["pending_change"] is None:
        return
    order, pending = broker_order(item.tenant_id, state), state["order"]["pending_change"]
    status = OrderStatus(state["order"]["status"])
    if status is OrderStatus.UNKNOWN:
        raise Retry(pause(item.attempts), "the order's fate is unknown")
    if status not in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED):
        await change_refused(desk.pool, order, pending, f"the order is {status}")
        return
    broker = desk.broker(state)
    if broker.capabilities.updates is Updates.NONE:
        await change_in_book(desk.pool, order, pending)
    elif refused := _refusal(broker.capabilities, pending):
        await change_refused(desk.pool, order, pending, refused)
    else:
        await _ask(desk, broker, order, pending, item.attempts)


def _refusal(can: Capabilities, pending: dict[str, Any]) -> str | None:
    """Why the broker is not even asked."""
    if not can.modify:
        return "the broker changes no orders"
    validity = pending.get("validity")
    if validity is not None and not (can.changes_validity and validity in can.validities):
        return f"the broker changes no order's validity to {validity}"
    return None


async def _ask(desk: "Desk", broker: Broker, order: BrokerOrder, pending: dict[str, Any], attempts: int) -> None:
    outcome = await ask(broker.modify(order, _change(order, pending)), order.order_id)
    match outcome:
        case Accepted():
            await change_done(desk.pool, order, pending)
            return
        case Throttled(seconds):
            raise Retry(max(seconds, pause(attempts)), "the broker takes no more calls just now")
        case SessionExpired():
            raise Retry(LOGIN_SECONDS, "the broker's session has ended")
    found = await ask(broker.find(order), order.order_id)  # an earlier call may have come through, or this one
    if not isinstance(found, Report):
        raise Retry(pause(attempts), f"the broker did not answer the change: {outcome.reason}")
    known = shows(found, order, pending)
    await adopt(desk.pool, order, found, received_at=desk.clock())
    if known:
        return
    if isinstance(outcome, Rejected) or found.status.ended:
        await change_refused(desk.pool, order, pending, outcome.reason)
        return
    raise Retry(pause(attempts), f"the broker did not answer the change: {outcome.reason}")


def _change(order: BrokerOrder, pending: dict[str, Any]) -> Change:
    """Only what differs of what the broker has: the trigger of a stop that was set off here it never had."""
    sent = {name: value for name in CHANGEABLE if (value := getattr(order, name)) is not None}
    wanted = {name: pending[name] for name, value in sent.items() if pending[name] != value}
    if "validity" in pending:
        wanted["validity"] = Validity(pending["validity"])
    moved = pending["protected_price"] != order.protected_price
    return Change(**wanted, protected_price=pending["protected_price"] if moved else None)
