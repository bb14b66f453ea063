"""Decides how the ledger's rows are found and its SQL functions are called."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from app.custody.ledger.domain import AccountKind, Leg, Slot
from app.custody.ledger.tables import LedgerAccount
from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind

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


async def check_rows(tx: Tx) -> Sequence[dict[str, Any]]:
    return [dict(row) for row in (await tx.execute(_CHECK)).mappings()]
