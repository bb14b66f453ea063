"""Read orders, their fills and what the rules said of them."""

from typing import Any, cast
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, func, select

from app.infra.database import Tx
from app.kernel.errors import not_found
from app.kernel.ids import encode_id
from app.kernel.orders import TERMINAL
from app.platform.tenancy.ports import Held
from app.trading.orders.tables import FillRow, Order
from app.trading.portfolio.service import count_open
from app.trading.risk.service import decision_findings
from app.web.cursors import Cursor, Slice

_Order = cast(Any, Order)
_Fill = cast(Any, FillRow)
_TAKE_TURNS = text("SELECT accounts_advance_all(NULL)")


async def get_order(tx: Tx, order_id: UUID) -> Order:
    """Raises `order_not_found`, also for another tenant's."""
    order = await tx.get(Order, order_id)
    if order is None:
        raise not_found("order", encode_id("ord", order_id))
    return order


async def list_orders(
    tx: Tx,
    cursor: Cursor,
    *,
    account_id: UUID | None = None,
    deployment_id: UUID | None = None,
    parent_id: UUID | None = None,
    status: str | None = None,
) -> Slice[Order]:
    """Newest first, of the key's mode."""
    statement = select(Order).where(col(Order.tenant_id) == tx.tenant_id)
    if tx.principal is not None:
        statement = statement.where(col(Order.mode) == tx.principal.mode.value)
    for column, wanted in (
        (_Order.account_id, account_id),
        (_Order.deployment_id, deployment_id),
        (_Order.parent_id, parent_id),
        (_Order.status, status),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    return cursor.cut((await tx.scalars(cursor.apply(cast(Any, statement), _Order.id))).all())


async def list_fills(
    tx: Tx, cursor: Cursor, *, account_id: UUID | None = None, order_id: UUID | None = None
) -> Slice[FillRow]:
    """Newest first."""
    statement = select(FillRow).where(col(FillRow.tenant_id) == tx.tenant_id)
    for column, wanted in ((_Fill.account_id, account_id), (_Fill.order_id, order_id)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    return cursor.cut((await tx.scalars(cursor.apply(cast(Any, statement), _Fill.id))).all())


async def children_of(tx: Tx, order_id: UUID) -> list[Order]:
    """The order's slices or exits, the first first."""
    statement = select(Order).where(col(Order.tenant_id) == tx.tenant_id, _Order.parent_id == order_id)
    return list((await tx.scalars(cast(Any, statement.order_by(_Order.created_at, _Order.id)))).all())


async def order_findings(tx: Tx, order_id: UUID) -> list[dict[str, Any]]:
    """Every rule's figures on this order."""
    return await decision_findings(tx, order_id)


class TenantHoldings:
    """What stands in the way of closing a tenant: tenancy's port `Holdings`."""

    async def freeze(self, tx: Tx) -> Held:
        """Open positions and orders of the transaction's tenant, in both modes.

        Every account's turn is taken first: an order that was decided before, but not yet written, is decided again
        after this transaction, when the tenant's new status denies it.
        """
        await tx.execute(_TAKE_TURNS)
        working = (
            select(func.count())
            .select_from(Order)
            .where(col(Order.tenant_id) == tx.tenant_id, col(Order.status).not_in(sorted(TERMINAL)))
        )
        return Held(positions=await count_open(tx), orders=int((await tx.scalars(working)).one()))
