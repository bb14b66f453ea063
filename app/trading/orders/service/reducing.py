"""Decides how an exit at a live broker is brought down to what the other one of its pair has left to trade.

By a change where the broker takes one; else it is taken back, and another takes its place once that is certain. The
position is never covered twice: what cannot be told is asked again.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import asyncpg

from app.infra.work.runner import Item, Retry
from app.kernel.money import parse_scaled
from app.kernel.orders import OrderStatus
from app.trading.brokers.ports import Broker, BrokerOrder, Change, Outcome, Rejected, Report
from app.trading.orders.service.adopting import adopt
from app.trading.orders.service.outcomes import ask, broker_order, read_state
from app.trading.orders.service.resolving import pause

REPLACED = "another exit takes its place"
_EXCESS = "select rest, quantity from orders_excess($1, $2)"
_SETTLE = "select orders_settle_pair($1, $2)"
_REDUCED = "select orders_reduced($1, $2, $3)"
_TO_BE_REPLACED = "select orders_to_be_replaced($1, $2)"
_REPLACE = "select orders_replace_exit($1, $2, $3)"

TakeBack = Callable[[BrokerOrder, str], Awaitable[None]]
"""Sees an order end for a reason; raises `Retry` until it has."""


async def reduce_exit(
    pool: asyncpg.Pool, broker: Broker, item: Item, *, clock: Callable[[], datetime], take_back: TakeBack
) -> None:
    """Bring the order of `item` down. Raises `Retry` until the broker has less of it, or nothing."""
    order_id = UUID(item.payload["order_id"])
    state = await read_state(pool, item.tenant_id, order_id)
    assert state is not None  # orders are never deleted
    order, status = broker_order(item.tenant_id, state), OrderStatus(state["order"]["status"])
    excess = await pool.fetchrow(_EXCESS, item.tenant_id, order_id)
    if excess is None:
        await pool.execute(_REPLACE, item.tenant_id, order_id, REPLACED)
    elif excess["rest"] == 0:
        return  # its cancel is a row of its own
    elif status is OrderStatus.ACCEPTED:
        await pool.execute(_SETTLE, item.tenant_id, order_id)
    elif status in (OrderStatus.SUBMITTING, OrderStatus.UNKNOWN):
        raise Retry(pause(item.attempts), "the broker has not shown yet whether it has the order")
    else:
        if isinstance(await _change(pool, broker, order, excess["quantity"], received_at=clock()), Rejected):
            await pool.execute(_TO_BE_REPLACED, item.tenant_id, order_id)
            await take_back(order, REPLACED)
            await pool.execute(_REPLACE, item.tenant_id, order_id, REPLACED)
        elif await pool.fetchrow(_EXCESS, item.tenant_id, order_id) is not None:
            raise Retry(pause(item.attempts), "the broker has not shown the reduced order yet")


async def _change(
    pool: asyncpg.Pool, broker: Broker, order: BrokerOrder, wanted: int, *, received_at: datetime
) -> Outcome:
    """What the broker said of the change; whether it shows it is recorded."""
    outcome: Outcome = Rejected("it takes no changes")
    if broker.capabilities.modify:
        outcome = await ask(broker.modify(order, Change(quantity=wanted)), order.order_id)
    found = await ask(broker.find(order), order.order_id)
    if isinstance(found, Report):
        await adopt(pool, order, found, received_at=received_at)
        if parse_scaled(found.quantity, order.qty_exp, param="quantity") == wanted:
            await pool.execute(_REDUCED, order.tenant_id, order.order_id, wanted)
    return outcome
