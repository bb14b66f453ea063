"""Decides what each grant may exchange for tokens: a client's own credentials, a code once, a refresh token once."""

import secrets
from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter
from authlib.oidc.core.grants import OpenIDCode
from sqlalchemy.util import await_only

from app.kernel.ids import encode_id, uuid7
from app.platform.oauth import repository
from app.platform.oauth.domain import (
    CODE_LIFE,
    ID_ALGORITHM,
    ID_TOKEN_LIFE,
    IDENTITY_SCOPES,
    REFRESH_LIFE,
    TENANT,
    USER,
    RefreshFacts,
    RefreshVerdict,
    grant_mark,
    grant_scopes,
    hash_secret,
    judge_refresh,
)
from app.platform.oauth.ports import Person, Session
from app.platform.oauth.service.protocol import CONFIDENTIAL, EVERY_METHOD, Exchange, KnownClient, Server
from app.platform.oauth.service.tokens import Subject
from app.platform.oauth.tables import AuthorizationCode, Grant, RefreshToken

CODE_PREFIX = "oac_"
REFRESH_PREFIX = "ort_"


class ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc]  # Authlib has no types
    """A client for itself. It asks for its own scopes or fewer; a scope too many is an error, not dropped."""

    TOKEN_ENDPOINT_AUTH_METHODS = CONFIDENTIAL

    def validate_requested_scope(self) -> None:
        own = set(self.client.row.scopes) - IDENTITY_SCOPES.keys()
        asked = set((self.request.payload.scope or "").split())
        if not own or not asked <= own:
            raise InvalidScopeError()
        self.request.payload.data["scope"] = " ".join(sorted(asked or own))


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """A person's consent, redeemed once. `session` is who consented, and `scopes` to what; the consent page sets both.

    A code that comes a second time ends everything that came of the first.
    """

    TOKEN_ENDPOINT_AUTH_METHODS = EVERY_METHOD
    session: Session
    scopes: tuple[str, ...]

    def generate_authorization_code(self) -> str:
        return CODE_PREFIX + secrets.token_urlsafe(32)

    def save_authorization_code(self, code: str, request: Any) -> None:
        exchange: Exchange = self.server.exchange
        data: Mapping[str, str] = request.payload.data
        exchange.session.add(
            AuthorizationCode(
                tenant_id=exchange.tx.tenant_id,
                code_hash=hash_secret(code),
                client_ref=request.client.row.id,
                user_id=self.session.user_id,
                session_id=self.session.id,
                redirect_uri=data["redirect_uri"],
                scopes=list(self.scopes),
                code_challenge=data["code_challenge"],
                nonce=data.get("nonce"),
                auth_time=self.session.auth_time,
                amr=list(self.session.amr),
                expires_at=exchange.now + CODE_LIFE,
            )
        )
        exchange.session.flush()

    def query_authorization_code(self, code: str, client: KnownClient) -> "CodeFacade | None":
        exchange: Exchange = self.server.exchange
        row = repository.code_for_update(exchange.session, hash_secret(code), client.row.id)
        if row is None or row.expires_at <= exchange.now or row.redirect_uri not in client.row.redirect_uris:
            return None  # it went where the client, meanwhile, says that it is not
        if row.redeemed_at is not None:
            if row.grant_id is not None:
                end_grant(exchange, row.grant_id, reason="code_replayed")
            return None
        return CodeFacade(row)

    def authenticate_user(self, authorization_code: "CodeFacade") -> Person | None:
        """The person as they are now; with them, the grant and its first refresh token come to be."""
        server: Server = self.server
        exchange, row = server.exchange, authorization_code.row
        if not session_stands(exchange, row.user_id, row.session_id):
            return None
        person = find_person(exchange, row.user_id)
        if person is None:
            return None
        scopes = grant_scopes(" ".join(row.scopes), self.client.row.scopes, person.permissions)
        if not scopes:
            return None
        authorization_code.scopes = scopes
        grant = Grant(
            id=uuid7(),
            tenant_id=row.tenant_id,
            client_ref=row.client_ref,
            user_id=row.user_id,
            session_id=row.session_id,
            scopes=list(scopes),
            auth_time=row.auth_time,
            created_at=exchange.now,
        )
        exchange.session.add(grant)
        exchange.session.flush()
        row.grant_id = grant.id
        server.subject = Subject(row.user_id, grant.id, row.session_id, row.auth_time)
        if self.client.check_grant_type("refresh_token"):
            server.refresh, _ = add_refresh(exchange, grant)
        return person

    def delete_authorization_code(self, authorization_code: "CodeFacade") -> None:
        """It stays, marked: otherwise a replay could not be told from a code that never was."""
        authorization_code.row.redeemed_at = self.server.exchange.now
        self.server.exchange.session.flush()


