"""Decides when the ledger is written from Python: opening books, funding, corporate actions. Fills post in SQL.

Nothing else posts. Whoever calls a SQL function of the ledger directly (the order path) turns its errors into ours
with `ledger_error`.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from app.custody.accounts.service import get_account
from app.custody.ledger import repository
from app.custody.ledger.domain import (
    Leg,
    TransactionKind,
    cash_in_lieu_entries,
    check_balanced,
    dividend_entries,
    fingerprint,
    funding_entries,
    withdrawal_entries,
)
from app.infra.database import Tx
from app.kernel.ids import uuid7
from app.kernel.money import Money


@dataclass(frozen=True, slots=True)
class Balance:
    """Cash of one account in minor units. A fill can push `posted` and what follows from it below 0.

    `margin` is blocked for open intraday positions. What these cost is `financed`: it is not paid for while they are
    open; below zero, it is what short ones brought, which cannot be spent.
    """

    account_id: UUID
    currency: str
    settled: int
    receivable: int
    payable: int
    held: int
    margin: int
    financed: int

    @property
    def posted(self) -> int:
        """By trade date: as if every trade were settled."""
        return self.settled + self.receivable - self.payable

    @property
    def available(self) -> int:
        """What a new order may take."""
        return self.posted - self.held - self.margin + self.financed

    @property
    def withdrawable(self) -> int:
        """What may leave: settled, owed to nobody, neither held nor blocked."""
        return max(0, self.settled - self.payable - self.held - self.margin)


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """One currency of one tenant, or all its securities (XXX). The counts and both sums are 0 in a sound ledger.

    `client_liabilities` is owed to clients and `omnibus_bank` lies at the bank (or the depository) for them; they are
    equal once what is in `clearing`, `charges` (with taxes) and `suspense` is settled, and `segregation_difference` is
    what that leaves unexplained.
    """

    currency: str
    accounts: int
    entries: int
    entries_sum: int
    unbalanced_transactions: int
    balance_mismatches: int
    broken_chains: int
    hold_mismatches: int
    over_held: int
    client_liabilities: int
    omnibus_bank: int
    clearing: int
    charges: int
    suspense: int
    segregation_difference: int

    @property
    def problems(self) -> dict[str, int]:
        """What is wrong, by name; empty in a sound ledger."""
        informative = {"accounts", "entries", "client_liabilities", "omnibus_bank", "clearing", "charges", "suspense"}
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in informative | {"currency"}}
        return {name: value for name, value in named.items() if value}


async def open_accounts_for(tx: Tx, account_id: UUID, currency: str) -> None:
    """Open the cash account of a trading account, and the tenant's pool accounts in its currency. Idempotent.

    Raises `currency_mismatch` when the books are open in another currency.
    """
    await repository.open_books(tx, account_id, currency)


async def post(
    tx: Tx,
    kind: TransactionKind,
    legs: tuple[Leg, ...],
    *,
    idempotency_key: str,
    effective_at: datetime,
    details: dict[str, Any] | None = None,
) -> UUID:
    """Post one journal entry and return its id; the same key and legs again return the first one's.

    Raises `ledger_unbalanced`, `invalid_posting`, `insufficient_funds`, `idempotency_key_reused` or
    `ledger_account_not_found`; the transaction must then be left.
    """
    check_balanced(legs)
    return await repository.post(
        tx,
        uuid7(),
        kind.value,
        await repository.resolve(tx, legs),
        key=idempotency_key,
        fingerprint=fingerprint(kind, legs),
        effective_at=effective_at,
        details=details or {},
    )


async def fund(tx: Tx, account_id: UUID, amount: Money, *, idempotency_key: str, effective_at: datetime) -> UUID:
    """Virtual money comes into a paper account. Raises as `post`."""
    legs = funding_entries(account_id, amount)
    return await post(tx, TransactionKind.FUNDING, legs, idempotency_key=idempotency_key, effective_at=effective_at)


async def withdraw(tx: Tx, account_id: UUID, amount: Money, *, idempotency_key: str, effective_at: datetime) -> UUID:
    """Money leaves the account, never below what is available. Raises as `post`."""
    legs = withdrawal_entries(account_id, amount)
    return await post(tx, TransactionKind.WITHDRAWAL, legs, idempotency_key=idempotency_key, effective_at=effective_at)


async def hold_settled(tx: Tx, hold_id: UUID, account_id: UUID, amount: Money) -> None:
    """Reserve settled cash for a withdrawal. The same hold again changes nothing.

    Raises `insufficient_funds` beyond what is settled, owed to nobody and not held; the transaction must then be left.
    """
    await repository.hold_settled(tx, hold_id, account_id, amount.minor)


async def void_hold(tx: Tx, hold_id: UUID) -> None:
    """Make what is left of a hold available again."""
    await repository.void(tx, hold_id)


async def pay_out_held(
    tx: Tx,
    hold_id: UUID,
    account_id: UUID,
    amount: Money,
    *,
    idempotency_key: str,
    effective_at: datetime,
    details: dict[str, Any],
) -> UUID:
    """A withdrawal was paid from its hold; what the hold has beyond `amount` is available again. The same key once."""
    return await repository.pay_out_held(
        tx, hold_id, account_id, amount.minor, key=idempotency_key, effective_at=effective_at, details=details
    )


async def pay_dividend(
    tx: Tx, account_id: UUID, amount: Money, *, idempotency_key: str, effective_at: datetime, details: dict[str, Any]
) -> UUID | None:
    """Credit a cash dividend (debit it below zero: a short position owes it). None when the amount is zero."""
    legs = dividend_entries(account_id, amount)
    return await _post_fact(tx, TransactionKind.DIVIDEND, legs, idempotency_key, effective_at, details)


async def pay_cash_in_lieu(
    tx: Tx, account_id: UUID, amount: Money, *, idempotency_key: str, effective_at: datetime, details: dict[str, Any]
) -> UUID | None:
    """Pay for the fraction of a unit that a split leaves. None when the amount is zero."""
    legs = cash_in_lieu_entries(account_id, amount)
    return await _post_fact(tx, TransactionKind.SPLIT_CASH, legs, idempotency_key, effective_at, details)


async def release_margin(
    tx: Tx, account_id: UUID, blocked: Money, *, cost: int, effective_at: datetime, details: dict[str, Any]
) -> None:
    """An intraday position that cost `cost` minor units is gone without a trade: `blocked`, its margin, is free again.

    Once for each position, by whoever ends it. Raises `ledger_account_not_found`, `currency_mismatch`.
    """
    freed = {
        "fill": str(uuid7()),
        "account": str(account_id),
        "currency": blocked.currency,
        "cash": 0,
        "heads": {},
        "margin": -blocked.minor,
        "financed": -cost,
        "at": effective_at.isoformat(),
        "details": details,
    }
    await repository.settle_fills(tx, [freed])


async def _post_fact(
    tx: Tx, kind: TransactionKind, legs: tuple[Leg, ...], key: str, effective_at: datetime, details: dict[str, Any]
) -> UUID | None:
    if not legs:
        return None
    return await post(tx, kind, legs, idempotency_key=key, effective_at=effective_at, details=details)


async def balances(tx: Tx, account_id: UUID) -> list[Balance]:
    """The account's cash. Raises `account_not_found`."""
    await get_account(tx, account_id)
    return [
        Balance(
            account_id,
            row.currency,
            settled=row.posted + row.margin,
            receivable=row.receivable,
            payable=row.payable,
            held=row.pending_out,
            margin=row.margin,
            financed=row.financed,
        )
        for row in await repository.cash_accounts(tx, account_id)
    ]


async def check(tx: Tx) -> list[LedgerCheck]:
    """Prove the tenant's ledger from its entries, one row per currency."""
    return [LedgerCheck(**row) for row in await repository.check_rows(tx)]


class Books:
    """The ledger as `accounts` sees it (`accounts.ports.Books`)."""

    async def open(self, tx: Tx, account_id: UUID, opening_balance: Money, *, now: datetime) -> None:
        """Open the account's books with a funding entry, in the transaction that makes the account."""
        await open_accounts_for(tx, account_id, opening_balance.currency)
        await fund(tx, account_id, opening_balance, idempotency_key=f"opening:{account_id}", effective_at=now)
