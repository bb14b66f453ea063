"""Invitations wait to be mailed; a grant remembers its person's proof; what has run out can be cleared."""

import sqlalchemy as sa
from alembic import op

from app.infra.rls import open_across

revision = "0009"
down_revision = "0008"
_PURPOSE = "mail_requests_purpose_check"
_PURPOSES = "purpose IN ('sign_up', 'password_reset', 'security_changed')"

_CLEARED = {
    "oauth_codes": "SELECT (tenant_id, id, grant_id, expires_at), DELETE",
    "oauth_refresh_tokens": "SELECT (tenant_id, id, grant_id, expires_at), DELETE",
    "oauth_grants": "SELECT (tenant_id, id, created_at, revoked_at), DELETE",
    "oauth_used_assertions": "SELECT (tenant_id, id, expires_at), DELETE",
    "invitations": "SELECT (tenant_id, id, expires_at), DELETE",
    "webhook_deliveries": "SELECT (tenant_id, id, finished_at), DELETE",
    "login_sessions": "SELECT (id, expires_at), DELETE",
    "mail_tokens": "SELECT (id, expires_at), DELETE",
    "sign_ups": "SELECT (id, created_at), DELETE",
}


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
    for table, privileges in _CLEARED.items():
        open_across(op, table, "dispatch", privileges)


def downgrade() -> None:
    for table in _CLEARED:
        op.execute(f"DROP POLICY dispatch ON {table}")
        op.execute(f"REVOKE ALL ON {table} FROM mandi_dispatch")
    op.drop_column("oauth_grants", "auth_time")
    op.execute("DELETE FROM mail_requests WHERE purpose = 'invitation'")
    op.drop_constraint(op.f("mail_requests_letter_check"), "mail_requests")
    op.drop_constraint(op.f(_PURPOSE), "mail_requests")
    op.create_check_constraint(op.f(_PURPOSE), "mail_requests", _PURPOSES)
    op.drop_column("mail_requests", "letter")
