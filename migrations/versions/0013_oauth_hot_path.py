"""Applications may be renamed, and given other scopes, redirect URIs and origins."""

from alembic import op

revision = "0013"
down_revision = "0012"
_EDITABLE = "UPDATE (name, redirect_uris, scopes, cors_origins)"


def upgrade() -> None:
    op.execute(f"GRANT {_EDITABLE} ON oauth_clients TO mandi_app")


def downgrade() -> None:
    op.execute(f"REVOKE {_EDITABLE} ON oauth_clients FROM mandi_app")
