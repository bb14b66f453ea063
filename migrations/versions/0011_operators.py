"""Events name the operator who brought them about."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("events", sa.Column("actor_operator", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("events", "actor_operator")
