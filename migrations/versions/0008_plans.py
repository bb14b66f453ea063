"""Plans, entitlements and usage counters; the plans free, developer and broker; what tenants have already, counted."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls, global_table

revision = "0008"
down_revision = "0007"

# Frozen as they were when this version was written: a plan changes by a new version in a later migration.
_ADD_ONS = {
    "accounts": {"features": [], "limits": {"accounts": 10}},
    "deployments": {"features": [], "limits": {"deployments": 10}},
    "backtest_cells": {"features": [], "limits": {"backtest_cells": 100_000_000_000}},
}


def _rates(reads: int, writes: int, orders: int, backtests: int) -> dict[str, Any]:
    quotas = {"reads": reads, "writes": writes, "orders": orders, "backtests": backtests}
    return {name: {"quota": quota, "window_s": 60, "per_credential": quota} for name, quota in quotas.items()}


_PLANS: dict[str, dict[str, Any]] = {
    "free": {
        "title": "Free",
        "rank": 0,
        "grace_days": 14,
        "features": ["paper_trading", "webhooks"],
        "limits": {
            "api_calls": 10_000_000,
            "backtest_cells": 10_000_000_000,
            "accounts": 100,
            "deployments": 100,
            "api_keys": 100,
        },
        "rates": _rates(12_000, 6_000, 6_000, 600),
        "add_ons": {},
    },
    "developer": {
        "title": "Developer",
        "rank": 1,
        "grace_days": 14,
        "features": ["paper_trading", "live_trading", "webhooks"],
        "limits": {
            "api_calls": 100_000_000,
            "backtest_cells": 1_000_000_000_000,
            "accounts": 1_000,
            "deployments": 1_000,
            "api_keys": 1_000,
        },
        "rates": _rates(60_000, 30_000, 30_000, 3_000),
        "add_ons": _ADD_ONS,
    },
    "broker": {
        "title": "Broker",
        "rank": 2,
        "grace_days": 30,
        "features": ["paper_trading", "live_trading", "webhooks", "single_sign_on", "white_label"],
        "limits": {
            "api_calls": None,
            "backtest_cells": 100_000_000_000_000,
            "accounts": None,
            "deployments": None,
            "api_keys": 10_000,
        },
        "rates": _rates(600_000, 300_000, 300_000, 30_000),
        "add_ons": _ADD_ONS,
    },
}

# Row-level security holds this role, too: tenants are listed as the role that may look them up, then counted in turn.
_COUNT_WHAT_IS_THERE = """
DO $$
DECLARE
    v_tenants uuid[];
    v_tenant uuid;
BEGIN
    SET LOCAL ROLE mandi_lookup;
    SELECT coalesce(array_agg(tenant_id), '{}') INTO v_tenants FROM tenants;
    RESET ROLE;
    FOREACH v_tenant IN ARRAY v_tenants LOOP
        PERFORM set_config('app.tenant_id', v_tenant::text, true);
        INSERT INTO usage_counters (tenant_id, period, name, used)
        SELECT v_tenant, 'standing', 'accounts', count(*) FROM accounts WHERE tenant_id = v_tenant
        UNION ALL
        SELECT v_tenant, 'standing', 'deployments', count(*) FROM deployments
        WHERE tenant_id = v_tenant AND status <> 'stopped'
        UNION ALL
        SELECT v_tenant, 'standing', 'api_keys', count(*) FROM api_keys
        WHERE tenant_id = v_tenant AND revoked_at IS NULL;
    END LOOP;
    PERFORM set_config('app.tenant_id', '', true);
END
$$
"""


def upgrade() -> None:
    plans = op.create_table(
        "plans",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("terms", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("plans_version_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("plans_pkey")),
        sa.UniqueConstraint("code", "version", name=op.f("plans_code_version_key")),
    )
    op.create_table(
        "entitlements",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("plan_code", sa.Text(), nullable=False),
        sa.Column("plan_version", sa.BigInteger(), nullable=False),
        sa.Column("add_ons", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("overrides", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("past_due_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_only_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(past_due_since IS NULL) = (read_only_at IS NULL)", name=op.f("entitlements_past_due_check")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("entitlements_tenant_id_fkey")),
        sa.ForeignKeyConstraint(
            ["plan_code", "plan_version"],
            ["plans.code", "plans.version"],
            name=op.f("entitlements_plan_code_plan_version_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("entitlements_pkey")),
    )
    op.create_table(
        "usage_counters",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("used >= 0", name=op.f("usage_counters_used_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("usage_counters_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "period", "name", name=op.f("usage_counters_pkey")),
    )
    global_table(op, "plans", app="SELECT", reference="SELECT, INSERT")
    enable_tenant_rls(
        op,
        "entitlements",
        app="SELECT, INSERT, UPDATE (plan_code, plan_version, add_ons, overrides, past_due_since, read_only_at, "
        "version, updated_at)",
    )
    enable_tenant_rls(op, "usage_counters", app="SELECT, INSERT, UPDATE (used)")
    op.execute(
        sa.insert(plans).values(
            [
                {
                    "id": uuid5(NAMESPACE_URL, f"plan:{code}:1"),
                    "code": code,
                    "version": 1,
                    "terms": terms,
                    "valid_from": sa.text("timestamptz '2020-01-01T00:00:00Z'"),
                }
                for code, terms in _PLANS.items()
            ]
        )
    )
    op.execute(_COUNT_WHAT_IS_THERE)


def downgrade() -> None:
    for table in ("usage_counters", "entitlements", "plans"):
        op.execute(f"DROP TABLE {table} CASCADE")
