"""Decides how the ledger's rows are found and its SQL functions are called."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy import and_, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from app.custody.ledger.domain import AccountKind, Leg, Slot
from app.custody.ledger.tables import LedgerAccount, LedgerBreak, LedgerEntry, LedgerTransaction
from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import uuid7
from app.web.cursors import Cursor

_OPEN_BOOKS = text("SELECT ledger_open_books(cast(:account AS uuid), :currency)")
_POST = text(
    "SELECT ledger_post(cast(:id AS uuid), :kind, :key, :fingerprint, cast(:effective_at AS timestamptz), "
    "cast(:accounts AS uuid[]), cast(:amounts AS bigint[]), cast(:details AS jsonb))"
)
_CHART = text(
    "SELECT id, kind, currency, account_id, shard, head FROM ledger_accounts WHERE tenant_id = cast(:tenant AS uuid) "
    "AND currency = ANY (cast(:currencies AS text[])) "
    "AND (account_id IS NULL OR account_id = ANY (cast(:owners AS uuid[])))"
)
_HOLD_SETTLED = text("SELECT ledger_hold_settled(cast(:hold AS uuid), cast(:account AS uuid), :amount)")
_VOID = text("SELECT ledger_void(cast(:hold AS uuid))")
_PAY_OUT = text(
    "SELECT ledger_pay_out_held(cast(:hold AS uuid), cast(:account AS uuid), :amount, cast(:id AS uuid), :key, "
    "cast(:effective_at AS timestamptz), cast(:details AS jsonb))"
)
_SETTLE_FILLS = text("SELECT ledger_settle_fills(cast(:fills AS jsonb))")
_SEGREGATION = text("SELECT * FROM ledger_segregation()")
_LEGS = text(
    "SELECT e.transaction_id, e.ledger_account_id, e.amount, e.balance_after, a.kind, a.currency, a.account_id, "
    "a.head, a.instrument_id FROM ledger_entries e "
    "JOIN ledger_accounts a ON a.tenant_id = e.tenant_id AND a.id = e.ledger_account_id "
    "WHERE e.tenant_id = cast(:tenant AS uuid) AND e.transaction_id = ANY (cast(:ids AS uuid[])) "
    "ORDER BY e.transaction_id, e.amount, e.ledger_account_id"
)
_CHECK = text("SELECT * FROM ledger_check()")

_FAILURES = {
    "MD001": ("insufficient_funds", Kind.CONFLICT, "The account's available cash does not cover this."),
    "MD002": ("ledger_unbalanced", Kind.INVALID, "The legs do not sum to zero, or mix client and firm money."),
    "MD003": ("idempotency_key_reused", Kind.CONFLICT, "This key was used for something else; use a new one."),
    "MD004": ("currency_mismatch", Kind.INVALID, "The account keeps its books in another currency."),
    "MD005": ("ledger_account_not_found", Kind.NOT_FOUND, "A ledger account of this transaction does not exist."),
    "MD006": (
        "invalid_posting",
        Kind.INVALID,
        "Two or more legs of money, each account once, of 1 to 10^15 each.",
    ),
    "22003": ("amount_out_of_range", Kind.INVALID, "A balance would leave the range of 64 bits."),
}


def ledger_error(error: BaseException) -> DomainError | None:
    """What a failed SQL function of the ledger meant, from either driver's exception; None for anything else."""
    original = error.orig if isinstance(error, DBAPIError) else error
    found = _FAILURES.get(str(getattr(original, "sqlstate", None)))
    return DomainError(*found) if found else None


@contextmanager
def domain_errors() -> Iterator[None]:
    """Turns the ledger's SQLSTATEs into `DomainError`s. The transaction is lost: let the error leave it."""
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError) as error:
        meant = ledger_error(error)
        if meant is None:
            raise
        raise meant from error


async def open_books(tx: Tx, account_id: UUID, currency: str) -> None:
    with domain_errors():
        await tx.execute(_OPEN_BOOKS, {"account": account_id, "currency": currency})


async def post(
    tx: Tx,
    transaction_id: UUID,
    kind: str,
    legs: Sequence[tuple[UUID, int]],
    *,
    key: str,
    fingerprint: str,
    effective_at: datetime,
    details: dict[str, Any],
) -> UUID:
    """The id of the transaction, or of the first one with this key."""
    parameters = {
        "id": transaction_id,
        "kind": kind,
        "key": key,
        "fingerprint": fingerprint,
        "effective_at": effective_at,
        "accounts": [account for account, _ in legs],
        "amounts": [amount for _, amount in legs],
        "details": json.dumps(details),
    }
    with domain_errors():
        posted: UUID = (await tx.execute(_POST, parameters)).scalar_one()
    return posted


async def resolve(tx: Tx, legs: Sequence[Leg]) -> list[tuple[UUID, int]]:
    """Each leg with its ledger account's id. Raises `ledger_account_not_found` when the books are not open."""
    parameters = {
        "tenant": tx.tenant_id,
        "currencies": sorted({leg.slot.currency for leg in legs}),
        "owners": [leg.slot.account_id for leg in legs if leg.slot.account_id is not None],
    }
    rows = await tx.execute(_CHART, parameters)
    ids = {Slot(AccountKind(r.kind), r.currency, r.account_id, r.shard, r.head): r.id for r in rows}
    missing = [leg.slot for leg in legs if leg.slot not in ids]
    if missing:
        raise DomainError(
            "ledger_account_not_found",
            Kind.NOT_FOUND,
            f"No {missing[0].kind} account in {missing[0].currency} is open.",
        )
    return [(ids[leg.slot], leg.amount) for leg in legs]


