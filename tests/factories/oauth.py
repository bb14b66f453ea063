"""Clients, assertions and people for the authorization server's tests."""

import base64
import hashlib
import hmac
import html
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from app.infra.database import Database, Tx
from app.kernel.ids import uuid7
from app.kernel.orders import Mode
from app.platform.oauth.domain import AuthMethod, GrantType, NewClient
from app.platform.oauth.ports import Asking, Person, Session
from app.platform.oauth.service import IssuedClient, create_client
from app.platform.tenancy.domain import Role
from app.platform.tenancy.service import add_member

ISSUER = "https://issuer.example"
CALLBACK = "https://app.example/callback"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def make_client(
    database: Database,
    tenant_id: UUID,
    *,
    method: AuthMethod = AuthMethod.BASIC,
    grants: tuple[GrantType, ...] = (GrantType.CLIENT,),
    scopes: tuple[str, ...] = ("orders:read", "orders:write", "tenant:read"),
    redirect_uris: tuple[str, ...] = (),
    cors_origins: tuple[str, ...] = (),
    jwks: Mapping[str, Any] | None = None,
    mode: Mode = Mode.TEST,
) -> IssuedClient:
    """A new client of a tenant."""
    asked = NewClient("test", method, grants, scopes, redirect_uris, cors_origins, jwks)
    async with database.tx(tenant_id) as tx:
        return await create_client(tx, asked, now=datetime.now(UTC), mode=mode)


def basic(client: IssuedClient, secret: str | None = None) -> dict[str, str]:
    """The header of client_secret_basic."""
    pair = f"{client.row.client_id}:{secret or client.secret}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def client_token(http: httpx.AsyncClient, client: IssuedClient, **form: str) -> str:
    """An access token of the client for itself."""
    answer = await http.post("/oauth2/token", data={"grant_type": "client_credentials"} | form, headers=basic(client))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def new_key(kid: str = "k1") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid})


def public_set(*keys: ECKey) -> dict[str, Any]:
    return {"keys": [dict(key.as_dict(private=False)) for key in keys]}


def assertion(key: Any, client_id: str, *, algorithm: str = "ES256", **claims: Any) -> str:
    """A client's signed assertion; `claims` replace the usual ones, None drops one."""
    usual: dict[str, Any] = {
        "iss": client_id,
        "sub": client_id,
        "aud": ISSUER,
        "exp": int(time.time()) + 60,
        "jti": secrets.token_hex(8),
    }
    said = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode({"alg": algorithm, "kid": "k1"}, said, key, algorithms=[algorithm])


def forge_hs256(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes) -> str:
    """A token signed with a public key as if it were a secret; the JOSE library refuses to make one."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    head = dict(header) | {"alg": "HS256"}
    signed = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(dict(claims)).encode())}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def assertion_form(text: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": text}


@dataclass
class Door:
    """A login whose people the test makes; a `ports.Login`."""

    people: dict[UUID, Person] = field(default_factory=dict)
    members: dict[UUID, set[UUID]] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)

    async def session_of(self, request: Asking) -> Session | None:
        return self.sessions.get(request.cookies.get("test_session", ""))

    def login_url(self, next_url: str, *, again: bool) -> str:
        return f"/test-login?{urlencode({'next': next_url})}"

    async def stands(self, tx: Tx, user_id: UUID, session_id: str) -> bool:
        return any((one.id, one.user_id) == (session_id, user_id) for one in self.sessions.values())

    async def person_of(self, tx: Tx, user_id: UUID) -> Person | None:
        return self.people.get(user_id) if user_id in self.members.get(tx.tenant_id, set()) else None

    async def sign_in(
        self,
        database: Database,
        tenant_id: UUID,
        *,
        permissions: frozenset[str],
        at: datetime | None = None,
        user_id: UUID | None = None,
    ) -> str:
        """A member of the tenant who signed in; the value of their cookie."""
        user, cookie = user_id or uuid7(), secrets.token_urlsafe(16)
        email = f"{user.hex[-8:]}@example.com"
        async with database.tx(tenant_id) as tx:  # whose role holds `permissions`
            await add_member(tx, email=email, role=Role.ANALYST, user_id=user)
        self.people[user] = Person(user, email, True, permissions)
        self.members.setdefault(tenant_id, set()).add(user)
        self.sessions[cookie] = Session(f"ses-{cookie}", user, at or datetime.now(UTC), ("pwd", "otp"), email)
        return cookie


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def query_of(url: str) -> dict[str, str]:
    """The parameters of an address, each once."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


@dataclass
class Browser:
    """A person's browser at the gateway: their cookie, the pages they see, where they are sent."""

    http: httpx.AsyncClient
    cookie: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.cookie is None else {"Cookie": f"test_session={self.cookie}"}

    async def open(self, **params: str | None) -> httpx.Response:
        """The authorization endpoint."""
        sent = {name: value for name, value in params.items() if value is not None}
        return await self.http.get("/oauth2/authorize", params=sent, headers=self.headers)

    async def answer(self, page: httpx.Response, decision: str = "allow", **change: str) -> httpx.Response:
        """Press one of the page's buttons."""
        form = re.search(r'action="([^"]+)"', page.text)
        proof = re.search(r'name="proof" value="([0-9a-f]+)"', page.text)
        assert form is not None, page.text
        assert proof is not None
        sent = {"proof": proof[1], "decision": decision} | change
        return await self.http.post(html.unescape(form[1]), data=sent, headers=self.headers)


VERIFIER = "v" * 43


def asking(client: IssuedClient, **params: str | None) -> dict[str, str | None]:
    """An authorization request of the client as it should be; `params` replace, None drops."""
    usual: dict[str, str | None] = {
        "response_type": "code",
        "client_id": client.row.client_id,
        "redirect_uri": CALLBACK,
        "scope": "openid orders:read",
        "state": "st-1",
        "nonce": "no-1",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    return usual | params


async def redeem(http: httpx.AsyncClient, client: IssuedClient, code: str, **change: str) -> httpx.Response:
    """Exchange a code at the token endpoint."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return await _as_client(http, client, form | change)


async def refresh(http: httpx.AsyncClient, client: IssuedClient, token: str, **change: str) -> httpx.Response:
    """Exchange a refresh token."""
    return await _as_client(http, client, {"grant_type": "refresh_token", "refresh_token": token} | change)


async def _as_client(http: httpx.AsyncClient, client: IssuedClient, form: dict[str, str]) -> httpx.Response:
    if client.secret is None:
        return await http.post("/oauth2/token", data=form | {"client_id": client.row.client_id})
    return await http.post("/oauth2/token", data=form, headers=basic(client))
