"""Decides who may end a token (RFC 7009: its client) and ask about one (RFC 7662: clients of its tenant)."""

from datetime import datetime
from typing import Any

from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from sqlalchemy.util import await_only

from app.kernel.errors import DomainError, Kind
from app.kernel.ids import encode_id
from app.platform.oauth import repository
from app.platform.oauth.domain import TENANT, USER, AccessToken, grant_mark, hash_secret, is_token_shaped, token_mark
from app.platform.oauth.service.grants import end_grant, session_stands
from app.platform.oauth.service.protocol import CONFIDENTIAL, EVERY_METHOD, Exchange, KnownClient
from app.platform.oauth.service.revocations import Standing
from app.platform.oauth.tables import Grant, RefreshToken


class HeldAccess:
    """A verified access token as Authlib reads it."""

    def __init__(self, token: AccessToken, standing: Standing) -> None:
        self.token = token
        self.standing = standing

    def check_client(self, client: KnownClient) -> bool:
        return self.token.client_ref == client.row.id and self.token.tenant_id == client.row.tenant_id

    def is_expired(self) -> bool:
        return False  # an expired one does not verify

    def is_revoked(self) -> bool:
        if self.standing is Standing.UNKNOWN:
            raise DomainError(
                "revocation_unknown",
                Kind.UNAVAILABLE,
                "Whether this token was revoked cannot be told just now. Ask again in a second.",
            )
        return self.standing is Standing.REVOKED

    def describe(self, issuer: str) -> dict[str, Any]:
        token = self.token
        return {
            "active": True,
            "token_type": "Bearer",
            "iss": issuer,
            "aud": issuer,
            "client_id": token.client_id,
            "sub": token.client_id if token.user_id is None else encode_id(USER, token.user_id),
            "scope": " ".join(sorted(token.scopes)),
            "iat": int(token.issued_at.timestamp()),
            "exp": int(token.expires_at.timestamp()),
            "jti": token.jti,
            "tid": encode_id(TENANT, token.tenant_id),
            "mode": token.mode.value,
        }


class HeldRefresh:
    """A stored refresh token as Authlib reads it."""

    def __init__(self, row: RefreshToken, grant: Grant, *, now: datetime) -> None:
        self.row = row
        self.grant = grant
        self._now = now

    def check_client(self, client: KnownClient) -> bool:
        return bool(self.grant.client_ref == client.row.id)

    def is_expired(self) -> bool:
        return bool(self.row.expires_at <= self._now)

    def is_revoked(self) -> bool:
        return self.grant.revoked_at is not None or self.row.used_at is not None

    def describe(self, issuer: str) -> dict[str, Any]:
        return {
            "active": True,
            "iss": issuer,
            "sub": encode_id(USER, self.grant.user_id),
            "scope": " ".join(self.grant.scopes),
            "iat": int(self.row.issued_at.timestamp()),
            "exp": int(self.row.expires_at.timestamp()),
            "tid": encode_id(TENANT, self.grant.tenant_id),
        }


Held = HeldAccess | HeldRefresh


def find_token(exchange: Exchange, text: str) -> Held | None:
    """The token, when it is this tenant's. The hint is not needed: the two kinds look different."""
    if is_token_shaped(text):
        try:
            token, standing = await_only(exchange.tokens.verify(text, now=exchange.now))
        except DomainError:
            return None
        return HeldAccess(token, standing) if token.tenant_id == exchange.tx.tenant_id else None
    found = repository.find_refresh(exchange.session, hash_secret(text))
    if found is None or not session_stands(exchange, found[1].user_id, found[1].session_id):
        return None
    return HeldRefresh(*found, now=exchange.now)


class Revocation(RevocationEndpoint):  # type: ignore[misc]  # Authlib has no types
    """A refresh token takes its whole grant with it; an access token goes alone."""

    CLIENT_AUTH_METHODS = EVERY_METHOD

    def query_token(self, token_string: str, token_type_hint: str | None) -> Held | None:
        return find_token(self.server.exchange, token_string)

    def revoke_token(self, token: Held, request: Any) -> None:
        exchange: Exchange = self.server.exchange
        if isinstance(token, HeldAccess):
            exchange.marks.add(token_mark(token.token.jti))
            return
        end_grant(exchange, token.grant.id, reason="revoked_by_client")
        exchange.marks.add(grant_mark(token.grant.id))


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """For clients that can keep a secret, about tokens of their own tenant; any other is `{"active": false}`."""

    CLIENT_AUTH_METHODS = CONFIDENTIAL

    def query_token(self, token_string: str, token_type_hint: str | None) -> Held | None:
        return find_token(self.server.exchange, token_string)

    def check_permission(self, token: Held, client: KnownClient, request: Any) -> bool:
        """Row-level security and `find_token` have decided: what is found is this tenant's."""
        return True

    def introspect_token(self, token: Held) -> dict[str, Any]:
        return token.describe(self.server.exchange.issuer)
