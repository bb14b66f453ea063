"""Decides what is stored about a tenant and its members. A tenant's row is its own: `id` equals `tenant_id`."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint

from app.infra.columns import TenantRow, utc_now_column


class Tenant(TenantRow, table=True):
    """One customer of the platform: a developer, a firm or a white-label broker.

    `slug` is not unique: a unique index over all tenants would tell one tenant that another exists.
    """

    __tablename__ = "tenants"
    __table_args__ = (
        UniqueConstraint("tenant_id"),
        CheckConstraint("id = tenant_id", name="own"),
        CheckConstraint("status IN ('active', 'suspended')", name="status"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (name, status)",
                "dispatch": "SELECT",
                "lookup": "SELECT",
            }
        },
    )

    slug: str
    name: str
    status: str = "active"
    created_at: datetime = utc_now_column()


class Member(TenantRow, table=True):
    """A person who works for the tenant. `email` is stored in lower case: `lower()` is not leakproof."""

    __tablename__ = "members"
    __table_args__ = (
        UniqueConstraint("tenant_id", "email"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("email = lower(email)", name="email"),
        CheckConstraint("status IN ('active', 'suspended')", name="status"),
        {"info": {"app": "SELECT, INSERT, UPDATE (role, status)"}},
    )

    email: str
    role: str
    status: str = "active"
    created_at: datetime = utc_now_column()
