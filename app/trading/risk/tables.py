"""Decides what is stored of risk: limits, halts, every decision with its figures, each day's equity."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, Index, Text, UniqueConstraint, Uuid, text
from sqlmodel import Field

from app.infra.columns import GlobalRow, TenantRow, bigint, jsonb, tenant_foreign_key, utc, utc_now_column

_STANDING = text("resumed_at IS NULL")
_MODE = "mode IN ('halt', 'reduce_only')"


class RiskLimit(TenantRow, table=True):
    """The parameters of one rule for a client, an account or a deployment; for none of them, the whole tenant.

    `scope_id` is the innermost id, what it is set for: one index finds all levels above an order.
    """

    __tablename__ = "risk_limits"
    __table_args__ = (
        UniqueConstraint("tenant_id", "scope_id", "rule"),
        tenant_foreign_key(["client_id"], "clients"),
        tenant_foreign_key(["account_id"], "accounts"),
        tenant_foreign_key(["deployment_id"], "deployments"),
        {"info": {"app": "SELECT, INSERT, UPDATE (parameters, updated_at), DELETE"}},
    )

    client_id: UUID | None = None
    account_id: UUID | None = None
    deployment_id: UUID | None = None
    scope_id: UUID = Field(
        default=None,
        sa_type=Uuid,
        nullable=False,
        sa_column_args=[Computed("coalesce(deployment_id, account_id, client_id, tenant_id)", persisted=True)],
    )
    rule: str
    parameters: dict[str, Any] = jsonb()
    updated_at: datetime = utc_now_column()


class PlatformLimit(GlobalRow, table=True):
    """The parameters of one rule that no tenant may exceed."""

    __tablename__ = "risk_platform_limits"
    __table_args__ = (
        UniqueConstraint("rule"),
        {"info": {"app": "SELECT", "reference": "SELECT, INSERT, UPDATE, DELETE"}},
    )

    rule: str
    parameters: dict[str, Any] = jsonb()
    updated_at: datetime = utc_now_column()


class RiskHalt(TenantRow, table=True):
    """From `halted_at` until `resumed_at` an account, a deployment or an algo, or for none of them the whole tenant,
    takes no new risk. `scope` is what the order path looks for. `account_mode`: only in accounts of this mode, the
    caller's; null for both."""

    __tablename__ = "risk_halts"
    __table_args__ = (
        tenant_foreign_key(["account_id"], "accounts"),
        tenant_foreign_key(["deployment_id"], "deployments"),
        Index("risk_halts_standing_idx", "tenant_id", "scope", postgresql_where=_STANDING),
        CheckConstraint(_MODE, name="mode"),
        CheckConstraint("account_mode IN ('test', 'live')", name="account_mode"),
        {"info": {"app": "SELECT, INSERT, UPDATE (resumed_by, resumed_at)"}},
    )

    account_id: UUID | None = None
    deployment_id: UUID | None = None
    algo_id: str | None = None
    scope: str = Field(
        default=None,
        sa_type=Text,
        nullable=False,
        sa_column_args=[
            Computed("coalesce('algo:' || algo_id, deployment_id::text, account_id::text, '')", persisted=True)
        ],
    )
    account_mode: str | None = None
    mode: str
    reason: str
    halted_by_key: UUID | None = None
    halted_by: UUID | None = None
    halted_at: datetime = utc()
    resumed_by: UUID | None = None
    resumed_at: datetime | None = utc(nullable=True)


class PlatformHalt(GlobalRow, table=True):
    """The same for every tenant, or for one algo id wherever it trades."""

    __tablename__ = "risk_platform_halts"
    __table_args__ = (
        Index("risk_platform_halts_standing_idx", "algo_id", postgresql_where=_STANDING),
        CheckConstraint(_MODE, name="mode"),
        {"info": {"app": "SELECT", "reference": "SELECT, INSERT, UPDATE (resumed_at)"}},
    )

    algo_id: str | None = None
    mode: str
    reason: str
    halted_at: datetime = utc()
    resumed_at: datetime | None = utc(nullable=True)


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


_RESTATED = ("opening_equity_minor", "high_equity_minor", "peak_equity_minor", "flows_minor")


class RiskDay(TenantRow, table=True):
    """An account's equity when it first decided for a trading day, the highest that a decision of the day has seen, and
    the highest ever: what a day's loss and profit and a drawdown are measured from. Where the client brought in or took
    out money since they were noted, they are restated: `flows_minor` is what had come in and stayed by then."""

    __tablename__ = "risk_days"
    __table_args__ = (
        UniqueConstraint("tenant_id", "account_id", "day"),
        tenant_foreign_key(["account_id"], "accounts"),
        {"info": {"app": f"SELECT, INSERT, UPDATE ({', '.join(_RESTATED)})"}},
    )

    account_id: UUID
    day: date
    opening_equity_minor: int = bigint()
    high_equity_minor: int | None = bigint(nullable=True)
    peak_equity_minor: int | None = bigint(nullable=True)
    flows_minor: int = bigint(default=0)
