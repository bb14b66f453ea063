"""Jobs of the trading calendar, orders whose positions are closed before the session is, and files compared."""

import sqlalchemy as sa
from alembic import op

from app.infra.rls import enable_tenant_rls, global_table

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    _calendar()
    _reconciliations()


def _calendar() -> None:
    op.create_table(
        "calendar_jobs",
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('expire', 'open', 'square_off')", name=op.f("calendar_jobs_kind_check")),
        sa.CheckConstraint("state IN ('pending', 'done')", name=op.f("calendar_jobs_state_check")),
        sa.CheckConstraint("(state = 'done') = (done_at IS NOT NULL)", name=op.f("calendar_jobs_done_check")),
        sa.PrimaryKeyConstraint("feed", "venue", "segment", "kind", "day", "turn", name=op.f("calendar_jobs_pkey")),
    )
    op.create_index(
        "calendar_jobs_due_idx", "calendar_jobs", ["feed", "due_at"], postgresql_where=sa.text("state = 'pending'")
    )
    global_table(op, "calendar_jobs", dispatch="SELECT, INSERT, UPDATE, DELETE")
    op.create_index(
        "orders_intraday_idx",
        "orders",
        ["tenant_id", "account_id", "market_at"],
        postgresql_where=sa.text("product = 'intraday'"),
    )


def _reconciliations() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("compared", sa.Integer(), nullable=False),
        sa.Column("differences", sa.Integer(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("closed", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("source IN ('bank', 'broker', 'depository')", name=op.f("reconciliations_source_check")),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("reconciliations_mode_check")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("reconciliations_pkey")),
        sa.UniqueConstraint(
            "tenant_id",
            "source",
            "mode",
            "as_of",
            "digest",
            name=op.f("reconciliations_tenant_id_source_mode_as_of_digest_key"),
        ),
    )
    enable_tenant_rls(op, "reconciliations", app="SELECT, INSERT")
    op.execute("GRANT UPDATE (expected_minor, actual_minor, opened_at) ON ledger_breaks TO mandi_app")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (expected_minor, actual_minor, opened_at) ON ledger_breaks FROM mandi_app")
    op.drop_table("reconciliations")
    op.drop_index("orders_intraday_idx")
    op.execute("DROP TABLE calendar_jobs CASCADE")  # with the function that answers its rows
