"""Decides how an order ends whose session or contract has: by its broker's last word, and without one it expired.

Brokers clear their books overnight: an order for the day that was there and is shown no more has not been lost. Should
it have filled unheard, the broker's file of trades says so the next morning.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from app.infra.work.runner import Item, Retry
from app.kernel.orders import OrderStatus
from app.trading.brokers.ports import Broker, BrokerOrder, NotFound, Report, SessionExpired, Throttled
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.outcomes import ask, broker_order, expire, move, read_state
from app.trading.orders.service.resolving import ENDED, LOGIN_SECONDS, pause

UNSENT = "its session ended before it was sent"


async def expire_order(
    pool: asyncpg.Pool, broker_of: Callable[[Mapping[str, Any]], Broker], item: Item, *, now: datetime
) -> None:
    """End one order whose time is over. Raises `Retry` until it has ended; one that was never seen at its broker is
    left to whoever asks about orders whose fate is unknown."""
    order_id = UUID(item.payload["order_id"])
    state = await read_state(pool, item.tenant_id, order_id)
    if state is None:
        return
    order = broker_order(item.tenant_id, state)
    if await move(pool, order, OrderStatus.EXPIRED, frm=["accepted"], reason=UNSENT, received_at=now):
        return
    if state["order"]["broker"] == "paper":  # our own book: nobody needs to be asked
        await expire(pool, item.tenant_id, order_id, ENDED, venue_at=now)
        return
    status = state["order"]["status"]
    if status in ("open", "partially_filled") or (status == "unknown" and order.venue_order_id is not None):
        await _end(pool, broker_of(state), order, item.attempts, now=now)


async def _end(pool: asyncpg.Pool, broker: Broker, order: BrokerOrder, attempts: int, *, now: datetime) -> None:
    """One that still works at its broker is taken back there: it may not meet the next session."""
    match found := await ask(broker.find(order), order.order_id):
        case Report():
            if await adopt(pool, order, found, received_at=now, reason=ENDED) and found.status.ended:
                return
            if not found.status.ended:
                await ask(broker.cancel(order), order.order_id)
            raise Retry(pause(attempts), f"the order is still {found.status} at the broker")
        case NotFound():
            frm = ["open", "partially_filled", "unknown"]
            await move(pool, order, OrderStatus.EXPIRED, frm=frm, reason=ENDED, received_at=now)
            return
        case SessionExpired():
            raise Retry(LOGIN_SECONDS, "the broker's session has ended")
        case Throttled(seconds):
            raise Retry(max(seconds, pause(attempts)), "the broker answers no more questions just now")
    raise Retry(pause(attempts), found.reason)
