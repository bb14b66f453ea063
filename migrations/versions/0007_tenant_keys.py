"""Data keys of tenants, wrapped; webhook endpoints and their deliveries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "tenant_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("kek_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('active', 'retiring', 'retired', 'destroyed')", name=op.f("tenant_keys_state_check")
        ),
        sa.CheckConstraint("(state = 'destroyed') = (wrapped IS NULL)", name=op.f("tenant_keys_wrapped_check")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("tenant_keys_pkey")),
        sa.UniqueConstraint("tenant_id", "version", name=op.f("tenant_keys_tenant_id_version_key")),
    )
    op.create_index(
        "tenant_keys_active_key",
        "tenant_keys",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("state = 'active'"),
    )
    enable_tenant_rls(
        op,
        "tenant_keys",
        app="SELECT, INSERT, UPDATE (wrapped, kek_id, state)",
        dispatch="SELECT (tenant_id, id, kek_id, state)",
    )
    _webhooks()


def _webhooks() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("former_secret", sa.LargeBinary(), nullable=True),
        sa.Column("former_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("api_version", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('enabled', 'disabled')", name=op.f("webhook_endpoints_status_check")),
        sa.CheckConstraint(
            "(former_secret IS NULL) = (former_until IS NULL)", name=op.f("webhook_endpoints_former_check")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("webhook_endpoints_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("webhook_endpoints_pkey")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'succeeded', 'failed')", name=op.f("webhook_deliveries_status_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"],
            ["webhook_endpoints.tenant_id", "webhook_endpoints.id"],
            name=op.f("webhook_deliveries_tenant_id_endpoint_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("webhook_deliveries_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "endpoint_id", "event_id", name=op.f("webhook_deliveries_tenant_id_endpoint_id_event_id_key")
        ),
    )
    enable_tenant_rls(
        op,
        "webhook_endpoints",
        app="SELECT, INSERT, DELETE, UPDATE (url, event_types, secret, former_secret, former_until, status, "
        "status_reason, position, failing_since)",
        dispatch="SELECT (tenant_id, id, status, position)",
    )
    enable_tenant_rls(
        op,
        "webhook_deliveries",
        app="SELECT, INSERT, UPDATE (status, attempts, next_at, response_status, response_body, error, finished_at)",
    )


def downgrade() -> None:
    for table in ("webhook_deliveries", "webhook_endpoints", "tenant_keys"):
        op.execute(f"DROP TABLE {table} CASCADE")
