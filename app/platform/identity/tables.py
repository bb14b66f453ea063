"""Decides what is stored about an API key: enough to recognise it, never enough to use it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlmodel import Field

from app.infra.columns import TenantRow, text_array, utc, utc_now_column


class ApiKey(TenantRow, table=True):
    """`key_id` is the random public part, unique over all tenants; `secret_hash` is SHA-256 of the entire key.

    A plain hash suffices: the key carries 256 random bits. `user_id` is the person who made it, or made the key that
    made it: it never does more than he may at that moment. Null for a key of the platform's own making.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("api_keys_key_id_key", "key_id", unique=True),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        CheckConstraint("length(secret_hash) = 32", name="secret_hash"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (revoked_at, last_used_at)",
                "lookup": "SELECT",
            }
        },
    )

    key_id: str
    secret_hash: bytes
    name: str
    scopes: list[str] = text_array()
    mode: str
    expires_at: datetime | None = utc(nullable=True)
    revoked_at: datetime | None = utc(nullable=True)
    last_used_at: datetime | None = utc(nullable=True)
    created_by: UUID | None = Field(default=None)
    user_id: UUID | None = Field(default=None)
    created_at: datetime = utc_now_column()
