"""Decides how Authlib's engine sits on our transaction: one server per request, inside a greenlet of SQLAlchemy's.

Authlib is synchronous: the greenlet lets it wait for the request's own session on the one asyncpg engine, with its
tenant set. The client is found before, in one round trip; a session is opened by whichever grant needs one.
Whatever it answers is committed, errors too: the end of a grant whose token was replayed must outlive the refusal.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Payload, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidClientError, OAuth2Error, UnauthorizedClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy.orm import Session

from app.infra.database import Tx
from app.platform.oauth import repository
from app.platform.oauth.domain import (
    ACCESS_LIFE,
    CLIENT_ALGORITHMS,
    AuthMethod,
    GrantType,
    StoredClient,
    grant_scopes,
    hash_secret,
)
from app.platform.oauth.ports import Login
from app.platform.oauth.service.authentication import TokenAuthenticator
from app.platform.oauth.service.signing import Keyring
from app.platform.oauth.service.tokens import MALFORMED, Subject, mint_access_token

TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path
MAX_ASSERTION_LIFE = timedelta(hours=1)
CONFIDENTIAL = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
EVERY_METHOD = [*CONFIDENTIAL, "none"]
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Reply:
    """What the engine answers. `body`: an object for JSON, else text."""

    status: int
    body: dict[str, Any] | str
    headers: dict[str, str]

    @property
    def location(self) -> str | None:
        """Where a redirect leads; Authlib's RFC 9207 extension sets it."""
        return self.headers.get("Location")

    @location.setter
    def location(self, value: str) -> None:
        self.headers["Location"] = value


@dataclass(slots=True)
class Exchange:
    """One request's work: what the engine may reach, and what is left to do once it is committed (`marks`).

    `client`: whom the request says it is from, unproven.
    `origin`: of the web page that calls, when some client has registered it.
    """

    tx: Tx
    client: StoredClient
    issuer: str
    ring: Keyring
    now: datetime
    tokens: TokenAuthenticator
    login: Login | None
    origin: str | None = None
    marks: set[str] = field(default_factory=set)

    @property
    def session(self) -> Session:
        """The transaction's. A client that gets a token for itself needs none, and no connection is taken for it."""
        return self.tx.session.sync_session


class _Payload(OAuth2Payload):  # type: ignore[misc]  # Authlib has no types
    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._data = dict(pairs)
        self._lists: dict[str, list[str]] = {}
        for name, value in pairs:
            self._lists.setdefault(name, []).append(value)

    @property
    def data(self) -> dict[str, str]:
        return self._data

    @property
    def datalist(self) -> dict[str, list[str]]:
        return self._lists


class EngineRequest(OAuth2Request):  # type: ignore[misc]
    """A request as Authlib reads it. Its address is the issuer's, never the Host header's."""

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        query: Sequence[tuple[str, str]] = (),
        form: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(method, _as_https(url), headers=dict(headers))
        self._query = dict(query)
        self._form = dict(form)
        self.payload = _Payload([*query, *form])

    @property
    def args(self) -> dict[str, str]:
        return self._query

    @property
    def form(self) -> dict[str, str]:
        return self._form


@lru_cache(maxsize=16)
def _as_https(url: str) -> str:
    """TLS ends before us, and settings have checked the issuer: Authlib's own look at the scheme would need an
    environment variable that switches it off for everything."""
    return urlsplit(url)._replace(scheme="https").geturl()


