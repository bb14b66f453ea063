"""Decides what is stored of a position (the state of the one reducer), of settlements, and of files compared."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text

from app.infra.columns import TenantRow, bigint, tenant_foreign_key, utc, utc_now_column

_CHANGING = ("quantity", "cost_minor", "realised_minor", "margin_minor", "version", "updated_at")


class PositionRow(TenantRow, table=True):
    """`quantity` is signed at `qty_exp`; `cost_minor` is the total cost of what is held, `realised_minor` the profit
    of what was closed, before charges. `book_id` is the deployment, or the account itself for orders placed by hand.
    What is delivered and what is squared off stand apart; `margin_minor` is blocked for the latter."""

    __tablename__ = "positions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "account_id", "book_id", "instrument_id", "product"),
        tenant_foreign_key(["account_id"], "accounts"),
        ForeignKeyConstraint(["instrument_id"], ["instruments.id"]),
        CheckConstraint("product IN ('delivery', 'intraday')", name="product"),
        {"info": {"app": f"SELECT, INSERT, UPDATE ({', '.join(_CHANGING)})"}},
    )

    account_id: UUID
    book_id: UUID
    instrument_id: UUID
    product: str
    quantity: int = bigint()
    cost_minor: int = bigint()
    realised_minor: int = bigint()
    margin_minor: int = bigint(default=0)
    version: int = bigint(default=0)
    updated_at: datetime = utc_now_column()


class PositionAction(TenantRow, table=True):
    """A corporate action applied to one position, once: append-only."""

    __tablename__ = "position_actions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "position_id", "action_id"),
        tenant_foreign_key(["position_id"], "positions"),
        CheckConstraint("kind IN ('split', 'dividend')", name="kind"),
        {"info": {"app": "SELECT, INSERT"}},
    )

    position_id: UUID
    account_id: UUID
    book_id: UUID
    instrument_id: UUID
    action_id: UUID
    kind: str
    numerator: int | None = bigint(nullable=True)
    denominator: int | None = bigint(nullable=True)
    quantity_before: int = bigint()
    quantity_after: int = bigint()
    cash_minor: int = bigint()
    effective_at: datetime = utc()
    recorded_at: datetime = utc_now_column()


class AppliedAction(TenantRow, table=True):
    """A corporate action that a feed has brought to the tenant, once: append-only. A feed that comes back tells it
    again, and what was bought meanwhile was bought at the price after it."""

    __tablename__ = "applied_actions"
    __table_args__ = (UniqueConstraint("tenant_id", "feed", "action_id"), {"info": {"app": "SELECT, INSERT"}})

    feed: str
    action_id: UUID
    applied_at: datetime = utc_now_column()


class Settlement(TenantRow, table=True):
    """What an account's trades of one day in one instrument settle to: a row of calendar work, and once it is settled
    the ledger transaction of the same id. `due_at` is read from the calendar anew when it has come."""

    __tablename__ = "settlements"
    __table_args__ = (
        Index(
            "settlements_pending_idx",
            "tenant_id",
            "account_id",
            "instrument_id",
            "trade_day",
            unique=True,
            postgresql_where=text("state = 'pending'"),
        ),
        Index("settlements_due_idx", "feed", "due_at", postgresql_where=text("state = 'pending'")),
        tenant_foreign_key(["account_id"], "accounts"),
        ForeignKeyConstraint(["instrument_id"], ["instruments.id"]),
        CheckConstraint("state IN ('pending', 'settled')", name="state"),
        CheckConstraint("(state = 'settled') = (settled_at IS NOT NULL)", name="settled"),
        CheckConstraint("receivable_minor >= 0 AND payable_minor >= 0", name="amounts"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (due_at, receivable_minor, payable_minor, cash_minor, quantity, state, "
                "settled_at)",
                "dispatch": "SELECT",
            }
        },
    )

    account_id: UUID
    instrument_id: UUID
    feed: str
    trade_day: date
    due_at: datetime = utc()
    receivable_minor: int = bigint()
    payable_minor: int = bigint()
    cash_minor: int = bigint()
    quantity: int = bigint()
    state: str = "pending"
    settled_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc_now_column()


class Reconciliation(TenantRow, table=True):
    """A file from outside that was compared with the books, once: append-only. `digest` is the SHA-256 of its text.

    `opened` counts breaks that this file opened, also again; `closed` those that it showed to agree now.
    """

    __tablename__ = "reconciliations"
    __table_args__ = (
        UniqueConstraint("tenant_id", "source", "mode", "as_of", "digest"),
        CheckConstraint("source IN ('bank', 'broker', 'depository')", name="source"),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        {"info": {"app": "SELECT, INSERT"}},
    )

    source: str
    mode: str
    as_of: date
    digest: str
    lines: int
    compared: int
    differences: int
    opened: int
    closed: int
    made_at: datetime = utc()
    made_by: UUID | None = None
