"""Decides what becomes of an order whose fate is unknown: its broker is asked until it shows the order or has denied
it for longer than any order was ever hidden. It is never sent again.
"""

from datetime import datetime, timedelta

import asyncpg
import structlog

from app.infra.work.runner import Retry
from app.kernel.orders import OrderStatus
from app.trading.brokers.ports import Broker, BrokerOrder, NotFound, Report, SessionExpired, Throttled
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.outcomes import ask, broker_order, move, read_state

LOGIN_SECONDS = 30
"""Between two questions to a broker that wants a login first."""

LONGEST_SECONDS = 15
ENDED = "its session or contract ended and the broker no longer shows the order"
LOST = "the broker has not shown the order; look there before it is placed again"
log = structlog.get_logger(__name__)


def pause(attempts: int) -> int:
    """Seconds between two questions: one at first, 15 at last."""
    return min(1 << min(attempts - 1, 4), LONGEST_SECONDS)


async def resolve(
    pool: asyncpg.Pool,
    broker: Broker,
    order: BrokerOrder,
    *,
    attempts: int,
    now: datetime,
    deadline: timedelta,
) -> None:
    """Ask once about an order that is `unknown`. Raises `Retry` while its fate stays so."""
    state = await read_state(pool, order.tenant_id, order.order_id)
    if state is None or state["order"]["status"] != OrderStatus.UNKNOWN:
        return
    order = broker_order(order.tenant_id, state)
    found = await ask(broker.find(order), order.order_id)
    if isinstance(found, NotFound) and broker.capabilities.sure:
        await ask(broker.cancel(order), order.order_id)  # it arrives no more, should it still be under way
        found = await ask(broker.find(order), order.order_id)
    match found:
        case Report():
            await adopt(pool, order, found, received_at=now, reason="it was interrupted on its way")
            return
        case NotFound():
            if order.venue_order_id is not None and await session_over(pool, order):
                await move(pool, order, OrderStatus.EXPIRED, frm=["unknown"], reason=ENDED, received_at=now)
                return
            since = datetime.fromisoformat(state["order"]["unknown_since"])
            if now - since >= deadline:
                if await move(pool, order, OrderStatus.LOST, reason=LOST, received_at=now):
                    log.error("order.lost", order=str(order.order_id), tenant=str(order.tenant_id))
                return
            raise Retry(pause(attempts), "the broker does not show the order")
        case SessionExpired():
            raise Retry(LOGIN_SECONDS, "the broker's session has ended")
        case Throttled(seconds):
            raise Retry(max(seconds, pause(attempts)), "the broker answers no more questions just now")
    raise Retry(pause(attempts), found.reason)


async def session_over(pool: asyncpg.Pool, order: BrokerOrder) -> bool:
    """Whether the order was for a session that has ended on its feed's clock: brokers forget it overnight."""
    over: bool = await pool.fetchval("select orders_session_over($1, $2)", order.tenant_id, order.order_id)
    return over
