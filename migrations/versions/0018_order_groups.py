"""Orders that belong together: slices of a whole, an entry with its exits, pairs of which one cancels the other."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_STATUSES = (
    "'denied', 'waiting', 'accepted', 'submitting', 'unknown', 'open', 'partially_filled', 'filled', 'cancelled', "
    "'rejected', 'expired', 'lost'"
)
_CHECKS = {
    "order_class": "order_class IN ('single', 'sliced', 'iceberg', 'bracket', 'oto', 'oco', 'cover')",
    "leg": "leg IN ('whole', 'slice', 'entry', 'target', 'stop')",
    "grouped": "(order_class = 'single') = (leg IS NULL)",
    "child": "parent_id IS NULL OR leg IN ('slice', 'target', 'stop')",
    "pair": "(pair_id IS NULL) = (pair_quantity IS NULL)",
}


def upgrade() -> None:
    op.add_column("orders", sa.Column("order_class", sa.Text(), server_default="single", nullable=False))
    op.add_column("orders", sa.Column("leg", sa.Text(), nullable=True))
    op.add_column("orders", sa.Column("parent_id", sa.Uuid(), nullable=True))
    op.add_column("orders", sa.Column("pair_id", sa.Uuid(), nullable=True))
    op.add_column("orders", sa.Column("pair_quantity", sa.BigInteger(), nullable=True))
    op.add_column("orders", sa.Column("counted", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.create_foreign_key(
        op.f("orders_tenant_id_parent_id_fkey"),
        "orders",
        "orders",
        ["tenant_id", "parent_id"],
        ["tenant_id", "id"],
    )
    for name, columns, condition in (
        ("family", ["tenant_id", "parent_id", "id"], "parent_id IS NOT NULL"),
        ("pair", ["tenant_id", "pair_id"], "pair_id IS NOT NULL"),
    ):
        op.create_index(f"orders_{name}_idx", "orders", columns, postgresql_where=sa.text(condition))
    _check("status", f"status IN ({_STATUSES})", replace=True)
    for name, condition in _CHECKS.items():
        _check(name, condition)
    op.execute("GRANT UPDATE (pair_quantity, counted) ON orders TO mandi_app")


def _check(name: str, condition: str, *, replace: bool = False) -> None:
    if replace:
        op.drop_constraint(op.f(f"orders_{name}_check"), "orders")
    op.create_check_constraint(op.f(f"orders_{name}_check"), "orders", condition)


def downgrade() -> None:
    for name in _CHECKS:
        op.drop_constraint(op.f(f"orders_{name}_check"), "orders")
    op.execute("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY")  # the owner may see every tenant's for this statement
    op.execute("UPDATE orders SET status = 'cancelled', status_reason = 'waiting' WHERE status = 'waiting'")
    op.execute("ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    _check("status", f"status IN ({_STATUSES.replace(chr(39) + 'waiting' + chr(39) + ', ', '')})", replace=True)
    op.drop_index("orders_pair_idx", "orders")
    op.drop_index("orders_family_idx", "orders")
    op.drop_constraint(op.f("orders_tenant_id_parent_id_fkey"), "orders")
    for name in ("counted", "pair_quantity", "pair_id", "parent_id", "leg", "order_class"):
        op.drop_column("orders", name)
