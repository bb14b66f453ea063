"""Decides what is stored of strategies and of their deployments. Signal state is not: it is rebuilt from bars."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from app.infra.columns import TenantRow, jsonb, tenant_foreign_key, utc, utc_now_column


class Strategy(TenantRow, table=True):
    """A definition: a template of the library with parameters, compiled to `document`, identified by `digest`."""

    __tablename__ = "strategies"
    __table_args__ = ({"info": {"app": "SELECT, INSERT"}},)

    name: str
    template: str | None = None
    parameters: dict[str, Any] = jsonb()
    document: dict[str, Any] = jsonb()
    digest: str
    created_at: datetime = utc_now_column()


class Deployment(TenantRow, table=True):
    """A strategy that runs on an account. `last_bar` is the close time of the last bar it has decided on.

    An account runs one deployment at a time: the whole account is its book's cash.
    """

    __tablename__ = "deployments"
    __table_args__ = (
        tenant_foreign_key(["strategy_id"], "strategies"),
        tenant_foreign_key(["account_id"], "accounts"),
        Index(
            "deployments_one_per_account_idx",
            "tenant_id",
            "account_id",
            unique=True,
            postgresql_where=text("status <> 'stopped'"),
        ),
        Index("deployments_due_idx", "feed", "bar_interval", "last_bar", postgresql_where=text("status = 'running'")),
        CheckConstraint("status IN ('running', 'paused', 'stopped')", name="status"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (status, status_reason, last_bar, failures, updated_at)",
                "dispatch": "SELECT",
            }
        },
    )

    strategy_id: UUID
    account_id: UUID
    digest: str
    feed: str
    bar_interval: str
    instruments: list[UUID] = Field(sa_type=ARRAY(Uuid), nullable=False)
    status: str = "running"
    status_reason: str | None = None
    failures: int = 0
    first_bar: datetime = utc()
    last_bar: datetime = utc()
    created_at: datetime = utc_now_column()
    updated_at: datetime = utc_now_column()
