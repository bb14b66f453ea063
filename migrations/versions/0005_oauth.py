"""Signing keys of the authorization server; clients, grants, codes and tokens of tenants."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from app.infra.rls import enable_tenant_rls, global_table

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "oauth_signing_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("public_jwk", postgresql.JSONB(astext_type=Text()), nullable=False),
        sa.Column("private_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(private_sealed IS NULL) = (state IN ('retiring', 'gone'))", name=op.f("oauth_signing_keys_private_check")
        ),
        sa.CheckConstraint("algorithm IN ('ES256', 'RS256')", name=op.f("oauth_signing_keys_algorithm_check")),
        sa.CheckConstraint(
            "state IN ('next', 'active', 'retiring', 'gone')", name=op.f("oauth_signing_keys_state_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("oauth_signing_keys_pkey")),
        sa.UniqueConstraint("kid", name=op.f("oauth_signing_keys_kid_key")),
    )
    op.create_index(
        "oauth_signing_keys_next_key",
        "oauth_signing_keys",
        ["algorithm"],
        unique=True,
        postgresql_where=sa.text("state = 'next'"),
    )
    op.create_index(
        "oauth_signing_keys_active_key",
        "oauth_signing_keys",
        ["algorithm"],
        unique=True,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "oauth_clients",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("auth_method", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=True),
        sa.Column("jwks", postgresql.JSONB(astext_type=Text()), nullable=True),
        sa.Column("grant_types", postgresql.ARRAY(Text()), nullable=False),
        sa.Column("redirect_uris", postgresql.ARRAY(Text()), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(Text()), nullable=False),
        sa.Column("cors_origins", postgresql.ARRAY(Text()), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(jwks IS NOT NULL) = (auth_method = 'private_key_jwt')", name=op.f("oauth_clients_jwks_check")
        ),
        sa.CheckConstraint(
            "(secret_hash IS NOT NULL) = (auth_method IN ('client_secret_basic', 'client_secret_post'))",
            name=op.f("oauth_clients_secret_check"),
        ),
        sa.CheckConstraint(
            "auth_method IN ('client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none')",
            name=op.f("oauth_clients_auth_method_check"),
        ),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("oauth_clients_mode_check")),
        sa.CheckConstraint("status IN ('active', 'revoked')", name=op.f("oauth_clients_status_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("oauth_clients_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("oauth_clients_pkey")),
    )
    op.create_index("oauth_clients_client_id_key", "oauth_clients", ["client_id"], unique=True)
    op.create_table(
        "oauth_used_assertions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_ref", sa.Uuid(), nullable=False),
        sa.Column("jti_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_ref"],
            ["oauth_clients.tenant_id", "oauth_clients.id"],
            name=op.f("oauth_used_assertions_tenant_id_client_ref_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("oauth_used_assertions_pkey")),
        sa.UniqueConstraint(
            "tenant_id", "client_ref", "jti_hash", name=op.f("oauth_used_assertions_tenant_id_client_ref_jti_hash_key")
        ),
    )
    op.create_index(
        "oauth_used_assertions_expires_at_idx",
        "oauth_used_assertions",
        ["tenant_id", "client_ref", "expires_at"],
        unique=False,
    )
    op.create_table(
        "oauth_grants",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_ref", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_ref"],
            ["oauth_clients.tenant_id", "oauth_clients.id"],
            name=op.f("oauth_grants_tenant_id_client_ref_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("oauth_grants_pkey")),
    )
    op.create_index("oauth_grants_user_idx", "oauth_grants", ["tenant_id", "user_id", "client_ref"], unique=False)
    op.create_index("oauth_grants_session_idx", "oauth_grants", ["tenant_id", "session_id"], unique=False)
    op.create_table(
        "oauth_codes",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("client_ref", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(Text()), nullable=False),
        sa.Column("code_challenge", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("auth_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amr", postgresql.ARRAY(Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("redeemed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("grant_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "client_ref"],
            ["oauth_clients.tenant_id", "oauth_clients.id"],
            name=op.f("oauth_codes_tenant_id_client_ref_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "grant_id"],
            ["oauth_grants.tenant_id", "oauth_grants.id"],
            name=op.f("oauth_codes_tenant_id_grant_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("oauth_codes_pkey")),
        sa.UniqueConstraint("tenant_id", "code_hash", name=op.f("oauth_codes_tenant_id_code_hash_key")),
    )
    op.create_table(
        "oauth_refresh_tokens",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("successor_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "grant_id"],
            ["oauth_grants.tenant_id", "oauth_grants.id"],
            name=op.f("oauth_refresh_tokens_tenant_id_grant_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("oauth_refresh_tokens_pkey")),
        sa.UniqueConstraint("tenant_id", "token_hash", name=op.f("oauth_refresh_tokens_tenant_id_token_hash_key")),
    )
    op.create_index("oauth_refresh_tokens_grant_idx", "oauth_refresh_tokens", ["tenant_id", "grant_id"], unique=False)
    op.create_table(
        "oauth_token_epochs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=op.f("oauth_token_epochs_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("oauth_token_epochs_pkey")),
    )
    global_table(
        op, "oauth_signing_keys", app="SELECT", reference="SELECT, INSERT, UPDATE (state, private_sealed, retired_at)"
    )
    enable_tenant_rls(
        op, "oauth_clients", app="SELECT, INSERT, UPDATE (secret_hash, status, revoked_at)", lookup="SELECT"
    )
    enable_tenant_rls(op, "oauth_used_assertions", app="SELECT, INSERT, DELETE")
    enable_tenant_rls(op, "oauth_grants", app="SELECT, INSERT, UPDATE (revoked_at, revoked_reason)")
    enable_tenant_rls(op, "oauth_codes", app="SELECT, INSERT, UPDATE (redeemed_at, grant_id)")
    enable_tenant_rls(op, "oauth_refresh_tokens", app="SELECT, INSERT, UPDATE (used_at, successor_id)")
    enable_tenant_rls(op, "oauth_token_epochs", app="SELECT, INSERT, UPDATE (epoch)")


def downgrade() -> None:
    for table in (
        "oauth_token_epochs",
        "oauth_refresh_tokens",
        "oauth_codes",
        "oauth_grants",
        "oauth_used_assertions",
        "oauth_clients",
        "oauth_signing_keys",
    ):
        op.execute(f"DROP TABLE {table} CASCADE")
