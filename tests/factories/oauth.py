"""Clients, assertions and people for the authorization server's tests."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
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
    jwks: Mapping[str, Any] | None = None,
    mode: Mode = Mode.TEST,
) -> IssuedClient:
    """A new client of a tenant."""
    asked = NewClient("test", method, grants, scopes, redirect_uris=redirect_uris, jwks=jwks)
    async with database.tx(tenant_id) as tx:
        return await create_client(tx, asked, mode=mode)


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

    def login_url(self, next_url: str) -> str:
        return "/test-login?" + httpx.QueryParams({"next": next_url}).__str__()

    async def person_of(self, tx: Tx, user_id: UUID) -> Person | None:
        return self.people.get(user_id) if user_id in self.members.get(tx.tenant_id, set()) else None

    def sign_in(
        self, tenant_id: UUID, *, permissions: frozenset[str], at: datetime | None = None, user_id: UUID | None = None
    ) -> str:
        """A member of the tenant who signed in; the value of their cookie."""
        user, cookie = user_id or uuid7(), secrets.token_urlsafe(16)
        email = f"{user.hex[-8:]}@example.com"
        self.people[user] = Person(user, email, True, permissions)
        self.members.setdefault(tenant_id, set()).add(user)
        self.sessions[cookie] = Session(
            f"ses-{cookie}", user, at or datetime.now(UTC), ("pwd", "otp"), email, {tenant_id: permissions}
        )
        return cookie


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def query_of(url: str) -> dict[str, str]:
    """The parameters of an address, each once."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}
