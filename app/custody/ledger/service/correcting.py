"""Decides how the ledger is read and corrected: a transaction is undone by another, by two people, once."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.custody.accounts.service import get_account
from app.custody.ledger import repository
from app.custody.ledger.domain import TransactionKind, check_reversible
from app.custody.ledger.service.breaks import lock_allocated, reopen_allocated
from app.custody.ledger.tables import LedgerTransaction
from app.infra.database import Database, Tx
from app.kernel.errors import not_found
from app.kernel.ids import encode_id, uuid7
from app.platform.tenancy.domain import Action
from app.platform.tenancy.service import execute, tenant_ids
from app.web.cursors import Cursor, Slice

TRANSACTION = "ltx"


@dataclass(frozen=True, slots=True)
class Journal:
    """One transaction with its legs: rows of amount, balance_after and the ledger account's kind, currency, owner,
    head and instrument."""

    row: LedgerTransaction
    legs: list[Any]


@dataclass(frozen=True, slots=True)
class Segregation:
    """One currency: is the clients' money there? In minor units; see `ledger_segregation`."""

    currency: str
    client_liabilities: int
    client_debits: int
    other_liabilities: int
    omnibus_bank: int
    clearing: int
    financed_debits: int
    shortfall: int
    firm_money: int
    mixed: int

    @property
    def segregated(self) -> bool:
        """Nothing is missing, and no money of the firm was ever in the pool."""
        return self.shortfall == 0 and self.mixed == 0


async def list_transactions(tx: Tx, cursor: Cursor, *, account_id: UUID | None) -> Slice[Journal]:
    """Newest first; of one trading account, or of all. Raises `account_not_found`."""
    if account_id is not None:
        await get_account(tx, account_id)
    page = cursor.cut(await repository.transactions(tx, cursor, account_id))
    return Slice(await _journals(tx, page.rows), page.has_more)


async def get_transaction(tx: Tx, transaction_id: UUID) -> Journal:
    """Raises `ledger_transaction_not_found`."""
    row = await tx.get(LedgerTransaction, transaction_id)
    if row is None:
        raise not_found("ledger_transaction", encode_id(TRANSACTION, transaction_id))
    return (await _journals(tx, [row]))[0]


async def reverse(tx: Tx, transaction_id: UUID, *, reason: str, approval_id: UUID | None, now: datetime) -> Journal:
    """Undo a transaction with another one. When it gave what waited in suspense to a client, its break opens again.

    Raises `ledger_transaction_not_found`, `not_reversible`, `already_reversed`, what approvals raise, and
    `insufficient_funds` when a client has spent what would be taken back; the transaction must then be left.
    """
    undone = await get_transaction(tx, transaction_id)
    allocated = await lock_allocated(tx, undone.row.idempotency_key)
    key = f"reversal:{transaction_id}"
    before = await repository.by_key(tx, key)
    known = None if before is None else encode_id(TRANSACTION, before.id)
    check_reversible(TransactionKind(undone.row.kind), reversed_by=known)
    shown = encode_id(TRANSACTION, transaction_id)
    payload = {"transaction_id": shown, "reason": reason}
    await execute(tx, approval_id, Action.REVERSE_TRANSACTION, payload, now=now)
    posted = await repository.post(
        tx,
        uuid7(),
        TransactionKind.REVERSAL.value,
        [(leg.ledger_account_id, -leg.amount) for leg in undone.legs],
        key=key,
        fingerprint=key,
        effective_at=now,
        details={"reverses": shown, "reason": reason},
    )
    event = {"reversal_id": encode_id(TRANSACTION, posted), "reason": reason}
    tx.emit("ledger_transaction.reversed", transaction_id, event)
    if allocated is not None:
        await reopen_allocated(tx, allocated, now)
    return await get_transaction(tx, posted)


async def segregation(tx: Tx) -> list[Segregation]:
    """The tenant's pool at this moment, a row per currency."""
    return [Segregation(**row) for row in await repository.segregation_rows(tx)]


async def unsegregated(database: Database) -> list[UUID]:
    """The tenants whose pool does not cover its clients, or was mixed with the firm's money, each looked at in turn."""
    found = []
    for tenant_id in await tenant_ids(database):
        async with database.tx(tenant_id) as tx:
            if not all(row.segregated for row in await segregation(tx)):
                found.append(tenant_id)
    return found


async def _journals(tx: Tx, rows: list[LedgerTransaction]) -> list[Journal]:
    legs: dict[UUID, list[Any]] = defaultdict(list)
    for leg in await repository.legs_of(tx, [row.id for row in rows]):
        legs[leg.transaction_id].append(leg)
    return [Journal(row, legs[row.id]) for row in rows]


class TenantAccounts:
    """Whether what a proposal names is there: tenancy's port `Accounts`."""

    async def check(self, tx: Tx, account_id: UUID) -> None:
        await get_account(tx, account_id)

    async def check_transaction(self, tx: Tx, transaction_id: UUID) -> None:
        await get_transaction(tx, transaction_id)
