"""Decides what a row of work is, and who may run a lane: one lease with a fence per (tenant, queue, lane)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, Identity, Index, func, text
from sqlmodel import BigInteger, DateTime, Field, SmallInteger, SQLModel

from app.infra.columns import TenantRow, bigint, jsonb, utc, utc_now_column

SHARDS = 16
"""Wake-ups name a shard of tenants: small tasks by the hundred would cost more than the work (orderpath.md §2)."""


def shard_of(tenant_id: UUID) -> int:
    """0 to 15, from the last byte of the tenant's id; `work_shard` in SQL is the same."""
    return tenant_id.int % SHARDS


class WorkItem(TenantRow, table=True):
    """One thing to do, in the order of its lane: priority first (0 = cancels and exits), then sequence."""

    __tablename__ = "work_items"
    __table_args__ = (
        CheckConstraint("state in ('ready', 'done', 'dead')", name="state"),
        Index(
            "work_items_lane_idx",
            "tenant_id",
            "queue",
            "lane",
            "priority",
            "sequence",
            postgresql_where=text("state = 'ready'"),
        ),
        Index(
            "work_items_ready_idx",
            "queue",
            "shard",
            "available_at",
            postgresql_where=text("state = 'ready'"),
        ),
        Index("work_items_finished_idx", "finished_at", postgresql_where=text("state = 'done'")),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (state, attempts, available_at, finished_at)",
                "dispatch": "SELECT, UPDATE, DELETE",
            }
        },
    )

    sequence: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, Identity(always=True), nullable=False),
    )
    queue: str
    shard: int = Field(sa_type=SmallInteger)
    lane: UUID
    kind: str
    payload: dict[str, Any] = jsonb()
    priority: int = Field(default=1, sa_type=SmallInteger)
    state: str = Field(default="ready", sa_column_kwargs={"server_default": "ready"})
    attempts: int = Field(default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": "0"})
    last_error: str | None = None
    available_at: datetime = Field(
        default=None,
        sa_column=Column(
            DateTime(timezone=True),
            nullable=False,
            server_default=func.clock_timestamp(),
        ),
    )
    created_at: datetime = utc_now_column()
    finished_at: datetime | None = utc(nullable=True)


class WorkLease(SQLModel, table=True):
    """Who runs a lane until when, or until when somebody did. Removed a day after that.

    `fence` grows with every new holder, beyond a removal too: an old one can no longer start anything.
    """

    __tablename__ = "work_leases"
    __table_args__ = ({"info": {"dispatch": "SELECT, INSERT, UPDATE, DELETE"}},)

    tenant_id: UUID = Field(primary_key=True)
    queue: str = Field(primary_key=True)
    lane: UUID = Field(primary_key=True)
    lease_until: datetime = utc()
    fence: int = bigint()
    holder: str
