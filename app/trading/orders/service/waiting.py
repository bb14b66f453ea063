"""Orders that wait with us: the matcher shows them the tape, and the calendar opens their session."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from app.infra.process import App
from app.infra.work.tables import shard_of
from app.kernel.orders import OrderStatus, Side, Validity
from app.kernel.times import format_time
from app.trading.orders.domain.waiting import Turn, Turned, WaitsForPrice, watch
from app.trading.paper.domain import Close, Price

_IN_INSTRUMENT = "select tenant_id, id from waiting_orders where feed = $1 and instrument_id = $2"
_TRANSITION = "select orders_transition($1, $2, '{accepted}', $3, NULL, $4, $5::jsonb)"
_SET_OFF = "select orders_set_off($1, $2, $3, $4, $5, $6)"
_OVER = "select orders_wait_over($1, $2, $3, $4, $5, $6::jsonb)"
_TRAIL = "select orders_trail($1, $2, $3, $4, $5, $6)"


async def show_waiting(app: App, waiting: Sequence[Mapping[str, Any]], tape: Sequence[Price | Close]) -> None:
    """Commit what the tape does to rows of orders that wait, as JSON has them. Shown again, it changes nothing."""
    for turned in watch(map(_waits, waiting), tape):
        if await _record(app.database.pool, turned):
            app.poker.poke("execution", shard_of(turned.order.tenant_id))


async def lapse_waiting(app: App, feed: str, instrument_id: UUID, *, of: Collection[UUID], at: datetime) -> None:
    """A split: the prices and quantities of what waits in the instrument, of these tenants, mean something else now."""
    for row in await app.database.dispatch.fetch(_IN_INSTRUMENT, feed, instrument_id):
        if row["tenant_id"] in of:
            await _lapse(app.database.pool, row["tenant_id"], row["id"], "corporate action", at)


def _waits(row: Mapping[str, Any]) -> WaitsForPrice:
    return WaitsForPrice(
        tenant_id=UUID(row["tenant_id"]),
        order_id=UUID(row["id"]),
        account_id=UUID(row["account_id"]),
        instrument_id=UUID(row["instrument_id"]),
        venue=row["venue"],
        side=Side(row["side"]),
        validity=Validity(row["validity"]),
        trigger_price=row["trigger_price"],
        trail_by=row["trail_by"],
        trail_bps=row["trail_bps"],
        tick=row["tick"],
        seen_to=row["seen_to"],
    )


async def _record(pool: asyncpg.Pool, turned: Turned) -> bool:
    """Whether a row of work was written. What was changed since it was read met no price yet: it is left alone."""
    order, was = turned.order, turned.was
    read = (order.tenant_id, order.order_id, was.seen_to, was.trigger_price)
    match turned.turn:
        case Turn.SENT:
            return bool(await pool.fetchval(_SET_OFF, *read, turned.price, format_time(turned.at)))
        case Turn.OVER:
            reason = "the session ended"
            await pool.execute(_OVER, *read, reason, _ended(reason, turned.at))
        case Turn.MOVED:
            await pool.execute(_TRAIL, *read, order.trigger_price, order.seen_to)
    return False


async def _lapse(pool: asyncpg.Pool, tenant_id: UUID, order_id: UUID, reason: str, at: datetime) -> None:
    await pool.fetchval(_TRANSITION, tenant_id, order_id, OrderStatus.EXPIRED, reason, _ended(reason, at))


def _ended(reason: str, at: datetime) -> str:
    return json.dumps({"reason": reason, "venue_at": format_time(at)})
