"""A broker's rate for an account is counted where all processes see it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls

revision = "0025"
down_revision = "0024"

_OTHERWISE = (
    "brokers_take_turn(uuid, uuid, boolean, int, int, interval)",
    "brokers_wait(timestamptz[], int, timestamptz, interval)",
    "instrument_for_order(uuid, timestamptz)",
    "instrument_scale(uuid)",
    "market_session_of(text, text, timestamptz)",
    "work_failed(uuid, uuid, text, interval, boolean, boolean)",
)
"""SQL functions that take or answer something else before, or are not there; those of the release are made afterwards."""
_TIMES = postgresql.ARRAY(sa.DateTime(timezone=True))


def upgrade() -> None:
    op.create_table(
        "broker_calls",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("made", _TIMES, nullable=False),
        sa.Column("entries", _TIMES, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "id"], ["accounts.tenant_id", "accounts.id"], name=op.f("broker_calls_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("broker_calls_pkey")),
    )
    enable_tenant_rls(op, "broker_calls", app="SELECT, INSERT, UPDATE (made, entries)")


def downgrade() -> None:
    for function in _OTHERWISE:
        op.execute(f"DROP FUNCTION IF EXISTS {function}")
    op.drop_table("broker_calls")
