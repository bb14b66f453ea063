"""Decides how payments are found."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlmodel import col, select

from app.custody.funding.domain import Direction
from app.custody.funding.tables import Payment
from app.infra.database import Tx
from app.web.cursors import Cursor


async def payments(tx: Tx, cursor: Cursor, direction: Direction, account_id: UUID | None) -> Sequence[Payment]:
    """One row more than the page."""
    statement = select(Payment).where(col(Payment.tenant_id) == tx.tenant_id, col(Payment.direction) == direction.value)
    if account_id is not None:
        statement = statement.where(col(Payment.account_id) == account_id)
    return (await tx.scalars(cursor.apply(cast(Any, statement), col(Payment.id)))).all()


async def locked(tx: Tx, payment_id: UUID) -> Payment | None:
    """The row until the end of the transaction."""
    statement = (
        select(Payment)
        .where(col(Payment.tenant_id) == tx.tenant_id, col(Payment.id) == payment_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    found: Payment | None = (await tx.scalars(statement)).one_or_none()
    return found
