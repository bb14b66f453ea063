"""Order types are plug-ins; stop orders, protected prices, validities, orders that wait with us, changes of orders."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0017"
down_revision = "0016"

_CHANGEABLE = "quantity, limit_price, trigger_price, protected_price, hold_minor, pending_change"
_BOOK = "trigger_price, triggered_at, protected_price"
_CHECKS = {
    "trigger_price": "trigger_price > 0",
    "market_protection": "market_protection_bps BETWEEN 1 AND 10000",
    "disclosed_quantity": "disclosed_quantity > 0 AND disclosed_quantity < quantity",
    "expires_at": "(validity = 'ttl') = (expires_at IS NOT NULL)",
    "validity_minutes": "(validity = 'ttl') = (validity_minutes IS NOT NULL)",
}
_REPLACED = {
    "order_type": ("order_type IN ('market', 'limit')", "order_type ~ '^[a-z_]{1,32}$'"),
    "limit_price": ("(order_type = 'limit') = (limit_price IS NOT NULL)", "limit_price > 0"),
    "validity": ("validity IN ('day', 'gtc')", "validity IN ('day', 'gtc', 'ioc', 'ttl', 'gtt')"),
}


_OTHERWISE = (
    "paper_modify(uuid, uuid, bigint, bigint, text)",
    "paper_modify(uuid, uuid, bigint, bigint, bigint, bigint, text)",
    "paper_reports(uuid, uuid, uuid)",
)
"""SQL functions that take or answer something else before and after; those of the release are made afterwards."""


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("trigger_price", sa.BigInteger(), nullable=True),
        sa.Column("market_protection_bps", sa.Integer(), nullable=True),
        sa.Column("protected_price", sa.BigInteger(), nullable=True),
        sa.Column("disclosed_quantity", sa.BigInteger(), nullable=True),
        sa.Column("validity_minutes", sa.Integer(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("after_market", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("parameters", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("pending_change", postgresql.JSONB(astext_type=Text()), nullable=True),
    ]


def upgrade() -> None:
    for function in _OTHERWISE:
        op.execute(f"DROP FUNCTION IF EXISTS {function}")
    for column in _columns():
        op.add_column("orders", column)
    for name, (_, condition) in _REPLACED.items():
        op.drop_constraint(op.f(f"orders_{name}_check"), "orders")
        op.create_check_constraint(op.f(f"orders_{name}_check"), "orders", condition)
    for name, condition in _CHECKS.items():
        op.create_check_constraint(op.f(f"orders_{name}_check"), "orders", condition)
    op.execute(f"GRANT UPDATE ({_CHANGEABLE}) ON orders TO mandi_app")
    op.add_column("paper_orders", sa.Column("trigger_price", sa.BigInteger(), nullable=True))
    op.add_column("paper_orders", sa.Column("triggered_at", sa.Text(), nullable=True))
    op.add_column("paper_orders", sa.Column("protected_price", sa.BigInteger(), nullable=True))
    op.add_column("paper_orders", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(f"GRANT UPDATE ({_BOOK}) ON paper_orders TO mandi_app")
    op.create_table(
        "waiting_orders",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("validity", sa.Text(), nullable=False),
        sa.Column("waits_for", sa.Text(), nullable=False),
        sa.Column("trigger_price", sa.BigInteger(), nullable=True),
        sa.Column("trail_by", sa.BigInteger(), nullable=True),
        sa.Column("trail_bps", sa.Integer(), nullable=True),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.Column("seen_to", sa.Text(), nullable=False),
        sa.CheckConstraint("waits_for IN ('open', 'price')", name=op.f("waiting_orders_waits_for_check")),
        sa.CheckConstraint(
            "(waits_for = 'price') = (trigger_price IS NOT NULL)", name=op.f("waiting_orders_trigger_price_check")
        ),
        sa.CheckConstraint("num_nonnulls(trail_by, trail_bps) < 2", name=op.f("waiting_orders_trail_check")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("waiting_orders_instrument_id_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "id", "account_id"],
            ["orders.tenant_id", "orders.id", "orders.account_id"],
            name=op.f("waiting_orders_tenant_id_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("waiting_orders_pkey")),
    )
    op.create_index("waiting_orders_book_idx", "waiting_orders", ["feed", "instrument_id"], unique=False)
    enable_tenant_rls(
        op,
        "waiting_orders",
        app="SELECT, INSERT, UPDATE (waits_for, trigger_price, trail_by, trail_bps, seen_to), DELETE",
        dispatch="SELECT",
    )


def downgrade() -> None:
    for function in _OTHERWISE:
        op.execute(f"DROP FUNCTION IF EXISTS {function}")
    op.execute("DROP TABLE waiting_orders CASCADE")
    op.execute(f"REVOKE UPDATE ({_BOOK}) ON paper_orders FROM mandi_app")
    for column in ("expires_at", "protected_price", "triggered_at", "trigger_price"):
        op.drop_column("paper_orders", column)
    op.execute(f"REVOKE UPDATE ({_CHANGEABLE}) ON orders FROM mandi_app")
    for name in _CHECKS:
        op.drop_constraint(op.f(f"orders_{name}_check"), "orders")
    for name, (condition, _) in _REPLACED.items():
        op.drop_constraint(op.f(f"orders_{name}_check"), "orders")
        op.create_check_constraint(op.f(f"orders_{name}_check"), "orders", condition)
    for column in reversed(_columns()):
        op.drop_column("orders", column.name)
