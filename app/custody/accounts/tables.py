"""Decides what is stored about a tenant's end customers and their trading accounts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text

from app.infra.columns import TenantRow, bigint, tenant_foreign_key, utc_now_column


class Client(TenantRow, table=True):
    """An end customer of the tenant. `external_ref` is the tenant's own number for it."""

    __tablename__ = "clients"
    __table_args__ = (
        UniqueConstraint("tenant_id", "external_ref"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("status IN ('active', 'closed')", name="status"),
        {"info": {"app": "SELECT, INSERT, UPDATE (name, status)"}},
    )

    external_ref: str
    name: str
    status: str = "active"
    created_at: datetime = utc_now_column()


class Account(TenantRow, table=True):
    """A trading account: one currency, one mode for life, the broker that executes and the feed that prices.

    `client_id` is null for the tenant's own. `version` grows with every order: what a decision read is still true
    when the version is. `slippage_bps` is the paper venue's slippage on market orders.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id", "mode"),
        Index("accounts_client_idx", "tenant_id", "client_id", postgresql_where=text("client_id IS NOT NULL")),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        tenant_foreign_key(["client_id"], "clients"),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        CheckConstraint("status IN ('active', 'reduce_only', 'closed')", name="status"),
        CheckConstraint("slippage_bps BETWEEN 0 AND 1000", name="slippage"),
        CheckConstraint("broker <> 'paper' OR mode = 'test'", name="paper"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (name, status, version)",
                "dispatch": "SELECT (tenant_id, id, broker, feed, status)",
            }
        },
    )

    client_id: UUID | None = None
    name: str
    mode: str
    currency: str
    broker: str
    feed: str
    charge_schedule: str
    slippage_bps: int
    status: str = "active"
    version: int = bigint(default=0)
    created_at: datetime = utc_now_column()
