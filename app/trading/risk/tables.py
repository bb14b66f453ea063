"""Decides what is stored of risk: the limits, every decision with its figures, each day's opening equity."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from app.infra.columns import TenantRow, bigint, jsonb, tenant_foreign_key, utc_now_column


class RiskLimit(TenantRow, table=True):
    """The parameters of one rule, for one account or (account_id null) for every account of the tenant."""

    __tablename__ = "risk_limits"
    __table_args__ = (
        UniqueConstraint("tenant_id", "account_id", "rule", postgresql_nulls_not_distinct=True),
        tenant_foreign_key(["account_id"], "accounts"),
        {"info": {"app": "SELECT, INSERT, UPDATE (parameters, updated_at), DELETE"}},
    )

    account_id: UUID | None = None
    rule: str
    parameters: dict[str, Any] = jsonb()
    updated_at: datetime = utc_now_column()


class RiskDecision(TenantRow, table=True):
    """What the rules said of one order, append-only; its id is the order's. `findings` has the figures of each rule."""

    __tablename__ = "risk_decisions"
    __table_args__ = (
        tenant_foreign_key(["account_id"], "accounts"),
        Index("risk_decisions_denied_idx", "tenant_id", "account_id", postgresql_where=text("verdict = 'denied'")),
        CheckConstraint("verdict IN ('approved', 'denied')", name="verdict"),
        {"info": {"app": "SELECT, INSERT"}},
    )

    account_id: UUID
    verdict: str
    findings: list[dict[str, Any]] = jsonb()
    decided_at: datetime = utc_now_column()


class RiskDay(TenantRow, table=True):
    """An account's equity when it first decided for a trading day: what a daily loss is measured from."""

    __tablename__ = "risk_days"
    __table_args__ = (
        UniqueConstraint("tenant_id", "account_id", "day"),
        tenant_foreign_key(["account_id"], "accounts"),
        {"info": {"app": "SELECT, INSERT"}},
    )

    account_id: UUID
    day: date
    opening_equity_minor: int = bigint()
