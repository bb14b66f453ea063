"""Change an order that works: decided and paid for first, then asked for; what the broker says of it is done here."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from sqlalchemy import text

from app.infra.database import Tx
from app.infra.work.runner import Item, Retry
from app.kernel.errors import DomainError, Kind, conflict
from app.kernel.orders import OrderStatus, Product, Side, Validity
from app.trading.brokers.ports import (
    Accepted,
    Broker,
    BrokerOrder,
    Change,
    Rejected,
    Report,
    SessionExpired,
    Throttled,
    Updates,
)
from app.trading.orders.domain import PlaceOrder, check_form, decide, estimate, kind_of
from app.trading.orders.domain.changing import (
    CHANGEABLE,
    ChangeOrder,
    check_changeable,
    hold_left,
    hold_of_whole,
    wants_more,
    without,
)
from app.trading.orders.domain.grouping import check_change
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.changes import change_done, change_in_book, change_refused, shows
from app.trading.orders.service.kinds import kinds
from app.trading.orders.service.outcomes import ask, broker_order, read_state
from app.trading.orders.service.placing import gathered
from app.trading.orders.service.reading import get_order
from app.trading.orders.service.resolving import LOGIN_SECONDS, pause
from app.trading.orders.tables import Order
from app.trading.risk.service import rules

if TYPE_CHECKING:
    from app.trading.orders.service.executing import Desk

_TURN = text("SELECT accounts_advance_beside(:account)")
_ASK = text("SELECT orders_ask_change(:order, :filled, CAST(:change AS jsonb))")


async def order_to_change(tx: Tx, order_id: UUID) -> Order:
    """The order, which nobody else can touch until the transaction ends. Raises `order_not_found`."""
    order = await get_order(tx, order_id)
    await tx.execute(_TURN, {"account": order.account_id})
    await tx.session.refresh(order)
    return order


async def request_change(tx: Tx, order: Order, change: ChangeOrder) -> Order:
    """Ask the broker for it, ahead of what waits in the account's lane; until it answers, `pending_change` says so.

    What asks for more is decided by every rule and reserved first. Raises what is wrong by form, `nothing_to_change`,
    `order_not_changeable`, `change_pending`, `quantity_filled`, and `change_denied` with what the rules said.
    """
    before = _command(order)
    kind = kind_of(before, kinds())
    check_changeable(order.status, order.pending_change, before, kind)
    check_change(order.leg, change.quantity)
    after = change.applied(before)
    if after.quantity <= order.filled_quantity:
        raise conflict("quantity_filled", "As much as that is filled already; cancel what is left.", param="quantity")
    held = hold_left(order.hold_minor, quantity=order.quantity, filled=order.filled_quantity)
    context = without(await gathered(tx, after), before, filled=order.filled_quantity, held=held)
    moved = after.trigger_price != before.trigger_price
    form = context if moved else replace(context, last_price=None)  # a stop that was set off may stay so
    check_form(after, form, kinds(), mode=tx.principal.mode if tx.principal else None)
    rest = replace(after, quantity=after.quantity - order.filled_quantity)
    decision = decide(rest, context, kinds(), rules())
    if decision.reasons and wants_more(before, after):
        said = "; ".join(f"{one.rule} allows {one.limit}, not {one.value}" for one in decision.reasons)
        raise DomainError("change_denied", Kind.CONFLICT, f"The order stays as it was: {said}.")
    cost = estimate(rest, context, kinds())
    needs = (cost.notional_minor or 0) + cost.charges.total if order.side == Side.BUY else 0
    pending = {name: getattr(after, name) for name in CHANGEABLE} | {
        "hold_minor": hold_of_whole(needs, quantity=after.quantity, filled=order.filled_quantity),
        "protected_price": kind.protected_price(after, context) if moved else order.protected_price,
    }
    asked = {"order": order.id, "filled": order.filled_quantity, "change": json.dumps(pending)}
    if not (await tx.execute(_ASK, asked)).scalar_one():
        raise conflict("order_not_changeable", "The order has moved on; read it again.")
    tx.wake("execution")
    await tx.session.refresh(order)
    return order


def _command(order: Order) -> PlaceOrder:
    """What the order asks for now; under an id of its own, since it is decided anew."""
    return PlaceOrder(
        account_id=order.account_id,
        instrument_id=order.instrument_id,
        side=Side(order.side),
        order_type=order.order_type,
        quantity=order.quantity,
        limit_price=order.limit_price,
        product=Product(order.product),
        validity=Validity(order.validity),
        client_order_id=uuid4().hex,
        deployment_id=order.deployment_id,
        algo_id=order.algo_id,
        trigger_price=order.trigger_price,
        market_protection_bps=order.market_protection_bps,
        disclosed_quantity=order.disclosed_quantity,
        validity_minutes=order.validity_minutes,
        parameters=order.parameters,
    )


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
        await change_refused(desk.pool, order, f"the order is {status}")
        return
    broker = desk.broker(state)
    if broker.capabilities.updates is Updates.NONE:
        await change_in_book(desk.pool, order, pending)
    elif not broker.capabilities.modify:
        await change_refused(desk.pool, order, "the broker changes no orders")
    else:
        await _ask(desk, broker, order, pending, item.attempts)


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
        await change_refused(desk.pool, order, outcome.reason)
        return
    raise Retry(pause(attempts), f"the broker did not answer the change: {outcome.reason}")


def _change(order: BrokerOrder, pending: dict[str, Any]) -> Change:
    """Only what differs."""
    wanted = {name: pending[name] for name in CHANGEABLE if pending[name] != getattr(order, name)}
    moved = pending["protected_price"] != order.protected_price
    return Change(**wanted, protected_price=pending["protected_price"] if moved else None)
