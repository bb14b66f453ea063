"""Decides how accounts and clients are read."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, func, select

from app.custody.accounts.tables import Account, Client
from app.infra.database import Tx
from app.kernel.orders import Mode
from app.web.cursors import Cursor


async def accounts(tx: Tx, cursor: Cursor, mode: Mode | None, client_id: UUID | None) -> Sequence[Account]:
    """One row more than the page."""
    statement = select(Account).where(col(Account.tenant_id) == tx.tenant_id)
    if mode is not None:
        statement = statement.where(col(Account.mode) == mode.value)
    if client_id is not None:
        statement = statement.where(col(Account.client_id) == client_id)
    return (await tx.scalars(cursor.apply(cast(Any, statement), col(Account.id)))).all()


async def clients(tx: Tx, cursor: Cursor, external_ref: str | None) -> Sequence[Client]:
    """One row more than the page."""
    statement = select(Client).where(col(Client.tenant_id) == tx.tenant_id)
    if external_ref is not None:
        statement = statement.where(col(Client.external_ref) == external_ref)
    return (await tx.scalars(cursor.apply(cast(Any, statement), col(Client.id)))).all()


async def insert_client(tx: Tx, client_id: UUID, *, external_ref: str, name: str) -> bool:
    """False when the reference is taken, also by a transaction that runs at the same time."""
    values = {
        "tenant_id": tx.tenant_id,
        "id": client_id,
        "external_ref": external_ref,
        "name": name,
        "status": "active",
    }
    statement = insert(Client).values(values).on_conflict_do_nothing().returning(col(Client.id))
    return (await tx.execute(statement)).first() is not None


async def lock_client(tx: Tx, client_id: UUID, *, shared: bool) -> Client | None:
    """The row until the end of the transaction: `shared` by those who open accounts, alone for who changes it."""
    statement = (
        select(Client)
        .where(col(Client.tenant_id) == tx.tenant_id, col(Client.id) == client_id)
        .with_for_update(read=shared, key_share=not shared)
        .execution_options(populate_existing=True)
    )
    found: Client | None = (await tx.scalars(statement)).one_or_none()
    return found


async def has_live(tx: Tx) -> bool:
    """Whether any account of the tenant is a live one."""
    statement = select(Account.id).where(
        col(Account.tenant_id) == tx.tenant_id, col(Account.mode) == Mode.LIVE.value, col(Account.status) != "closed"
    )
    return (await tx.scalars(statement.limit(1))).first() is not None


async def open_accounts_of(tx: Tx, client_id: UUID) -> int:
    """How many of the client's accounts are not closed."""
    statement = select(func.count()).select_from(Account)
    statement = statement.where(
        col(Account.tenant_id) == tx.tenant_id, col(Account.client_id) == client_id, col(Account.status) != "closed"
    )
    return int((await tx.scalars(statement)).one())
