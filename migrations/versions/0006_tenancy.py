"""Roles, invitations, approvals, the tenant tree and who acted for whom."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0006"
down_revision = "0005"
_ACTOR = ("actor_user_id", "actor_tenant_id", "grant_id")


def upgrade() -> None:
    _tenants()
    _people()
    _two_people()
    for column in _ACTOR:
        op.add_column("events", sa.Column(column, sa.Uuid(), nullable=True))
    op.add_column("api_keys", sa.Column("user_id", sa.Uuid(), nullable=True))
    _drop_key_lookup()


def downgrade() -> None:
    op.drop_column("api_keys", "user_id")
    for column in _ACTOR:
        op.drop_column("events", column)
    _drop_key_lookup()
    for check in ("role", "removed"):
        op.execute(f"ALTER TABLE members DROP CONSTRAINT members_{check}_check")
    _change_all("members", "UPDATE members SET role = 'read_only' WHERE role = 'custom'")
    _change_all("members", "UPDATE members SET status = 'suspended' WHERE status = 'removed'")
    _replace_status_check("members", "'active', 'suspended'")
    op.execute("REVOKE UPDATE (role_id, user_id) ON members FROM mandi_app")
    for column in ("role_id", "user_id"):
        op.drop_column("members", column)
    for table in ("act_as_grants", "approvals", "invitations", "roles", "child_tenants"):
        op.execute(f"DROP TABLE {table} CASCADE")
    _change_all("tenants", "UPDATE tenants SET status = 'suspended' WHERE status = 'closing'")
    _replace_status_check("tenants", "'active', 'suspended'")
    op.execute("REVOKE UPDATE (closes_at) ON tenants FROM mandi_app")
    for column in ("parent_id", "closes_at"):
        op.drop_column("tenants", column)


def _change_all(table: str, statement: str) -> None:
    """As the owner, of all tenants: forced row-level security would show it none."""
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(statement)
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def _drop_key_lookup() -> None:
    """Its answer has another shape afterwards; `apply_functions` makes it anew."""
    op.execute("SET LOCAL ROLE mandi_lookup")
    op.execute("DROP FUNCTION IF EXISTS identity_api_key(text)")
    op.execute("RESET ROLE")


def _replace_status_check(table: str, values: str) -> None:
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_status_check")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {table}_status_check CHECK (status IN ({values}))")


def _key() -> tuple[sa.Column[object], sa.Column[object]]:
    return sa.Column("tenant_id", sa.Uuid(), nullable=False), sa.Column("id", sa.Uuid(), nullable=False)


def _at(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=nullable, server_default=sa.text("now()") if now else None
    )


def _own(table: str) -> tuple[sa.ForeignKeyConstraint, sa.PrimaryKeyConstraint]:
    return (
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f(f"{table}_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f(f"{table}_pkey")),
    )


def _tenants() -> None:
    op.add_column("tenants", sa.Column("parent_id", sa.Uuid(), nullable=True))
    op.add_column("tenants", _at("closes_at", nullable=True))
    _replace_status_check("tenants", "'active', 'suspended', 'closing'")
    op.execute("ALTER TABLE tenants ADD CONSTRAINT tenants_parent_check CHECK (parent_id <> tenant_id)")
    op.execute("GRANT UPDATE (closes_at) ON tenants TO mandi_app")
    op.create_table(
        "child_tenants",
        *_key(),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        _at("created_at", now=True),
        *_own("child_tenants"),
    )
    op.create_table(
        "act_as_grants",
        *_key(),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("other_tenant_id", sa.Uuid(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("approval_id", sa.Uuid(), nullable=True),
        _at("opened_at"),
        _at("expires_at"),
        _at("ended_at", nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.CheckConstraint("side IN ('parent', 'child')", name=op.f("act_as_grants_side_check")),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("act_as_grants_mode_check")),
        sa.CheckConstraint("ended_by IN ('parent', 'child')", name=op.f("act_as_grants_ended_by_check")),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name=op.f("act_as_grants_ended_check")),
        sa.CheckConstraint(
            "expires_at > opened_at AND expires_at <= opened_at + interval '1 hour'",
            name=op.f("act_as_grants_length_check"),
        ),
        *_own("act_as_grants"),
    )
    enable_tenant_rls(op, "child_tenants", app="SELECT, INSERT")
    enable_tenant_rls(op, "act_as_grants", app="SELECT, INSERT, UPDATE (ended_at, ended_by)")


def _people() -> None:
    op.create_table(
        "roles",
        *_key(),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("permissions", postgresql.ARRAY(Text()), nullable=False),
        _at("deleted_at", nullable=True),
        _at("created_at", now=True),
        *_own("roles"),
    )
    op.create_index(
        "roles_name_idx",
        "roles",
        ["tenant_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    for column in ("role_id", "user_id"):
        op.add_column("members", sa.Column(column, sa.Uuid(), nullable=True))
    op.create_index(
        "members_user_idx",
        "members",
        ["tenant_id", "user_id"],
        unique=True,
        postgresql_where=sa.text("user_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("members_tenant_id_role_id_fkey"), "members", "roles", ["tenant_id", "role_id"], ["tenant_id", "id"]
    )
    custom = "(role = 'custom') = (role_id IS NOT NULL)"
    op.execute(f"ALTER TABLE members ADD CONSTRAINT members_role_check CHECK ({custom})")
    _replace_status_check("members", "'active', 'suspended', 'removed'")
    removed = "status <> 'removed' OR user_id IS NULL"
    op.execute(f"ALTER TABLE members ADD CONSTRAINT members_removed_check CHECK ({removed})")
    op.execute("GRANT UPDATE (role_id, user_id) ON members TO mandi_app")
    op.create_table(
        "invitations",
        *_key(),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("invited_by_user", sa.Uuid(), nullable=True),
        sa.Column("invited_by_key", sa.Uuid(), nullable=True),
        _at("expires_at"),
        _at("sent_at"),
        _at("accepted_at", nullable=True),
        _at("revoked_at", nullable=True),
        _at("created_at", now=True),
        sa.CheckConstraint("email = lower(email)", name=op.f("invitations_email_check")),
        sa.CheckConstraint(custom, name=op.f("invitations_role_check")),
        sa.CheckConstraint("length(token_hash) = 32", name=op.f("invitations_token_hash_check")),
        *_own("invitations"),
    )
    op.create_index("invitations_token_hash_key", "invitations", ["token_hash"], unique=True)
    op.create_index(
        "invitations_pending_idx",
        "invitations",
        ["tenant_id", "email"],
        unique=True,
        postgresql_where=sa.text("accepted_at IS NULL AND revoked_at IS NULL"),
    )
    enable_tenant_rls(op, "roles", app="SELECT, INSERT, UPDATE (name, permissions, deleted_at)")
    enable_tenant_rls(
        op,
        "invitations",
        app="SELECT, INSERT, UPDATE (token_hash, expires_at, sent_at, accepted_at, revoked_at)",
        lookup="SELECT",
    )


def _two_people() -> None:
    op.create_table(
        "approvals",
        *_key(),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("checked_by", sa.Uuid(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        _at("expires_at"),
        _at("created_at"),
        _at("decided_at", nullable=True),
        _at("executed_at", nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'executed')", name=op.f("approvals_status_check")
        ),
        sa.CheckConstraint("checked_by IS NULL OR checked_by <> made_by", name=op.f("approvals_two_people_check")),
        sa.CheckConstraint("(status = 'pending') = (checked_by IS NULL)", name=op.f("approvals_checked_check")),
        *_own("approvals"),
    )
    enable_tenant_rls(
        op, "approvals", app="SELECT, INSERT, UPDATE (status, checked_by, decided_at, decision_reason, executed_at)"
    )
