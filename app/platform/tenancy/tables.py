"""Decides what is stored about a tenant, its people and its tree. The row of a tenant is its own."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text

from app.infra.columns import TenantRow, jsonb, tenant_foreign_key, text_array, utc, utc_now_column

_PENDING = "accepted_at IS NULL AND revoked_at IS NULL"
_CUSTOM = "(role = 'custom') = (role_id IS NOT NULL)"


class Tenant(TenantRow, table=True):
    """One customer of the platform: a developer, a firm or a white-label broker.

    `slug` is not unique: a unique index over all tenants would tell one tenant that another exists. `parent_id` is data
    and no foreign key, since that would cross tenants; only `create_tenant` writes it. `closes_at`: when a tenant
    that is closing may be purged.
    """

    __tablename__ = "tenants"
    __table_args__ = (
        UniqueConstraint("tenant_id"),
        CheckConstraint("id = tenant_id", name="own"),
        CheckConstraint("status IN ('active', 'suspended', 'closing')", name="status"),
        CheckConstraint("parent_id <> tenant_id", name="parent"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (name, status, closes_at)",
                "dispatch": "SELECT",
                "lookup": "SELECT",
            }
        },
    )

    slug: str
    name: str
    status: str = "active"
    parent_id: UUID | None = None
    closes_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc_now_column()


class ChildTenant(TenantRow, table=True):
    """A parent's list of the tenants below it; `id` is the child's. The child's `parent_id` is what counts."""

    __tablename__ = "child_tenants"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        {"info": {"app": "SELECT, INSERT"}},
    )

    slug: str
    name: str
    created_at: datetime = utc_now_column()


class RoleRow(TenantRow, table=True):
    """A role of the tenant's own. A deleted one stays as a row; its name is free again."""

    __tablename__ = "roles"
    __table_args__ = (
        Index("roles_name_idx", "tenant_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        {"info": {"app": "SELECT, INSERT, UPDATE (name, permissions, deleted_at)"}},
    )

    name: str
    permissions: list[str] = text_array()
    deleted_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc_now_column()


class Member(TenantRow, table=True):
    """A person who works for the tenant. `email` is stored in lower case: `lower()` is not leakproof.

    `user_id` is null until the person has accepted. `role` is a built-in one, or `custom` with `role_id`.
    One who left stays as a row without person and power: the right to DELETE would be the right to lock the table.
    """

    __tablename__ = "members"
    __table_args__ = (
        UniqueConstraint("tenant_id", "email"),
        Index("members_user_idx", "tenant_id", "user_id", unique=True, postgresql_where=text("user_id IS NOT NULL")),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        tenant_foreign_key(["role_id"], "roles"),
        CheckConstraint("email = lower(email)", name="email"),
        CheckConstraint("status IN ('active', 'suspended', 'removed')", name="status"),
        CheckConstraint("status <> 'removed' OR user_id IS NULL", name="removed"),
        CheckConstraint(_CUSTOM, name="role"),
        {"info": {"app": "SELECT, INSERT, UPDATE (role, role_id, status, user_id)"}},
    )

    email: str
    role: str
    role_id: UUID | None = None
    status: str = "active"
    user_id: UUID | None = None
    created_at: datetime = utc_now_column()


class Invitation(TenantRow, table=True):
    """A door for one address, open until it is used, revoked or too old. `token_hash` is SHA-256 of 256 random bits.

    `role_id` is no foreign key: a role that only old invitations name can be deleted.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        Index("invitations_token_hash_key", "token_hash", unique=True),
        Index("invitations_pending_idx", "tenant_id", "email", unique=True, postgresql_where=text(_PENDING)),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("email = lower(email)", name="email"),
        CheckConstraint(_CUSTOM, name="role"),
        CheckConstraint("length(token_hash) = 32", name="token_hash"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (token_hash, expires_at, sent_at, accepted_at, revoked_at)",
                "dispatch": "SELECT (tenant_id, id, expires_at), DELETE",
                "lookup": "SELECT",
            }
        },
    )

    email: str
    role: str
    role_id: UUID | None = None
    token_hash: bytes
    invited_by_user: UUID | None = None
    invited_by_key: UUID | None = None
    expires_at: datetime = utc()
    sent_at: datetime = utc()
    accepted_at: datetime | None = utc(nullable=True)
    revoked_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc_now_column()


class Approval(TenantRow, table=True):
    """Something that takes two people. `fingerprint` is of action and payload: nothing else was approved."""

    __tablename__ = "approvals"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("status IN ('pending', 'approved', 'rejected', 'executed')", name="status"),
        CheckConstraint("checked_by IS NULL OR checked_by <> made_by", name="two_people"),
        CheckConstraint("(status = 'pending') = (checked_by IS NULL)", name="checked"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (status, checked_by, decided_at, decision_reason, executed_at)",
            }
        },
    )

    action: str
    payload: dict[str, Any] = jsonb()
    fingerprint: str
    status: str = "pending"
    made_by: UUID
    checked_by: UUID | None = None
    decision_reason: str | None = None
    expires_at: datetime = utc()
    created_at: datetime = utc()
    decided_at: datetime | None = utc(nullable=True)
    executed_at: datetime | None = utc(nullable=True)


class ActAsGrant(TenantRow, table=True):
    """A person of one tenant may act for a tenant below it, for a while and a reason.

    Stored twice with one id: for the parent (`side` parent) and for the child (`side` child), so that each sees it by
    its own policy; `tenancy_open_grant` and `tenancy_end_grant` keep both in step.
    """

    __tablename__ = "act_as_grants"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("side IN ('parent', 'child')", name="side"),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        CheckConstraint("ended_by IN ('parent', 'child')", name="ended_by"),
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended"),
        CheckConstraint("expires_at > opened_at AND expires_at <= opened_at + interval '1 hour'", name="length"),
        {"info": {"app": "SELECT, INSERT, UPDATE (ended_at, ended_by)"}},
    )

    side: str
    other_tenant_id: UUID
    mode: str
    reason: str
    user_id: UUID
    key_id: UUID
    approval_id: UUID | None = None
    opened_at: datetime = utc()
    expires_at: datetime = utc()
    ended_at: datetime | None = utc(nullable=True)
    ended_by: str | None = None
