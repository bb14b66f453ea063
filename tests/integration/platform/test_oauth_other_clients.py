"""The server driven by others' clients, over a socket: requests-oauthlib and Authlib's own, for every grant."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any, TypeVar

import pytest
import requests
import uvicorn
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from oauthlib.oauth2 import BackendApplicationClient, InvalidGrantError
from requests_oauthlib import OAuth2Session

from app.infra.database import Database
from app.infra.settings import Settings
from app.local.ports import any_port
from app.main import create_app
from app.platform.oauth.domain import AuthMethod, GrantType
from app.platform.oauth.service import IssuedClient
from tests.factories.oauth import CALLBACK, Door, make_client, new_key, public_set, query_of
from tests.factories.tenants import make_tenant

Made = TypeVar("Made")
SCOPES = ("openid", "email", "orders:read")
HELD = frozenset({"orders:read"})


@dataclass(frozen=True)
class Served:
    """A gateway on a port of this machine, whose issuer is its address."""

    url: str
    door: Door

    def metadata(self) -> dict[str, Any]:
        return dict(requests.get(f"{self.url}/.well-known/openid-configuration", timeout=30).json())


@pytest.fixture
def served(app_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the client's own guard; it is on loopback
    monkeypatch.delenv("AUTHLIB_INSECURE_TRANSPORT", raising=False)
    door, port = Door(), any_port()
    url = f"http://127.0.0.1:{port}"
    app = create_app(app_settings.model_copy(update={"issuer": url}), login=door)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.05)
        yield Served(url, door)
    finally:
        server.should_exit = True
        thread.join(30)


def prepared(settings: Settings, work: "Callable[[Database], Any]") -> Any:
    """What `work` makes in the database, before a blocking client starts."""

    async def run() -> Any:
        from app.infra.database import open_database

        database = await open_database(settings, on_commit=lambda queue, shard: None)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _person_and_client(settings: Settings, served: Served, method: AuthMethod) -> tuple[str, IssuedClient]:
    async def make(database: Database) -> tuple[str, IssuedClient]:
        tenant = await make_tenant(database)
        client = await make_client(
            database,
            tenant.tenant_id,
            method=method,
            grants=(GrantType.CODE, GrantType.REFRESH),
            scopes=SCOPES,
            redirect_uris=(CALLBACK,),
        )
        return await served.door.sign_in(database, tenant.tenant_id, permissions=HELD), client

    found: tuple[str, IssuedClient] = prepared(settings, make)
    return found


def _allow(url: str, cookie: str) -> str:
    """What a browser does: the page, the button, and the address that the client gets."""
    headers = {"Cookie": f"test_session={cookie}"}
    page = requests.get(url, headers=headers, timeout=30)
    assert page.status_code == 200, page.text
    action, proof = re.search(r'action="([^"]+)"', page.text), re.search(r'name="proof" value="(\w+)"', page.text)
    assert action is not None
    assert proof is not None
    base = url.partition("/oauth2/")[0]
    answer = requests.post(
        base + unescape(action[1]),
        data={"proof": proof[1], "decision": "allow"},
        headers=headers,
        allow_redirects=False,
        timeout=30,
    )
    return answer.headers["Location"]


def test_requests_oauthlib_gets_a_token_for_itself(app_settings: Settings, served: Served) -> None:
    async def make(database: Database) -> IssuedClient:
        return await make_client(database, (await make_tenant(database)).tenant_id, scopes=("tenant:read",))

    client: IssuedClient = prepared(app_settings, make)
    session = OAuth2Session(client=BackendApplicationClient(client.row.client_id))
    token_url = served.metadata()["token_endpoint"]
    token = session.fetch_token(token_url, client_id=client.row.client_id, client_secret=client.secret)
    assert token["token_type"] == "Bearer"
    assert session.get(f"{served.url}/v1/tenant").status_code == 200


@pytest.mark.parametrize("method", [AuthMethod.BASIC, AuthMethod.NONE])
def test_requests_oauthlib_goes_through_code_refresh_and_reuse(
    app_settings: Settings, served: Served, method: AuthMethod
) -> None:
    cookie, client = _person_and_client(app_settings, served, method)
    metadata = served.metadata()
    session = OAuth2Session(client.row.client_id, redirect_uri=CALLBACK, scope=list(SCOPES), pkce="S256")
    url, state = session.authorization_url(metadata["authorization_endpoint"], nonce="n-1")
    back = _allow(url, cookie)
    assert query_of(back)["state"] == state
    assert query_of(back)["iss"] == served.url
    secret = {"client_secret": client.secret} if client.secret else {"include_client_id": True}
    token = session.fetch_token(metadata["token_endpoint"], authorization_response=back, **secret)
    assert session.get(f"{served.url}/v1/orders").status_code == 200
    assert session.get(metadata["userinfo_endpoint"]).json()["email"]
    auth: dict[str, Any] = (
        {"auth": (client.row.client_id, client.secret)} if client.secret else {"client_id": client.row.client_id}
    )
    newer = session.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"], **auth)
    newest = session.refresh_token(metadata["token_endpoint"], refresh_token=newer["refresh_token"], **auth)
    with pytest.raises(InvalidGrantError):
        session.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"], **auth)
    with pytest.raises(InvalidGrantError):
        session.refresh_token(metadata["token_endpoint"], refresh_token=newest["refresh_token"], **auth)


def test_authlibs_client_goes_through_code_id_token_introspection_and_revocation(
    app_settings: Settings, served: Served
) -> None:
    from authlib.oidc.core import CodeIDToken
    from joserfc import jwt
    from joserfc.jwk import KeySet

    cookie, client = _person_and_client(app_settings, served, AuthMethod.POST)
    metadata = served.metadata()
    session = AuthlibSession(
        client.row.client_id,
        client.secret,
        scope=" ".join(SCOPES),
        redirect_uri=CALLBACK,
        token_endpoint_auth_method="client_secret_post",
        revocation_endpoint_auth_method="client_secret_post",
        code_challenge_method="S256",
    )
    verifier = "x" * 50
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=verifier, nonce="n-2"
    )
    token = session.fetch_token(
        metadata["token_endpoint"], authorization_response=_allow(url, cookie), state=state, code_verifier=verifier
    )
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=30).json())
    found = jwt.decode(token["id_token"], keys, algorithms=["RS256"])
    claims = CodeIDToken(
        found.claims,
        found.header,
        options={
            "iss": {"essential": True, "value": served.url},
            "aud": {"essential": True, "value": client.row.client_id},
        },
        params={"nonce": "n-2", "access_token": token["access_token"], "client_id": client.row.client_id},
    )
    claims.validate()
    told = session.introspect_token(metadata["introspection_endpoint"], token=token["access_token"])
    assert told.json()["active"] is True
    newer = session.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
    assert newer["refresh_token"] != token["refresh_token"]
    session.revoke_token(metadata["revocation_endpoint"], token=newer["refresh_token"])
    told = session.introspect_token(metadata["introspection_endpoint"], token=newer["access_token"])
    assert told.json() == {"active": False}


def test_authlibs_client_proves_itself_by_its_key(app_settings: Settings, served: Served) -> None:
    key = new_key()

    async def make(database: Database) -> IssuedClient:
        tenant = await make_tenant(database)
        return await make_client(
            database,
            tenant.tenant_id,
            method=AuthMethod.PRIVATE_KEY,
            scopes=("tenant:read",),
            jwks=public_set(key),
        )

    client: IssuedClient = prepared(app_settings, make)
    endpoint = served.metadata()["token_endpoint"]
    session = AuthlibSession(client.row.client_id, key, token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(PrivateKeyJWT(endpoint, headers={"kid": "k1"}, alg="ES256"))
    session.fetch_token(endpoint, grant_type="client_credentials")
    assert session.get(f"{served.url}/v1/tenant").status_code == 200
