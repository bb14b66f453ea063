"""A corporate action is applied to a tenant once, whatever it holds when its feed tells it again; what is pruned is found
by an index."""

import sqlalchemy as sa
from alembic import op

from app.infra.rls import enable_tenant_rls

revision = "0026"
down_revision = "0025"

_OTHERWISE = (
    "identity_keys_used(uuid[], uuid[], timestamptz[])",
    "ledger_segregation()",
    "orders_change_done(uuid, uuid, jsonb, jsonb)",
    "orders_change_refused(uuid, uuid, jsonb, jsonb)",
    "orders_excess(uuid, uuid)",
    "orders_exit_context(uuid, uuid, uuid, text, uuid)",
    "orders_square_off_context(uuid, uuid, uuid, text, timestamptz, uuid)",
    "work_forget(interval, int)",
    "work_prune(interval, int)",
)
"""SQL functions that take or answer something else before, or are not there; those of the release are made afterwards."""


def upgrade() -> None:
    op.create_table(
        "applied_actions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("feed", sa.String(), nullable=False),
        sa.Column("action_id", sa.Uuid(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("applied_actions_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "feed", "action_id", name=op.f("applied_actions_tenant_id_feed_action_id_key")
        ),
    )
    enable_tenant_rls(op, "applied_actions", app="SELECT, INSERT")
    op.create_index(
        "work_items_finished_idx", "work_items", ["finished_at"], postgresql_where=sa.text("state = 'done'")
    )
    op.create_index(
        "webhook_deliveries_finished_idx",
        "webhook_deliveries",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("paper_ended_at_idx", "paper_ended", ["ended_at"])


def downgrade() -> None:
    for function in _OTHERWISE:
        op.execute(f"DROP FUNCTION IF EXISTS {function}")
    for index in ("paper_ended_at_idx", "webhook_deliveries_finished_idx", "work_items_finished_idx"):
        op.drop_index(index)
    op.drop_table("applied_actions")