async def cash_accounts(tx: Tx, account_id: UUID) -> Sequence[LedgerAccount]:
    found: Sequence[LedgerAccount] = (
        await tx.scalars(
            select(LedgerAccount)
            .where(
                col(LedgerAccount.tenant_id) == tx.tenant_id,
                col(LedgerAccount.account_id) == account_id,
                col(LedgerAccount.kind) == AccountKind.CLIENT_CASH.value,
            )
            .order_by(col(LedgerAccount.currency))
            .execution_options(populate_existing=True)
        )
    ).all()
    return found


async def hold_settled(tx: Tx, hold_id: UUID, account_id: UUID, amount: int) -> None:
    with domain_errors():
        await tx.execute(_HOLD_SETTLED, {"hold": hold_id, "account": account_id, "amount": amount})


async def void(tx: Tx, hold_id: UUID) -> None:
    with domain_errors():
        await tx.execute(_VOID, {"hold": hold_id})


async def pay_out_held(
    tx: Tx, hold_id: UUID, account_id: UUID, amount: int, *, key: str, effective_at: datetime, details: dict[str, Any]
) -> UUID:
    parameters = {
        "hold": hold_id,
        "account": account_id,
        "amount": amount,
        "id": uuid7(),
        "key": key,
        "effective_at": effective_at,
        "details": json.dumps(details),
    }
    with domain_errors():
        posted: UUID = (await tx.execute(_PAY_OUT, parameters)).scalar_one()
    return posted


async def settle_fills(tx: Tx, fills: Sequence[dict[str, Any]]) -> None:
    with domain_errors():
        await tx.execute(_SETTLE_FILLS, {"fills": json.dumps(fills)})


async def segregation_rows(tx: Tx) -> Sequence[dict[str, Any]]:
    return [dict(row) for row in (await tx.execute(_SEGREGATION)).mappings()]


async def legs_of(tx: Tx, transaction_ids: Sequence[UUID]) -> Sequence[Any]:
    """The legs of these transactions, by transaction."""
    return (await tx.execute(_LEGS, {"tenant": tx.tenant_id, "ids": list(transaction_ids)})).all()


async def transactions(tx: Tx, cursor: Cursor, account_id: UUID | None) -> Sequence[LedgerTransaction]:
    """One row more than the page; of one trading account, or of all."""
    statement = select(LedgerTransaction).where(col(LedgerTransaction.tenant_id) == tx.tenant_id)
    if account_id is not None:
        own = select(col(LedgerEntry.transaction_id)).join(
            LedgerAccount,
            and_(
                col(LedgerAccount.tenant_id) == col(LedgerEntry.tenant_id),
                col(LedgerAccount.id) == col(LedgerEntry.ledger_account_id),
            ),
        )
        own = own.where(col(LedgerEntry.tenant_id) == tx.tenant_id, col(LedgerAccount.account_id) == account_id)
        statement = statement.where(col(LedgerTransaction.id).in_(own))
    return (await tx.scalars(cursor.apply(cast(Any, statement), col(LedgerTransaction.id)))).all()


async def by_key(tx: Tx, key: str) -> LedgerTransaction | None:
    statement = select(LedgerTransaction).where(
        col(LedgerTransaction.tenant_id) == tx.tenant_id, col(LedgerTransaction.idempotency_key) == key
    )
    found: LedgerTransaction | None = (await tx.scalars(statement)).one_or_none()
    return found


async def insert_break(tx: Tx, values: dict[str, Any]) -> bool:
    """False when the same was opened before."""
    statement = insert(LedgerBreak).values(values).on_conflict_do_nothing().returning(col(LedgerBreak.id))
    return (await tx.execute(statement)).first() is not None


async def breaks(tx: Tx, cursor: Cursor, status: str | None) -> Sequence[LedgerBreak]:
    """One row more than the page."""
    statement = select(LedgerBreak).where(col(LedgerBreak.tenant_id) == tx.tenant_id)
    if status is not None:
        statement = statement.where(col(LedgerBreak.status) == status)
    return (await tx.scalars(cursor.apply(cast(Any, statement), col(LedgerBreak.id)))).all()


async def lock_break(tx: Tx, break_id: UUID) -> LedgerBreak | None:
    statement = (
        select(LedgerBreak)
        .where(col(LedgerBreak.tenant_id) == tx.tenant_id, col(LedgerBreak.id) == break_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    found: LedgerBreak | None = (await tx.scalars(statement)).one_or_none()
    return found


async def lock_breaks(tx: Tx, source: str, scope: str) -> Sequence[LedgerBreak]:
    """Every break of a source, open or not, whose reference begins so."""
    statement = (
        select(LedgerBreak)
        .where(
            col(LedgerBreak.tenant_id) == tx.tenant_id,
            col(LedgerBreak.source) == source,
            col(LedgerBreak.reference).startswith(scope, autoescape=True),
            col(LedgerBreak.kind) == "difference",
        )
        .order_by(col(LedgerBreak.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    found: Sequence[LedgerBreak] = (await tx.scalars(statement)).all()
    return found


async def check_rows(tx: Tx) -> Sequence[dict[str, Any]]:
    return [dict(row) for row in (await tx.execute(_CHECK)).mappings()]
