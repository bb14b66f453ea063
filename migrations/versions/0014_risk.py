"""Limits of five levels, halts, bands of prices, an order's algo id, each day's highest equity."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls, global_table

revision = "0014"
down_revision = "0013"

_SCOPE = "coalesce(deployment_id, account_id, client_id, tenant_id)"
_STANDING = sa.text("resumed_at IS NULL")


def upgrade() -> None:
    _limits()
    _halts()
    op.create_table(
        "instrument_bands",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("lower", sa.BigInteger(), nullable=True),
        sa.Column("upper", sa.BigInteger(), nullable=True),
        sa.Column("halted", sa.Boolean(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_from", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("recorded_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint("lower > 0 AND upper >= lower", name=op.f("instrument_bands_range_check")),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name=op.f("instrument_bands_valid_check")),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["instruments.id"], name=op.f("instrument_bands_instrument_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("instrument_bands_pkey")),
    )
    op.create_index(
        "instrument_bands_current_idx",
        "instrument_bands",
        ["instrument_id", "valid_from"],
        unique=True,
        postgresql_where=sa.text("recorded_to IS NULL"),
    )
    global_table(op, "instrument_bands", app="SELECT", reference="SELECT, INSERT, UPDATE (recorded_to)")
    op.add_column("orders", sa.Column("algo_id", sa.Text(), nullable=True))
    op.add_column("risk_days", sa.Column("high_equity_minor", sa.BigInteger(), nullable=True))
    op.add_column("risk_days", sa.Column("peak_equity_minor", sa.BigInteger(), nullable=True))
    op.execute("GRANT UPDATE (high_equity_minor, peak_equity_minor) ON risk_days TO mandi_app")


def _limits() -> None:
    for column in ("client_id", "deployment_id"):
        op.add_column("risk_limits", sa.Column(column, sa.Uuid(), nullable=True))
    op.add_column("risk_limits", sa.Column("scope_id", sa.Uuid(), sa.Computed(_SCOPE, persisted=True), nullable=False))
    op.drop_constraint(op.f("risk_limits_tenant_id_account_id_rule_key"), "risk_limits")
    op.create_unique_constraint(
        op.f("risk_limits_tenant_id_scope_id_rule_key"), "risk_limits", ["tenant_id", "scope_id", "rule"]
    )
    for column, table in (("client_id", "clients"), ("deployment_id", "deployments")):
        op.create_foreign_key(
            op.f(f"risk_limits_tenant_id_{column}_fkey"),
            "risk_limits",
            table,
            ["tenant_id", column],
            ["tenant_id", "id"],
        )
    op.create_table(
        "risk_platform_limits",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("risk_platform_limits_pkey")),
        sa.UniqueConstraint("rule", name=op.f("risk_platform_limits_rule_key")),
    )
    global_table(op, "risk_platform_limits", app="SELECT", reference="SELECT, INSERT, UPDATE, DELETE")


def _halts() -> None:
    op.create_table(
        "risk_halts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("deployment_id", sa.Uuid(), nullable=True),
        sa.Column("algo_id", sa.Text(), nullable=True),
        sa.Column(
            "scope",
            sa.Text(),
            sa.Computed("coalesce('algo:' || algo_id, deployment_id::text, account_id::text, '')", persisted=True),
            nullable=False,
        ),
        sa.Column("account_mode", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("halted_by_key", sa.Uuid(), nullable=True),
        sa.Column("halted_by", sa.Uuid(), nullable=True),
        sa.Column("halted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resumed_by", sa.Uuid(), nullable=True),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('halt', 'reduce_only')", name=op.f("risk_halts_mode_check")),
        sa.CheckConstraint("account_mode IN ('test', 'live')", name=op.f("risk_halts_account_mode_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("risk_halts_tenant_id_account_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "deployment_id"],
            ["deployments.tenant_id", "deployments.id"],
            name=op.f("risk_halts_tenant_id_deployment_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("risk_halts_pkey")),
    )
    op.create_index("risk_halts_standing_idx", "risk_halts", ["tenant_id", "scope"], postgresql_where=_STANDING)
    enable_tenant_rls(op, "risk_halts", app="SELECT, INSERT, UPDATE (resumed_by, resumed_at)")
    op.create_table(
        "risk_platform_halts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("algo_id", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("halted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('halt', 'reduce_only')", name=op.f("risk_platform_halts_mode_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("risk_platform_halts_pkey")),
    )
    op.create_index("risk_platform_halts_standing_idx", "risk_platform_halts", ["algo_id"], postgresql_where=_STANDING)
    global_table(op, "risk_platform_halts", app="SELECT", reference="SELECT, INSERT, UPDATE (resumed_at)")


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS orders_decided ON orders")
    op.drop_column("orders", "algo_id")
    op.execute("REVOKE UPDATE (high_equity_minor, peak_equity_minor) ON risk_days FROM mandi_app")
    for column in ("high_equity_minor", "peak_equity_minor"):
        op.drop_column("risk_days", column)
    for table in ("instrument_bands", "risk_platform_halts", "risk_halts", "risk_platform_limits"):
        op.execute(f"DROP TABLE {table} CASCADE")
    # A client's or a deployment's limit means nothing to the older schema.
    op.execute("DELETE FROM risk_limits WHERE client_id IS NOT NULL OR deployment_id IS NOT NULL")
    op.drop_column("risk_limits", "scope_id")
    for column in ("client_id", "deployment_id"):
        op.drop_column("risk_limits", column)
    op.create_unique_constraint(
        op.f("risk_limits_tenant_id_account_id_rule_key"),
        "risk_limits",
        ["tenant_id", "account_id", "rule"],
        postgresql_nulls_not_distinct=True,
    )
