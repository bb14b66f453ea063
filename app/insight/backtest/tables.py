"""Decides what is stored of backtests: the plan and its progress, and the result's bytes, once."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from app.infra.columns import TenantRow, bigint, jsonb, tenant_foreign_key, utc, utc_now_column


class Backtest(TenantRow, table=True):
    """One run. `plan` is everything the result depends on; `fence` is the lease's under which it runs.

    `attempts`, times and progress are about the run and never in the result.
    """

    __tablename__ = "backtests"
    __table_args__ = (
        tenant_foreign_key(["strategy_id"], "strategies"),
        Index(
            "backtests_unfinished_idx",
            "tenant_id",
            "id",
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
        CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (status, status_reason, cancel_requested_at, bars_done, attempts, "
                "fence, summary, result_sha256, started_at, progressed_at, finished_at)"
            }
        },
    )

    name: str
    strategy_id: UUID | None = None
    template: str | None = None
    digest: str
    plan: dict[str, Any] = jsonb()
    instruments: list[UUID] = Field(sa_type=ARRAY(Uuid), nullable=False)
    currency: str
    starts_on: date | None = None
    ends_on: date | None = None
    status: str = "queued"
    status_reason: str | None = None
    cancel_requested_at: datetime | None = utc(nullable=True)
    bars: int = bigint()
    bars_done: int = bigint(default=0)
    attempts: int = 0
    fence: int = bigint(default=0)
    summary: dict[str, Any] | None = jsonb(nullable=True)
    result_sha256: str | None = None
    created_at: datetime = utc_now_column()
    started_at: datetime | None = utc(nullable=True)
    progressed_at: datetime | None = utc(nullable=True)
    finished_at: datetime | None = utc(nullable=True)


class BacktestResult(TenantRow, table=True):
    """The result document of the backtest with the same id. `document`: its bytes, compressed with zlib."""

    __tablename__ = "backtest_results"
    __table_args__ = (
        tenant_foreign_key(["id"], "backtests"),
        {"info": {"app": "SELECT, INSERT"}},
    )

    sha256: str
    document: bytes = Field(sa_type=LargeBinary, nullable=False)
    created_at: datetime = utc_now_column()
