"""Decides what is stored of a payment: deposits and withdrawals are one table, told apart by `direction`."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text

from app.infra.columns import TenantRow, bigint, tenant_foreign_key, utc, utc_now_column


class Payment(TenantRow, table=True):
    """One payment. While a withdrawal is pending or sent, the ledger holds its amount under the payment's id."""

    __tablename__ = "payments"
    __table_args__ = (
        Index("payments_account_idx", "tenant_id", "account_id", "id"),
        Index(
            "payments_reference_idx",
            "tenant_id",
            "provider",
            "reference",
            unique=True,
            postgresql_where=text("reference IS NOT NULL"),
        ),
        tenant_foreign_key(["account_id"], "accounts"),
        CheckConstraint("direction IN ('deposit', 'withdrawal')", name="direction"),
        CheckConstraint("status IN ('pending', 'sent', 'completed', 'failed', 'disputed')", name="status"),
        CheckConstraint("amount_minor > 0", name="amount"),
        {"info": {"app": "SELECT, INSERT, UPDATE (status, reference, reason, sent_at, ended_at, overdue)"}},
    )

    account_id: UUID
    direction: str
    currency: str
    amount_minor: int = bigint()
    status: str = "pending"
    provider: str
    reference: str | None = None
    reason: str | None = None
    overdue: bool = False
    created_at: datetime = utc()
    sent_at: datetime | None = utc(nullable=True)
    ended_at: datetime | None = utc(nullable=True)
    recorded_at: datetime = utc_now_column()
