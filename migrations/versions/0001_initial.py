"""The first schema: every table of the walking skeleton, its policies and grants."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "event_heads",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("event_heads_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("actor_key_id", sa.Uuid(), nullable=True),
        sa.Column("source_ip", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "xid",
            sa.BigInteger(),
            server_default=sa.text("(pg_current_xact_id()::text)::bigint"),
            nullable=False,
        ),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("events_pkey")),
        postgresql_partition_by="HASH (tenant_id)",
    )
    op.create_index(
        "events_tenant_id_position_idx",
        "events",
        ["tenant_id", "position"],
        unique=True,
    )
    op.create_index(
        "events_unstamped_idx",
        "events",
        ["xid"],
        unique=False,
        postgresql_where=sa.text("position IS NULL"),
    )
    op.create_table(
        "work_items",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False
        ),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("lane", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "available_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('ready', 'done', 'dead')", name=op.f("work_items_state_check")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("work_items_pkey")),
    )
    op.create_index(
        "work_items_lane_idx",
        "work_items",
        ["tenant_id", "queue", "lane", "priority", "sequence"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_index(
        "work_items_ready_idx",
        "work_items",
        ["queue", "shard", "available_at"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_table(
        "work_leases",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("lane", sa.Uuid(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id", "queue", "lane", name=op.f("work_leases_pkey")
        ),
    )
    enable_tenant_rls(op, "event_heads", dispatch="SELECT, INSERT, UPDATE")
    enable_tenant_rls(
        op, "events", app="SELECT, INSERT", dispatch="SELECT, UPDATE (position)"
    )
    for part in range(8):
        op.execute(
            f"CREATE TABLE events_p{part} PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER {part})"
        )
    enable_tenant_rls(
        op, "work_items", app="SELECT, INSERT", dispatch="SELECT, UPDATE, DELETE"
    )
    enable_tenant_rls(op, "work_leases", dispatch="SELECT, INSERT, UPDATE, DELETE")


def downgrade() -> None:
    for table in (
        "work_leases",
        "work_items",
        "events",
        "event_heads",
    ):
        op.execute(f"DROP TABLE {table} CASCADE")
