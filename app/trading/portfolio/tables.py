"""Decides what is stored of a position: the state of the one reducer, per account, deployment and instrument."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint

from app.infra.columns import TenantRow, bigint, tenant_foreign_key, utc, utc_now_column


class PositionRow(TenantRow, table=True):
    """`quantity` is signed at `qty_exp`; `cost_minor` is the total cost of what is held, `realised_minor` the profit
    of what was closed, before charges. `book_id` is the deployment, or the account itself for orders placed by hand."""

    __tablename__ = "positions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "account_id", "book_id", "instrument_id"),
        tenant_foreign_key(["account_id"], "accounts"),
        ForeignKeyConstraint(["instrument_id"], ["instruments.id"]),
        {"info": {"app": "SELECT, INSERT, UPDATE (quantity, cost_minor, realised_minor, version, updated_at)"}},
    )

    account_id: UUID
    book_id: UUID
    instrument_id: UUID
    quantity: int = bigint()
    cost_minor: int = bigint()
    realised_minor: int = bigint()
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
