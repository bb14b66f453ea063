"""Decides how accounts and clients are read."""

from collections.abc import Sequence
from typing import Any, cast

from sqlmodel import col, select

from app.custody.accounts.tables import Account, Client
from app.infra.database import Tx
from app.kernel.orders import Mode
from app.web.cursors import Cursor


async def accounts(tx: Tx, cursor: Cursor, mode: Mode | None) -> Sequence[Account]:
    """One row more than the page."""
    statement = select(Account).where(col(Account.tenant_id) == tx.tenant_id)
    if mode is not None:
        statement = statement.where(col(Account.mode) == mode.value)
    return (await tx.scalars(cursor.apply(cast(Any, statement), col(Account.id)))).all()


async def client_by_ref(tx: Tx, external_ref: str) -> Client | None:
    found: Client | None = (
        await tx.scalars(
            select(Client).where(col(Client.tenant_id) == tx.tenant_id, col(Client.external_ref) == external_ref)
        )
    ).one_or_none()
    return found