class CodeFacade:
    """A stored code as Authlib reads it."""

    def __init__(self, row: AuthorizationCode) -> None:
        self.row = row
        self.scopes: tuple[str, ...] = tuple(row.scopes)
        self.code_challenge = row.code_challenge
        self.code_challenge_method = "S256"

    def get_redirect_uri(self) -> str:
        return self.row.redirect_uri

    def get_scope(self) -> str:
        return " ".join(self.scopes)

    def get_nonce(self) -> str | None:
        return self.row.nonce

    def get_auth_time(self) -> int:
        return int(self.row.auth_time.timestamp())

    def get_acr(self) -> None:
        """None: no class of assurance is promised."""

    def get_amr(self) -> list[str]:
        return list(self.row.amr)


class ProofKey(CodeChallenge):  # type: ignore[misc]
    """PKCE for every client, S256 only. Authlib by itself asks public clients alone, and takes `plain`."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge"):
            raise InvalidRequestError("Missing 'code_challenge': PKCE is required.")
        if data.get("code_challenge_method") != "S256" or len(data["code_challenge"]) != 43:
            raise InvalidRequestError("'code_challenge_method' must be S256.")
        super().validate_code_challenge(grant, redirect_uri)


class Refresh(RefreshTokenGrant):  # type: ignore[misc]
    """A refresh token for the next one. Used twice, it ends its grant, unless its answer may just have been lost."""

    TOKEN_ENDPOINT_AUTH_METHODS = EVERY_METHOD
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> "RefreshFacade | None":
        exchange: Exchange = self.server.exchange
        found = repository.refresh_for_update(exchange.session, hash_secret(refresh_token), self.client.row.id)
        if found is None:
            return None
        token, grant, successor = found
        facts = RefreshFacts(
            expires_at=token.expires_at,
            used_at=token.used_at,
            successor_used=successor is not None and successor.used_at is not None,
            grant_revoked=grant.revoked_at is not None,
        )
        verdict = judge_refresh(facts, now=exchange.now)
        if verdict is RefreshVerdict.REUSED:
            end_grant(exchange, grant.id, reason="refresh_token_reused")
        return RefreshFacade(token, grant) if verdict is RefreshVerdict.GOOD else None

    def authenticate_user(self, refresh_token: "RefreshFacade") -> Person:
        server: Server = self.server
        grant = refresh_token.grant
        if not session_stands(server.exchange, grant.user_id, grant.session_id):
            end_grant(server.exchange, grant.id, reason="signed_out")
            raise InvalidGrantError("The person has signed out.")
        person = find_person(server.exchange, grant.user_id)
        scope = self.request.payload.scope or refresh_token.get_scope()
        allowed = set(grant.scopes) & set(self.client.row.scopes)
        scopes = grant_scopes(scope, allowed, person.permissions) if person else ()
        if person is None or not scopes:
            raise InvalidGrantError("The person no longer has what was granted.")
        self.request.payload.data["scope"] = " ".join(scopes)
        server.subject = Subject(grant.user_id, grant.id, grant.session_id, grant.auth_time)
        server.refresh, refresh_token.successor_id = add_refresh(server.exchange, grant)
        return person

    def revoke_old_credential(self, refresh_token: "RefreshFacade") -> None:
        refresh_token.token.used_at = self.server.exchange.now
        refresh_token.token.successor_id = refresh_token.successor_id
        self.server.exchange.session.flush()


class RefreshFacade:
    """A stored refresh token as Authlib reads it. The client was part of the query."""

    def __init__(self, token: RefreshToken, grant: Grant) -> None:
        self.token = token
        self.grant = grant
        self.successor_id: Any = None

    def check_client(self, client: KnownClient) -> bool:
        return bool(self.grant.client_ref == client.row.id)

    def get_scope(self) -> str:
        return " ".join(self.grant.scopes)


class IdToken(OpenIDCode):  # type: ignore[misc]
    """The id token beside a code's access token, when `openid` was granted."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(require_nonce=False)
        self._exchange = exchange

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        """A nonce is the client's to check: it binds the id token to the client's own session."""
        return False

    def get_client_algorithm(self, client: KnownClient) -> str:
        return ID_ALGORITHM

    def get_encode_header(self, client: KnownClient) -> dict[str, str]:
        return {"alg": ID_ALGORITHM, "kid": self._exchange.ring.signer(ID_ALGORITHM).kid}

    def resolve_client_private_key(self, client: KnownClient) -> Any:
        return self._exchange.ring.signer(ID_ALGORITHM).key

    def get_client_claims(self, client: KnownClient) -> dict[str, Any]:
        issued = int(self._exchange.now.timestamp())
        return {
            "iss": self._exchange.issuer,
            "aud": [client.get_client_id()],
            "iat": issued,
            "exp": issued + int(ID_TOKEN_LIFE.total_seconds()),
            "tid": encode_id(TENANT, client.row.tenant_id),
        }

    def generate_user_info(self, user: Person, scope: str) -> dict[str, Any]:
        return person_claims(user, scope.split())


