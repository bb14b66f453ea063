"""Decides what a broker's answer to a call makes of an order: one transition, with the broker's time and ours."""

import json
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import structlog

from app.kernel.orders import OrderStatus, OrderType, Product, Side, Validity
from app.kernel.times import format_time
from app.trading.brokers.ports import (
    Accepted,
    BrokerOrder,
    Capabilities,
    Outcome,
    Rejected,
    SessionExpired,
    Throttled,
    Unknown,
)
from app.trading.orders.domain import sources
from app.trading.orders.service.kinds import kinds
from app.trading.paper.domain import Execution, Happening

log = structlog.get_logger(__name__)
_LET_GO = "select orders_let_go($1, $2, $3, $4, $5, $6::jsonb, $7, $8)"
_TRANSITION = "select orders_transition($1, $2, $3, $4, $5, $6, $7::jsonb)"
NO_SESSION = "the broker's session has ended; log in to the broker, then place the order again"
BUSY = "the broker takes no more orders just now"
ASKED_FOR = ("submitting", "unknown", "lost")
"""An order that is there becomes `open` from these: from any other status only a report leads there."""

_ON_ITS_WAY = ("submitting", "unknown")
Answer = TypeVar("Answer")


async def ask(call: Awaitable[Answer], subject: UUID) -> Answer | Unknown:
    """What the broker answers; a failure is no answer. `subject` is named in the log."""
    try:
        return await call
    except Exception as error:
        log.error("broker.call_failed", subject=str(subject), exc_info=error)
        return Unknown(f"the broker did not answer: {type(error).__name__}")  # what it said is for us, in the log


def refusal(can: Capabilities, order: BrokerOrder, *, leads: bool) -> Rejected | None:
    """Why the broker is not even asked. A market order that may live for ever ends at once anyway; not the exits that
    it `leads`, which would be refused when it is filled."""
    if order.order_type not in can.order_types:
        return Rejected(f"the broker takes no {order.order_type} orders")
    endless = order.order_type is OrderType.MARKET and order.validity is Validity.GTC
    if order.validity not in can.validities and (leads or not endless):
        return Rejected(f"the broker takes no orders with validity {order.validity}")
    return None


async def record(pool: asyncpg.Pool, order: BrokerOrder, outcome: Outcome, *, received_at: datetime) -> None:
    """What became of sending `order`. Of an order that the broker did not look at nothing is there."""
    heard: dict[str, Any] = {"received_at": received_at}
    match outcome:
        case Accepted(venue_order_id, at):
            await move(
                pool, order, OrderStatus.OPEN, frm=ASKED_FOR, venue_order_id=venue_order_id, venue_at=at, **heard
            )
        case Rejected(reason):
            await move(pool, order, OrderStatus.REJECTED, frm=_ON_ITS_WAY, reason=reason, **heard)
        case SessionExpired():
            await move(pool, order, OrderStatus.REJECTED, frm=_ON_ITS_WAY, reason=NO_SESSION, **heard)
        case Throttled():
            if not await move(pool, order, OrderStatus.ACCEPTED, frm=["submitting"], reason=BUSY, **heard):
                await move(pool, order, OrderStatus.REJECTED, frm=["unknown"], reason=BUSY, **heard)
        case Unknown(reason):
            await move(pool, order, OrderStatus.UNKNOWN, frm=["submitting"], reason=reason, **heard)


async def expire(pool: asyncpg.Pool, tenant_id: UUID, order_id: UUID, reason: str, *, venue_at: datetime) -> None:
    """The paper venue lets a resting order lapse: at once there and here, or, where it does not rest, neither."""
    event = json.dumps({"reason": reason, "venue_at": format_time(venue_at)})
    what = (tenant_id, order_id, None, OrderStatus.EXPIRED, reason, event, None, None)
    await pool.execute(_LET_GO, *what)


async def let_go(pool: asyncpg.Pool, done: Execution) -> None:
    """What the tape did to a resting order that it did not fill: it ends at the paper venue, and so it ends here; or
    it was set off, and rests on."""
    order, at = done.order, format_time(done.at)
    if done.happening is Happening.TRIGGERED:
        at_paper = (order.tenant_id, order.order_id, done.stream_id, done.set_off_by, at)
        await pool.execute("select orders_set_off_at_paper($1, $2, $3, $4, $5)", *at_paper)
        return
    event = json.dumps({"reason": done.reason, "venue_at": at})
    what = (order.tenant_id, order.order_id, done.stream_id, done.happening, done.reason, event, done.set_off_by, at)
    await pool.execute(_LET_GO, *what)


async def move(
    pool: asyncpg.Pool,
    order: BrokerOrder,
    to: OrderStatus,
    *,
    received_at: datetime,
    frm: Sequence[str] | None = None,
    venue_order_id: str | None = None,
    venue_at: datetime | None = None,
    reason: str | None = None,
) -> bool:
    """Whether the order became `to`: it was in one of `frm`, by default in any status that may be followed by `to`."""
    told = {"reason": reason, "venue_at": venue_at and format_time(venue_at), "received_at": format_time(received_at)}
    event = json.dumps({name: value for name, value in told.items() if value is not None})
    allowed = sources(to) if frm is None else list(frm)
    moved = await pool.fetchval(
        _TRANSITION, order.tenant_id, order.order_id, allowed, to.value, venue_order_id, reason, event
    )
    return moved is not None


async def read_state(pool: asyncpg.Pool, tenant_id: UUID, order_id: UUID) -> dict[str, Any] | None:
    """An order with its account and instrument, as it is now."""
    found = await pool.fetchval("select orders_state($1, $2)", tenant_id, order_id)
    return None if found is None else json.loads(found)


def broker_order(tenant_id: UUID, state: Mapping[str, Any]) -> BrokerOrder:
    """The broker's view of an order that `orders_begin` or `orders_state` answered."""
    order, account, instrument = state["order"], state["account"], state["instrument"]
    sent = kinds()[order["order_type"]].at_venue(order)
    expires_at = order["expires_at"]
    return BrokerOrder(
        tenant_id=tenant_id,
        order_id=UUID(order["id"]),
        account_id=UUID(order["account_id"]),
        tag=order["broker_tag"],
        feed=order["feed"],
        instrument_id=UUID(order["instrument_id"]),
        symbol=instrument["symbol"],
        venue=instrument["venue"],
        price_exp=instrument["price_exp"],
        qty_exp=instrument["qty_exp"],
        side=Side(order["side"]),
        order_type=sent.order_type,
        product=Product(order["product"]),
        validity=sent.validity,
        quantity=order["quantity"],
        limit_price=sent.limit_price,
        tick=instrument["tick"],
        slippage_bps=account["slippage_bps"],
        venue_order_id=order["venue_order_id"],
        trigger_price=sent.trigger_price,
        market_protection_bps=order["market_protection_bps"],
        protected_price=order["protected_price"],
        disclosed_quantity=order["disclosed_quantity"],
        validity_minutes=order["validity_minutes"],
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
        reduces=order["reduces"],
    )
