"""Invitations wait to be mailed; a grant remembers when its person had proved who they are."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
_PURPOSE = "mail_requests_purpose_check"
_PURPOSES = "purpose IN ('sign_up', 'password_reset', 'security_changed')"


def upgrade() -> None:
    op.add_column("mail_requests", sa.Column("letter", sa.LargeBinary(), nullable=True))
    op.drop_constraint(op.f(_PURPOSE), "mail_requests")
    op.create_check_constraint(op.f(_PURPOSE), "mail_requests", f"{_PURPOSES[:-1]}, 'invitation')")
    op.create_check_constraint(
        op.f("mail_requests_letter_check"), "mail_requests", "(letter IS NOT NULL) = (purpose = 'invitation')"
    )
    long_ago = sa.text("'epoch'")  # grants of before prove nothing recent
    op.add_column(
        "oauth_grants", sa.Column("auth_time", sa.DateTime(timezone=True), nullable=False, server_default=long_ago)
    )
    op.alter_column("oauth_grants", "auth_time", server_default=None)


def downgrade() -> None:
    op.drop_column("oauth_grants", "auth_time")
    op.execute("DELETE FROM mail_requests WHERE purpose = 'invitation'")
    op.drop_constraint(op.f("mail_requests_letter_check"), "mail_requests")
    op.drop_constraint(op.f(_PURPOSE), "mail_requests")
    op.create_check_constraint(op.f(_PURPOSE), "mail_requests", _PURPOSES)
    op.drop_column("mail_requests", "letter")