class KnownClient(ClientMixin):  # type: ignore[misc]
    """A client in force as Authlib asks about it."""

    def __init__(self, row: StoredClient) -> None:
        self.row = row

    def get_client_id(self) -> str:
        return self.row.client_id

    def get_default_redirect_uri(self) -> None:
        """None: every request names its redirect URI, also when only one is registered."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        return " ".join(grant_scopes(scope, self.row.scopes, self.row.scopes)) or None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.row.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return hmac.compare_digest(hash_secret(client_secret), self.row.secret_hash or bytes(32))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return bool(method == self.row.auth_method)

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and GrantType.CODE in self.row.grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.row.grant_types


class PrivateKeyJwt(JWTBearerClientAssertion):  # type: ignore[misc]
    """Client authentication by signed assertion (RFC 7523): pinned algorithms, two audiences, each `jti` once."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._client: KnownClient | None = None

    def __call__(self, query_client: Any, request: Any) -> Any:
        try:
            return super().__call__(query_client, request)
        except MALFORMED:
            raise InvalidClientError() from None

    def get_audiences(self) -> list[str]:
        return [self._exchange.issuer, self._exchange.issuer + TOKEN_PATH]

    def resolve_client_public_key(self, client: KnownClient) -> KeySet:
        if client.row.auth_method != AuthMethod.PRIVATE_KEY or client.row.jwks is None:
            raise InvalidClientError()
        self._client = client
        keys: Any = {"keys": client.row.jwks["keys"]}
        return KeySet.import_key_set(keys)

    def process_assertion_claims(self, assertion: str, resolve_key: Any) -> Any:
        claims = jwt.decode(assertion, resolve_key, algorithms=CLIENT_ALGORITHMS).claims
        self.verify_claims(claims)
        return claims

    def validate_jti(self, claims: Mapping[str, Any], jti: Any) -> bool:
        assert self._client is not None
        now = self._exchange.now
        expires = datetime.fromtimestamp(claims["exp"], now.tzinfo)
        if not isinstance(jti, str) or not 0 < len(jti) <= 256 or expires > now + MAX_ASSERTION_LIFE:
            return False
        row = self._client.row
        kept = expires + timedelta(seconds=2 * self.leeway)
        return repository.use_assertion(
            self._exchange.session, row.tenant_id, row.id, hash_secret(jti), expires_at=kept, now=now
        )


class Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server for one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self.exchange = exchange
        self.subject: Subject | None = None
        self.refresh: str | None = None
        self.register_token_generator("default", self._issue)
        self.register_client_auth_method("private_key_jwt", PrivateKeyJwt(exchange))

    def query_client(self, client_id: str) -> KnownClient | None:
        found = self.exchange.client
        return KnownClient(found) if client_id == found.client_id else None

    def authenticate_client(self, request: Any, methods: Any, endpoint: str = "token") -> Any:
        """One answer for an unknown client, a wrong secret and a wrong method; never two methods at once."""
        given = [
            "authorization" in {name.lower() for name in request.headers},
            "client_secret" in request.form,
            "client_assertion" in request.form,
        ]
        try:
            client = super().authenticate_client(request, methods, endpoint) if sum(given) <= 1 else None
        except (OAuth2Error, *MALFORMED):
            client = None
        named = request.form.get("client_id")
        if client is None or (named is not None and named != client.get_client_id()):
            raise unknown_client()
        if self.exchange.origin is not None and self.exchange.origin not in client.row.cors_origins:
            raise UnauthorizedClientError("Pages of this origin are not this client's (cors_origins).")
        return client

    def _issue(
        self,
        grant_type: str,
        client: KnownClient,
        user: object = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        """The token answer. Which person and which refresh token it is about, the grant has set before."""
        exchange, subject = self.exchange, self.subject
        scopes = (scope or "").split()
        access = mint_access_token(
            exchange.ring,
            client.row,
            scopes,
            issuer=exchange.issuer,
            now=exchange.now,
            subject=subject,
            user_epoch=repository.epoch(exchange.session, subject.user_id) if subject else 0,
        )
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "access_token": access,
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "scope": " ".join(scopes),
        }
        if include_refresh_token and self.refresh is not None:
            answer["refresh_token"] = self.refresh
        return answer

    def name_issuer(self, reply: Reply) -> None:
        """Add RFC 9207's `iss` to a redirect that the engine's own hook does not see."""
        self.execute_hook("after_create_authorization_response", reply)

    def save_token(self, token: object, request: object) -> None:
        """Nothing: access tokens are not stored, and grants write their refresh tokens themselves."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: EngineRequest) -> EngineRequest:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Reply:
        answer = Reply(status, dict(body) if isinstance(body, list) else body, dict(headers))
        if status >= 400 and isinstance(answer.body, dict):
            log.info("oauth.refused", error=answer.body.get("error"), status=status)
        return answer


def unknown_client() -> OAuth2Error:
    """401 with a challenge, whichever way the client tried (RFC 6749 §5.2)."""
    return InvalidClientError(status_code=401, description="Client authentication failed.")
