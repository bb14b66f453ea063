"""Send an order and take it back: intent committed, call, outcome committed; never a transaction across the call."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from app.infra.process import App
from app.infra.work.runner import Handler, Item
from app.kernel.orders import OrderStatus, OrderType, Product, Side, Validity
from app.trading.brokers.ports import Accepted, Broker, BrokerOrder, Outcome, Rejected, Unknown
from app.trading.orders.domain import sources
from app.trading.orders.service.leaving import exit_position
from app.trading.paper.service import PaperBroker

log = structlog.get_logger(__name__)
_TRANSITION = "select orders_transition($1, $2, $3, $4, $5, $6, $7::jsonb)"


def handlers(app: App) -> dict[str, Handler]:
    """What the queue `execution` runs, by kind of work."""
    brokers: dict[str, Broker] = {"paper": PaperBroker(app.database.pool, app.stream)}
    pool = app.database.pool

    async def submit_order(item: Item) -> None:
        await submit(pool, brokers, item)

    async def cancel_order(item: Item) -> None:
        await cancel(pool, brokers, item)

    async def leave_position(item: Item) -> None:
        await exit_position(app, item)

    return {
        "order.submit": Handler(submit_order),
        "order.cancel": Handler(cancel_order, never_dies=True),
        "position.exit": Handler(leave_position, never_dies=True),
    }


async def submit(pool: asyncpg.Pool, brokers: Mapping[str, Broker], item: Item) -> None:
    """Send one accepted order. An order found `submitting` was interrupted: the broker is asked, not told again,
    unless the broker is sure that it has never had it and an order there is idempotent (paper)."""
    order_id = UUID(item.payload["order_id"])
    state = await _begin(pool, item.tenant_id, order_id, item.fence)
    if state is None:
        raise LookupError(f"order {order_id} is gone")
    order, broker_name = broker_order(item.tenant_id, state), state["order"]["broker"]
    broker = brokers[broker_name]
    if state["begun"]:
        outcome = await _ask(broker.submit, order)
    elif state["order"]["status"] == OrderStatus.SUBMITTING:
        outcome = await _ask(broker.find, order)
        if isinstance(outcome, Rejected):
            outcome = await _ask(broker.submit, order) if broker_name == "paper" else Unknown("not found yet")
    else:
        return
    await _record(pool, item.tenant_id, order_id, outcome)


async def cancel(pool: asyncpg.Pool, brokers: Mapping[str, Broker], item: Item) -> None:
    """Take an order back, wherever it is. One that is filled meanwhile stays filled."""
    order_id = UUID(item.payload["order_id"])
    if await _transition(pool, item.tenant_id, order_id, OrderStatus.CANCELLED, frm=["accepted"], reason="requested"):
        return
    state = await _begin(pool, item.tenant_id, order_id, item.fence)
    if state is None or state["order"]["status"] not in ("open", "partially_filled", "unknown"):
        return
    order = broker_order(item.tenant_id, state)
    outcome = await _ask(brokers[state["order"]["broker"]].cancel, order)
    if isinstance(outcome, Unknown):
        raise RuntimeError(f"the broker did not answer the cancel: {outcome.reason}")
    if isinstance(outcome, Accepted):
        await _transition(
            pool,
            item.tenant_id,
            order_id,
            OrderStatus.CANCELLED,
            frm=["open", "partially_filled", "unknown"],
            reason="requested",
        )


async def _begin(pool: asyncpg.Pool, tenant_id: UUID, order_id: UUID, fence: int) -> dict[str, Any] | None:
    found = await pool.fetchval("select orders_begin($1, $2, $3)", tenant_id, order_id, fence)
    return None if found is None else json.loads(found)


async def _ask(call: Any, order: BrokerOrder) -> Outcome:
    try:
        outcome: Outcome = await call(order)
    except Exception as error:
        log.error("broker.call_failed", order=str(order.order_id), exc_info=error)
        return Unknown(f"the broker did not answer: {type(error).__name__}")  # what it said is for us, in the log
    return outcome


async def _record(pool: asyncpg.Pool, tenant_id: UUID, order_id: UUID, outcome: Outcome) -> None:
    match outcome:
        case Accepted(venue_order_id):
            await _transition(pool, tenant_id, order_id, OrderStatus.OPEN, venue_order_id=venue_order_id)
        case Rejected(reason):
            await _transition(pool, tenant_id, order_id, OrderStatus.REJECTED, reason=reason)
        case Unknown(reason):
            await _transition(pool, tenant_id, order_id, OrderStatus.UNKNOWN, reason=reason)


async def expire(pool: asyncpg.Pool, tenant_id: UUID, order_id: UUID, reason: str) -> None:
    """The venue let the order lapse."""
    await _transition(pool, tenant_id, order_id, OrderStatus.EXPIRED, reason=reason)


async def _transition(
    pool: asyncpg.Pool,
    tenant_id: UUID,
    order_id: UUID,
    to: OrderStatus,
    *,
    frm: list[str] | None = None,
    venue_order_id: str | None = None,
    reason: str | None = None,
) -> bool:
    event = json.dumps({"reason": reason} if reason else {})
    allowed = sources(to) if frm is None else frm
    moved = await pool.fetchval(_TRANSITION, tenant_id, order_id, allowed, to.value, venue_order_id, reason, event)
    return moved is not None


def broker_order(tenant_id: UUID, state: Mapping[str, Any]) -> BrokerOrder:
    """The broker's view of an order that `orders_begin` answered."""
    order, account, instrument = state["order"], state["account"], state["instrument"]
    return BrokerOrder(
        tenant_id=tenant_id,
        order_id=UUID(order["id"]),
        account_id=UUID(order["account_id"]),
        tag=order["broker_tag"],
        feed=order["feed"],
        instrument_id=UUID(order["instrument_id"]),
        symbol=instrument["symbol"],
        venue=instrument["venue"],
        side=Side(order["side"]),
        order_type=OrderType(order["order_type"]),
        product=Product(order["product"]),
        validity=Validity(order["validity"]),
        quantity=order["quantity"],
        limit_price=order["limit_price"],
        tick=instrument["tick"],
        slippage_bps=account["slippage_bps"],
    )
