"""Work: a replay is a transaction of the tenant's own, so the application may make a dead row ready again."""

from alembic import op

revision = "0020"
down_revision = "0019"

_COLUMNS = "state, attempts, available_at, finished_at"


def upgrade() -> None:
    op.execute(f"GRANT UPDATE ({_COLUMNS}) ON work_items TO mandi_app")


def downgrade() -> None:
    op.execute(f"REVOKE UPDATE ({_COLUMNS}) ON work_items FROM mandi_app")