def person_claims(person: Person, scopes: "list[str] | frozenset[str]") -> dict[str, Any]:
    """What id token and userinfo say of a person."""
    claims: dict[str, Any] = {"sub": encode_id(USER, person.user_id)}
    if "email" in scopes:
        claims |= {"email": person.email, "email_verified": person.email_verified}
    return claims


class Issuer(IssuerParameter):  # type: ignore[misc]
    """RFC 9207: every authorization answer says who gives it, so that a client cannot mix two of us up."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer


def make_server(exchange: Exchange) -> Server:
    """The engine with every grant."""
    server = Server(exchange)
    server.register_extension(Issuer(exchange.issuer))
    server.register_grant(ClientCredentials)
    if exchange.login is not None:
        server.register_grant(CodeGrant, [ProofKey(required=True), IdToken(exchange)])
        server.register_grant(Refresh)
    return server


def find_person(exchange: Exchange, user_id: Any) -> Person | None:
    """The member behind a code or refresh token, through the exchange's own transaction."""
    if exchange.login is None:
        return None
    found: Person | None = await_only(exchange.login.person_of(exchange.tx, user_id))
    return found


def session_stands(exchange: Exchange, user_id: Any, session_id: str) -> bool:
    """Whether nobody ended the login behind a code or grant, through the exchange's own transaction."""
    if exchange.login is None:
        return False
    return bool(await_only(exchange.login.stands(exchange.tx, user_id, session_id)))


def end_grant(exchange: Exchange, grant_id: Any, *, reason: str) -> None:
    """End a grant in this transaction, and its access tokens once that is committed."""
    repository.revoke_grant(exchange.session, grant_id, reason=reason, at=exchange.now)
    exchange.marks.add(grant_mark(grant_id))


def add_refresh(exchange: Exchange, grant: Grant) -> tuple[str, Any]:
    """A new refresh token of `grant`, and its row's id."""
    text = REFRESH_PREFIX + secrets.token_urlsafe(32)
    row = RefreshToken(
        id=uuid7(),
        tenant_id=grant.tenant_id,
        token_hash=hash_secret(text),
        grant_id=grant.id,
        issued_at=exchange.now,
        expires_at=exchange.now + REFRESH_LIFE,
    )
    exchange.session.add(row)
    exchange.session.flush()
    return text, row.id
