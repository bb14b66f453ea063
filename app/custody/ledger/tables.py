"""Decides what the ledger stores. Every amount is signed, in minor units: positive is a credit (see `domain`).

Nobody writes here but the functions in `sql/`, owned by the role `mandi_ledger`; triggers refuse changes of history.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import BigInteger, Field, SmallInteger, SQLModel

from app.infra.columns import TenantRow, bigint, jsonb, tenant_foreign_key, utc, utc_now_column


class LedgerAccount(TenantRow, table=True):
    """One account of the chart: of a trading account (`account_id`), or the tenant's own in `shard`s.

    `currency` is XXX (ISO 4217: none) where units of `instrument_id` are counted. A client's cash also carries what its
    `client_receivable`, `client_payable` and `client_margin` stand at, and what open intraday positions cost:
    `financed`, which is not paid for while they are open (below zero: what short ones brought, which cannot be spent).
    So one row, locked, answers what there is: `posted + receivable - payable + financed - pending_out` can be traded
    with. That may fall below `floor_minor` only by a fact that happened outside (a fill, a dividend owed): `overdrawn`
    then says by how much. `flows` is what a client has brought in and not taken out again: no profit.
    """

    __tablename__ = "ledger_accounts"
    __table_args__ = (
        Index(
            "ledger_accounts_owned_idx",
            "tenant_id",
            "account_id",
            "kind",
            "instrument_id",
            unique=True,
            postgresql_where=text("account_id IS NOT NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            "ledger_accounts_pooled_idx",
            "tenant_id",
            "kind",
            "currency",
            "head",
            "shard",
            "instrument_id",
            unique=True,
            postgresql_where=text("account_id IS NULL"),
            postgresql_nulls_not_distinct=True,
        ),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        tenant_foreign_key(["account_id"], "accounts"),
        CheckConstraint("ledger_account_sound(ledger_accounts.*)", name="sound"),
        ForeignKeyConstraint(["instrument_id"], ["instruments.id"]),
        {"info": {"app": "SELECT", "ledger": "SELECT, INSERT, UPDATE"}},
    )

    account_id: UUID | None = None
    instrument_id: UUID | None = None
    kind: str
    book: str
    currency: str
    head: str = ""
    shard: int = Field(default=0, sa_type=SmallInteger)
    posted: int = bigint(default=0)
    pending_out: int = bigint(default=0)
    receivable: int = bigint(default=0)
    payable: int = bigint(default=0)
    margin: int = bigint(default=0)
    financed: int = bigint(default=0)
    flows: int = bigint(default=0)
    overdrawn: int = bigint(default=0)
    floor_minor: int | None = bigint(nullable=True)
    version: int = bigint(default=0)
    created_at: datetime = utc_now_column()


class LedgerTransaction(TenantRow, table=True):
    """Append-only. One journal entry: `effective_at` is market time, `posted_at` the wall clock's."""

    __tablename__ = "ledger_transactions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "idempotency_key"),
        CheckConstraint(
            "kind IN ('funding', 'deposit', 'withdrawal', 'transfer', 'fill', 'charge', 'dividend', 'split', "
            "'split_cash', 'settlement', 'reversal', 'adjustment')",
            name="kind",
        ),
        {"info": {"app": "SELECT", "ledger": "SELECT, INSERT"}},
    )

    kind: str
    idempotency_key: str
    fingerprint: str
    effective_at: datetime = utc()
    posted_at: datetime = utc_now_column()
    details: dict[str, Any] = jsonb()


class LedgerEntry(SQLModel, table=True):
    """Append-only. One leg: the ledger account's balance after it, and the account's version, which has no gaps."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        UniqueConstraint("tenant_id", "transaction_id", "ledger_account_id"),
        tenant_foreign_key(["transaction_id"], "ledger_transactions"),
        tenant_foreign_key(["ledger_account_id"], "ledger_accounts"),
        CheckConstraint("amount <> 0", name="amount"),
        {"info": {"app": "SELECT", "ledger": "SELECT, INSERT"}},
    )

    tenant_id: UUID = Field(primary_key=True)
    ledger_account_id: UUID = Field(primary_key=True)
    account_version: int = Field(primary_key=True, sa_type=BigInteger)
    transaction_id: UUID
    amount: int = bigint()
    balance_after: int = bigint()


class LedgerHold(TenantRow, table=True):
    """Money reserved for an order; `id` is the order's. `remaining` is what is still reserved, 0 once not pending."""

    __tablename__ = "ledger_holds"
    __table_args__ = (
        Index("ledger_holds_pending_idx", "tenant_id", "ledger_account_id", postgresql_where=text("state = 'pending'")),
        tenant_foreign_key(["ledger_account_id"], "ledger_accounts"),
        CheckConstraint("state IN ('pending', 'posted', 'voided')", name="state"),
        CheckConstraint("amount > 0 AND remaining BETWEEN 0 AND amount", name="remaining"),
        CheckConstraint("(state = 'pending') = (remaining > 0)", name="pending"),
        {"info": {"app": "SELECT", "ledger": "SELECT, INSERT, UPDATE"}},
    )

    ledger_account_id: UUID
    amount: int = bigint()
    remaining: int = bigint()
    state: str = "pending"
    created_at: datetime = utc_now_column()
    closed_at: datetime | None = utc(nullable=True)


class LedgerBreak(TenantRow, table=True):
    """A difference between what the ledger expects and what somebody outside says. Never adjusted by itself.

    `suspense_minor` is what of it was posted to suspense. `owner_id` is the person who looks into it.
    """

    __tablename__ = "ledger_breaks"
    __table_args__ = (
        UniqueConstraint("tenant_id", "source", "reference", "kind"),
        Index("ledger_breaks_open_idx", "tenant_id", "id", postgresql_where=text("status = 'open'")),
        tenant_foreign_key(["account_id"], "accounts"),
        ForeignKeyConstraint(["instrument_id"], ["instruments.id"]),
        CheckConstraint(
            "kind IN ('wrong_amount', 'unidentified', 'unexpected', 'overdue', 'difference')",
            name="kind",
        ),
        CheckConstraint("status IN ('open', 'resolved')", name="status"),
        CheckConstraint("(status = 'resolved') = (resolved_at IS NOT NULL AND reason IS NOT NULL)", name="resolved"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (expected_minor, actual_minor, status, owner_id, reason, opened_at, "
                "resolved_at, resolved_by)"
            }
        },
    )

    kind: str
    source: str
    reference: str
    account_id: UUID | None = None
    instrument_id: UUID | None = None
    currency: str
    expected_minor: int = bigint()
    actual_minor: int = bigint()
    suspense_minor: int = bigint(default=0)
    status: str = "open"
    owner_id: UUID | None = None
    reason: str | None = None
    opened_at: datetime = utc()
    resolved_at: datetime | None = utc(nullable=True)
    resolved_by: UUID | None = None
