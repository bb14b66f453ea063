"""Decides how a broker's report becomes fills and a status here: facts first, each once, in whatever order they come.

A report is the broker's whole word on an order, not a step: the same one again changes nothing, an older one neither,
and one that was never heard is made good by the next.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

import asyncpg

from app.kernel.money import parse_scaled
from app.kernel.orders import Fill, OrderStatus
from app.kernel.times import format_time
from app.trading.brokers.ports import BrokerOrder, Report, VenueFill, VenueStatus
from app.trading.orders.service.changes import change_done, shows
from app.trading.orders.service.filling import record_fill
from app.trading.orders.service.outcomes import ASKED_FOR, move, read_state

ENDS = {
    VenueStatus.CANCELLED: (OrderStatus.CANCELLED, "cancelled at the broker"),
    VenueStatus.REJECTED: (OrderStatus.REJECTED, "rejected at the broker"),
    VenueStatus.EXPIRED: (OrderStatus.EXPIRED, "expired at the broker"),
    VenueStatus.FILLED: (OrderStatus.CANCELLED, "the broker calls it filled with less"),
}
"""What an order becomes whose fills are all here and do not make it whole."""

_TRIGGERED = "select orders_triggered_there($1, $2, $3)"
_CANCEL_ASKED = "select orders_cancel_asked($1, $2)"
_ENDED = ("cancelled", "rejected", "expired")


async def adopt(
    pool: asyncpg.Pool,
    order: BrokerOrder,
    report: Report,
    *,
    received_at: datetime,
    reason: str | None = None,
    revive: bool = False,
) -> bool:
    """Record what `report` says. True when all of it is recorded: false while fills that it counts are still to come;
    until they are, the order does not end here.

    `reason` says why it ended, else whoever has asked for it to be cancelled, else the broker.
    `revive`: an order that ended here and lives there lives on, which only a report may say that was asked for after
    that end was seen.
    """
    order = await _changed(pool, order, report)
    if order.trigger_price is not None and (report.triggered or report.fills):
        at = format_time(min((fill.at for fill in report.fills), default=report.at or received_at))
        await pool.execute(_TRIGGERED, order.tenant_id, order.order_id, at)
    before = await _status_and_filled(pool, order)
    told = sum(_quantity(order, fill) for fill in report.fills)
    if told > before[1]:
        for fill in report.fills:
            await record_fill(pool, order.tenant_id, _fill(order, fill))
        before = await _status_and_filled(pool, order)
    status, filled = before
    complete = filled >= parse_scaled(report.filled, order.qty_exp, param="filled")
    heard: dict[str, Any] = {
        "venue_order_id": report.venue_order_id,
        "venue_at": report.at,
        "received_at": received_at,
    }
    if filled == order.quantity:
        return True  # the last fill has ended it
    if report.status.ended and complete:
        end, why = ENDS[report.status]
        if status != end:
            if reason is None and report.status is VenueStatus.CANCELLED:  # heard before who cancelled it could say so
                reason = await pool.fetchval(_CANCEL_ASKED, order.tenant_id, order.order_id)
            await move(pool, order, end, reason=reason or report.reason or why, **heard)
        return True
    if status in ASKED_FOR or (revive and status in _ENDED):
        to = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.OPEN
        await move(pool, order, to, frm=[status], **heard)
    return complete and not report.status.ended


async def _changed(pool: asyncpg.Pool, order: BrokerOrder, report: Report) -> BrokerOrder:
    """The order, with the change that the broker was asked for and now shows: its fills are of the changed one."""
    state = await read_state(pool, order.tenant_id, order.order_id)
    assert state is not None  # orders are never deleted
    pending = state["order"]["pending_change"]
    if pending is not None and shows(report, order, pending):
        await change_done(pool, order, pending)
        return replace(order, quantity=pending["quantity"])
    return replace(order, quantity=state["order"]["quantity"])


async def _status_and_filled(pool: asyncpg.Pool, order: BrokerOrder) -> tuple[str, int]:
    state = await read_state(pool, order.tenant_id, order.order_id)
    assert state is not None  # orders are never deleted
    return state["order"]["status"], state["order"]["filled_quantity"]


def _quantity(order: BrokerOrder, fill: VenueFill) -> int:
    return parse_scaled(fill.quantity, order.qty_exp, param="quantity")


def _fill(order: BrokerOrder, fill: VenueFill) -> Fill:
    return Fill(
        order_id=order.order_id,
        venue_fill_id=fill.id,
        instrument_id=order.instrument_id,
        side=order.side,
        quantity=_quantity(order, fill),
        price=parse_scaled(fill.price, order.price_exp, param="price"),
        charges_minor=0,
        occurred_at=fill.at,
    )
