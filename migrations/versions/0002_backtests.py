"""Backtests of tenants and their results."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text, Uuid
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "backtests",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=True),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("instruments", postgresql.ARRAY(Uuid()), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=True),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bars", sa.BigInteger(), nullable=False),
        sa.Column("bars_done", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("summary", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("result_sha256", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("progressed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("backtests_status_check")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "strategy_id"],
            ["strategies.tenant_id", "strategies.id"],
            name=op.f("backtests_tenant_id_strategy_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("backtests_pkey")),
    )
    op.create_index(
        "backtests_unfinished_idx",
        "backtests",
        ["tenant_id", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_table(
        "backtest_results",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "id"],
            ["backtests.tenant_id", "backtests.id"],
            name=op.f("backtest_results_tenant_id_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("backtest_results_pkey")),
    )
    enable_tenant_rls(
        op,
        "backtests",
        app="SELECT, INSERT, UPDATE (status, status_reason, cancel_requested_at, bars_done, attempts, fence, summary, result_sha256, started_at, progressed_at, finished_at)",
    )
    enable_tenant_rls(op, "backtest_results", app="SELECT, INSERT")


def downgrade() -> None:
    for table in ("backtest_results", "backtests"):
        op.execute(f"DROP TABLE {table} CASCADE")
