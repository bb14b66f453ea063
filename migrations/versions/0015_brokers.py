"""What left the paper venue's book; orders at brokers that are not ours; since when an order's fate is unknown."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "paper_ended",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("fill", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('filled', 'cancelled', 'expired')", name=op.f("paper_ended_status_check")),
        sa.CheckConstraint("(status = 'filled') = (fill IS NOT NULL)", name=op.f("paper_ended_fill_check")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "id", "account_id"],
            ["orders.tenant_id", "orders.id", "orders.account_id"],
            name=op.f("paper_ended_tenant_id_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("paper_ended_pkey")),
    )
    op.create_index("paper_ended_account_idx", "paper_ended", ["tenant_id", "account_id", "ended_at"], unique=False)
    op.create_table(
        "foreign_orders",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("filled", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("venue_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
            name=op.f("foreign_orders_tenant_id_account_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("foreign_orders_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "account_id",
            "venue_order_id",
            name=op.f("foreign_orders_tenant_id_account_id_venue_order_id_key"),
        ),
    )
    op.add_column("orders", sa.Column("unknown_since", sa.DateTime(timezone=True), nullable=True))
    enable_tenant_rls(op, "paper_ended", app="SELECT, INSERT", dispatch="SELECT (tenant_id, id, ended_at), DELETE")
    enable_tenant_rls(op, "foreign_orders", app="SELECT, INSERT, UPDATE (filled, status, venue_at, seen_at)")
    op.execute("GRANT UPDATE (unknown_since) ON orders TO mandi_app")
    op.execute("GRANT UPDATE (remaining, limit_price, arrived_after) ON paper_orders TO mandi_app")
    op.execute("GRANT SELECT (broker, status) ON accounts TO mandi_dispatch")


def downgrade() -> None:
    op.execute("REVOKE SELECT (broker, status) ON accounts FROM mandi_dispatch")
    op.execute("REVOKE UPDATE (remaining, limit_price, arrived_after) ON paper_orders FROM mandi_app")
    op.drop_column("orders", "unknown_since")
    for table in ("foreign_orders", "paper_ended"):
        op.execute(f"DROP TABLE {table} CASCADE")
