"""Sweeps of tenants, the figures of their chunks and their results."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=True),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("search", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("combinations", sa.BigInteger(), nullable=False),
        sa.Column("chunk_size", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("earlier", sa.BigInteger(), nullable=True),
        sa.Column("summary", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("result_sha256", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("sweeps_status_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "strategy_id"],
            ["strategies.tenant_id", "strategies.id"],
            name=op.f("sweeps_tenant_id_strategy_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("sweeps_pkey")),
    )
    op.create_index(
        "sweeps_unfinished_idx",
        "sweeps",
        ["tenant_id", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_index("sweeps_family_idx", "sweeps", ["tenant_id", "family"], unique=False)
    op.create_table(
        "sweep_chunks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sweep_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("combinations", sa.BigInteger(), nullable=False),
        sa.Column("ran", sa.BigInteger(), nullable=False),
        sa.Column("figures", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "sweep_id"],
            ["sweeps.tenant_id", "sweeps.id"],
            name=op.f("sweep_chunks_tenant_id_sweep_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("sweep_chunks_pkey")),
        sa.UniqueConstraint("tenant_id", "sweep_id", "number", name=op.f("sweep_chunks_tenant_id_sweep_id_number_key")),
    )
    op.create_table(
        "sweep_results",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "id"], ["sweeps.tenant_id", "sweeps.id"], name=op.f("sweep_results_tenant_id_id_fkey")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("sweep_results_pkey")),
    )
    enable_tenant_rls(
        op,
        "sweeps",
        app="SELECT, INSERT, UPDATE (status, status_reason, earlier, summary, result_sha256, started_at, finished_at)",
    )
    enable_tenant_rls(op, "sweep_chunks", app="SELECT, INSERT")
    enable_tenant_rls(op, "sweep_results", app="SELECT, INSERT")


def downgrade() -> None:
    for table in ("sweep_results", "sweep_chunks", "sweeps"):
        op.execute(f"DROP TABLE {table} CASCADE")
