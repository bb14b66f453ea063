"""Decides what is stored of sweeps: the search and its outcome, the figures of each chunk, the result's bytes once."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from app.infra.columns import TenantRow, bigint, jsonb, tenant_foreign_key, utc, utc_now_column


class Sweep(TenantRow, table=True):
    """One search. `search` is everything its figures depend on; `family` groups searches over one program.

    `earlier`: combinations of the family that had run by the time the last chunk was done; null before.
    """

    __tablename__ = "sweeps"
    __table_args__ = (
        tenant_foreign_key(["strategy_id"], "strategies"),
        Index(
            "sweeps_unfinished_idx",
            "tenant_id",
            "id",
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
        Index("sweeps_family_idx", "tenant_id", "family"),
        CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="status"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (status, status_reason, earlier, summary, result_sha256, started_at, "
                "finished_at)"
            }
        },
    )

    name: str
    strategy_id: UUID | None = None
    template: str | None = None
    family: str
    search: dict[str, Any] = jsonb()
    currency: str
    combinations: int = bigint()
    chunk_size: int = bigint()
    status: str = "queued"
    status_reason: str | None = None
    earlier: int | None = bigint(nullable=True)
    summary: dict[str, Any] | None = jsonb(nullable=True)
    result_sha256: str | None = None
    created_at: datetime = utc_now_column()
    started_at: datetime | None = utc(nullable=True)
    finished_at: datetime | None = utc(nullable=True)


class SweepChunk(TenantRow, table=True):
    """A chunk that is done: `combinations` from the `number`-th chunk on, of which `ran` could run. `figures`: JSON,
    compressed with zlib."""

    __tablename__ = "sweep_chunks"
    __table_args__ = (
        tenant_foreign_key(["sweep_id"], "sweeps"),
        UniqueConstraint("tenant_id", "sweep_id", "number"),
        {"info": {"app": "SELECT, INSERT"}},
    )

    sweep_id: UUID
    number: int = bigint()
    combinations: int = bigint()
    ran: int = bigint()
    figures: bytes = Field(sa_type=LargeBinary, nullable=False)
    created_at: datetime = utc_now_column()


class SweepResult(TenantRow, table=True):
    """The result document of the sweep with the same id. `document`: its bytes, compressed with zlib."""

    __tablename__ = "sweep_results"
    __table_args__ = (
        tenant_foreign_key(["id"], "sweeps"),
        {"info": {"app": "SELECT, INSERT"}},
    )

    sha256: str
    document: bytes = Field(sa_type=LargeBinary, nullable=False)
    created_at: datetime = utc_now_column()
