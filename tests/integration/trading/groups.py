"""What tests of grouped orders ask of a venue."""

from typing import Any
from uuid import UUID, uuid4

from app.kernel.orders import Fill, Leg, OrderClass, OrderType, Side
from app.trading.orders.domain import Exit
from app.trading.orders.service import PlacedOrder
from app.trading.orders.service.filling import record_fill
from tests.integration.trading.conftest import AT, PRICE, Venue

TARGET = Exit(Leg.TARGET, PRICE + 1_000)
STOP = Exit(Leg.STOP, None, PRICE - 1_000)
COVER, STOP_ABOVE = Exit(Leg.TARGET, PRICE - 1_000), Exit(Leg.STOP, None, PRICE + 1_000)
"""Of a short position."""


async def bracket(venue: Venue, **changes: Any) -> PlacedOrder:
    """An entry for 10 at the limit of 20.00, with a target at 20.10 and a stop at 19.90."""
    asked: dict[str, Any] = {
        "order_class": OrderClass.BRACKET,
        "order_type": OrderType.LIMIT,
        "limit_price": PRICE,
        "exits": (TARGET, STOP),
    }
    return await venue.order(**asked | changes)


async def fill(venue: Venue, order_id: UUID, quantity: int, *, price: int = PRICE, name: str | None = None) -> str:
    """Record a fill as a broker tells it."""
    (order,) = await venue.rows("select side from orders where id = :id", id=order_id)
    told = Fill(order_id, name or uuid4().hex, venue.instrument_id, Side(order["side"]), quantity, price, 0, AT)
    return await record_fill(venue.app.database.pool, venue.tenant_id, told)


async def family(venue: Venue, parent: UUID) -> list[dict[str, Any]]:
    """The children, the first first."""
    return await venue.rows("select * from orders where parent_id = :id order by created_at, id", id=parent)


async def exits(venue: Venue, parent: UUID) -> list[tuple[str, str, int, int]]:
    """Leg, status, quantity and what is filled of each exit, in their order."""
    return [(one["leg"], one["status"], one["quantity"], one["filled_quantity"]) for one in await family(venue, parent)]


async def work_of(venue: Venue, order_id: UUID) -> list[tuple[str, int]]:
    """Kind and priority of the rows of work that wait for an order."""
    rows = await venue.rows(
        "select kind, priority from work_items where state = 'ready' and payload->>'order_id' = :id order by sequence",
        id=str(order_id),
    )
    return [(row["kind"], row["priority"]) for row in rows]


async def held(venue: Venue) -> int:
    """Units of the instrument that the account holds."""
    rows = await venue.rows(
        "select coalesce(sum(quantity), 0)::bigint as held from positions where account_id = :id", id=venue.account_id
    )
    return int(rows[0]["held"])
