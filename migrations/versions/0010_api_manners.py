"""Answers kept for the header `Idempotency-Key`; origins of applications, found at once."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status between 200 and 499", name=op.f("idempotency_keys_status_check")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index("idempotency_keys_expiry_idx", "idempotency_keys", ["expires_at"], unique=False)
    enable_tenant_rls(op, "idempotency_keys", app="SELECT, INSERT, UPDATE", dispatch="SELECT, DELETE")
    op.create_index(
        "oauth_clients_origins_idx",
        "oauth_clients",
        ["cors_origins"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("status = 'active'"),
    )


def downgrade() -> None:
    op.drop_index("oauth_clients_origins_idx")
    op.execute("DROP TABLE idempotency_keys CASCADE")
