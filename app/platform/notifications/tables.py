"""Decides what is stored about webhooks: who hears what, how far it was told, and each delivery's fate."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from app.infra.columns import TenantRow, bigint, text_array, utc, utc_now_column
from app.infra.crypto.tables import sealed_column


class WebhookEndpoint(TenantRow, table=True):
    """`position` is that of the last event for which deliveries were made: it hears what comes after.

    `former_secret` signs, too, until `former_until`. `failing_since` is empty while attempts succeed.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("status IN ('enabled', 'disabled')", name="status"),
        CheckConstraint("(former_secret IS NULL) = (former_until IS NULL)", name="former"),
        {
            "info": {
                "app": "SELECT, INSERT, DELETE, UPDATE (url, event_types, secret, former_secret, former_until, status, "
                "status_reason, position, failing_since)",
                "dispatch": "SELECT (tenant_id, id, status, position)",
            }
        },
    )

    url: str
    event_types: list[str] = text_array()
    secret: bytes = sealed_column()
    former_secret: bytes | None = sealed_column(nullable=True)
    former_until: datetime | None = utc(nullable=True)
    status: str = "enabled"
    status_reason: str | None = None
    api_version: str
    position: int = bigint()
    failing_since: datetime | None = utc(nullable=True)
    created_at: datetime = utc_now_column()


class WebhookDelivery(TenantRow, table=True):
    """One event for one endpoint. `response_body` holds at most 2 KB. No key to `events`: those may be archived."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("tenant_id", "endpoint_id", "event_id"),
        ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"],
            ["webhook_endpoints.tenant_id", "webhook_endpoints.id"],
            ondelete="CASCADE",
        ),
        CheckConstraint("status IN ('pending', 'succeeded', 'failed')", name="status"),
        Index("webhook_deliveries_finished_idx", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (status, attempts, next_at, response_status, response_body, "
                "error, finished_at)",
                "dispatch": "SELECT (tenant_id, id, finished_at), DELETE",
            }
        },
    )

    endpoint_id: UUID
    event_id: UUID
    event_type: str
    status: str = "pending"
    attempts: int = 0
    next_at: datetime | None = utc(nullable=True)
    response_status: int | None = None
    response_body: str | None = Field(default=None)
    error: str | None = None
    created_at: datetime = utc_now_column()
    finished_at: datetime | None = utc(nullable=True)
