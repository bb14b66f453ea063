"""Data keys of tenants, wrapped."""

import sqlalchemy as sa
from alembic import op

from app.infra.rls import enable_tenant_rls

revision = "0009"
down_revision = "0003"


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


def downgrade() -> None:
    op.execute("DROP TABLE tenant_keys CASCADE")
