"""A sign-up remembers, sealed, the invitation that it came from."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("sign_ups", sa.Column("invitation", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("sign_ups", "invitation")
