"""Decides what the authorization server stores: hashes of secrets, codes and tokens, never the things themselves."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from app.infra.columns import (
    GlobalRow,
    TenantRow,
    bigint,
    jsonb,
    tenant_foreign_key,
    text_array,
    utc,
    utc_now_column,
)


class SigningKey(GlobalRow, table=True):
    """A key of the platform. `private_sealed` is encrypted, bound to `kid`, and wiped once the key signs no more."""

    __tablename__ = "oauth_signing_keys"
    __table_args__ = (
        UniqueConstraint("kid"),
        Index("oauth_signing_keys_active_key", "algorithm", unique=True, postgresql_where=text("state = 'active'")),
        Index("oauth_signing_keys_next_key", "algorithm", unique=True, postgresql_where=text("state = 'next'")),
        CheckConstraint("algorithm IN ('ES256', 'RS256')", name="algorithm"),
        CheckConstraint("state IN ('next', 'active', 'retiring', 'gone')", name="state"),
        CheckConstraint("(private_sealed IS NULL) = (state IN ('retiring', 'gone'))", name="private"),
        {"info": {"app": "SELECT", "reference": "SELECT, INSERT, UPDATE (state, private_sealed, retired_at)"}},
    )

    kid: str
    algorithm: str
    state: str
    public_jwk: dict[str, Any] = jsonb()
    private_sealed: bytes | None = Field(default=None)
    created_at: datetime = utc()
    retired_at: datetime | None = utc(nullable=True)


class OAuthClient(TenantRow, table=True):
    """A tenant's application. `client_id` is random and unique over all tenants; it is public, the secret is not."""

    __tablename__ = "oauth_clients"
    __table_args__ = (
        Index("oauth_clients_client_id_key", "client_id", unique=True),
        Index(
            "oauth_clients_origins_idx",
            "cors_origins",
            postgresql_using="gin",
            postgresql_where=text("status = 'active'"),
        ),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        CheckConstraint("status IN ('active', 'revoked')", name="status"),
        CheckConstraint(
            "auth_method IN ('client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none')",
            name="auth_method",
        ),
        CheckConstraint(
            "(secret_hash IS NOT NULL) = (auth_method IN ('client_secret_basic', 'client_secret_post'))", name="secret"
        ),
        CheckConstraint("(jwks IS NOT NULL) = (auth_method = 'private_key_jwt')", name="jwks"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (secret_hash, status, revoked_at, name, redirect_uris, scopes,"
                " cors_origins)",
                "lookup": "SELECT",
            }
        },
    )

    client_id: str
    name: str
    auth_method: str
    secret_hash: bytes | None = Field(default=None)
    jwks: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    grant_types: list[str] = text_array()
    redirect_uris: list[str] = text_array()
    scopes: list[str] = text_array()
    cors_origins: list[str] = text_array()
    mode: str
    status: str = "active"
    created_by: UUID | None = Field(default=None)
    created_at: datetime = utc_now_column()
    revoked_at: datetime | None = utc(nullable=True)


class UsedAssertion(TenantRow, table=True):
    """A client's assertion that was used: its `jti` must not come again before it expires."""

    __tablename__ = "oauth_used_assertions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "client_ref", "jti_hash"),
        Index("oauth_used_assertions_expires_at_idx", "tenant_id", "client_ref", "expires_at"),
        tenant_foreign_key(["client_ref"], "oauth_clients"),
        {"info": {"app": "SELECT, INSERT, DELETE", "dispatch": "SELECT (tenant_id, id, expires_at), DELETE"}},
    )

    client_ref: UUID
    jti_hash: bytes
    expires_at: datetime = utc()


class Grant(TenantRow, table=True):
    """What a person granted a client: the family of all tokens that came of one code. It ends as a whole."""

    __tablename__ = "oauth_grants"
    __table_args__ = (
        Index("oauth_grants_user_idx", "tenant_id", "user_id", "client_ref"),
        Index("oauth_grants_session_idx", "tenant_id", "session_id"),
        tenant_foreign_key(["client_ref"], "oauth_clients"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (revoked_at, revoked_reason)",
                "dispatch": "SELECT (tenant_id, id, created_at, revoked_at), DELETE",
            }
        },
    )

    client_ref: UUID
    user_id: UUID
    session_id: str
    scopes: list[str] = text_array()
    auth_time: datetime = utc()
    created_at: datetime = utc()
    revoked_at: datetime | None = utc(nullable=True)
    revoked_reason: str | None = Field(default=None)


class AuthorizationCode(TenantRow, table=True):
    """A code between consent and its one redemption. `grant_id` is set by that."""

    __tablename__ = "oauth_codes"
    __table_args__ = (
        UniqueConstraint("tenant_id", "code_hash"),
        tenant_foreign_key(["client_ref"], "oauth_clients"),
        tenant_foreign_key(["grant_id"], "oauth_grants"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (redeemed_at, grant_id)",
                "dispatch": "SELECT (tenant_id, id, grant_id, expires_at), DELETE",
            }
        },
    )

    code_hash: bytes
    client_ref: UUID
    user_id: UUID
    session_id: str
    redirect_uri: str
    scopes: list[str] = text_array()
    code_challenge: str
    nonce: str | None = Field(default=None)
    auth_time: datetime = utc()
    amr: list[str] = text_array()
    expires_at: datetime = utc()
    redeemed_at: datetime | None = utc(nullable=True)
    grant_id: UUID | None = Field(default=None)


class RefreshToken(TenantRow, table=True):
    """One refresh token of a grant; used once, then replaced by `successor_id`."""

    __tablename__ = "oauth_refresh_tokens"
    __table_args__ = (
        UniqueConstraint("tenant_id", "token_hash"),
        Index("oauth_refresh_tokens_grant_idx", "tenant_id", "grant_id"),
        tenant_foreign_key(["grant_id"], "oauth_grants"),
        {
            "info": {
                "app": "SELECT, INSERT, UPDATE (used_at, successor_id)",
                "dispatch": "SELECT (tenant_id, id, grant_id, expires_at), DELETE",
            }
        },
    )

    token_hash: bytes
    grant_id: UUID
    issued_at: datetime = utc()
    expires_at: datetime = utc()
    used_at: datetime | None = utc(nullable=True)
    successor_id: UUID | None = Field(default=None)


class TokenEpoch(TenantRow, table=True):
    """The generation that new access tokens of a subject belong to: `id` is the tenant's own, a client's, or a
    person's."""

    __tablename__ = "oauth_token_epochs"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        {"info": {"app": "SELECT, INSERT, UPDATE (epoch)"}},
    )

    epoch: int = bigint()
