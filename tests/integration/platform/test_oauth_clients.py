"""OAuth clients through the API: registered with at most one's own scopes, their secret shown once, ended for ever."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.infra.database import Database
from app.kernel.orders import Mode
from tests.factories.logins import logged_in
from tests.factories.members import make_person
from tests.factories.oauth import new_key, public_set
from tests.factories.tenants import make_key, make_tenant

pytestmark = pytest.mark.asyncio
ROBOT: dict[str, Any] = {
    "name": "robot",
    "auth_method": "client_secret_basic",
    "grant_types": ["client_credentials"],
    "scopes": ["orders:read", "orders:read"],
}
APP: dict[str, Any] = {
    "name": "app",
    "auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "scopes": ["openid", "email", "orders:read"],
    "redirect_uris": ["https://app.example/callback", "http://127.0.0.1:7777/cb", "com.example.app:/cb"],
    "cors_origins": ["https://app.example"],
}


async def test_a_client_is_made_listed_and_its_secret_shown_once(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await client.post("/v1/oauth_clients", json=ROBOT, headers=tenant.headers)
    assert made.status_code == 201, made.text
    body = made.json()
    secret = body.pop("client_secret")
    assert secret.startswith("cs_")
    assert (body["scopes"], body["mode"], body["status"]) == (["orders:read"], "test", "active")
    listed = (await client.get("/v1/oauth_clients", headers=tenant.headers)).json()
    assert listed == {"data": [body], "has_more": False}
    assert (await client.get(f"/v1/oauth_clients/{body['id']}", headers=tenant.headers)).json() == body
    async with database.tx(tenant.tenant_id) as tx:
        for table in ("oauth_clients", "events"):
            rows = (await tx.execute(text(f"SELECT t::text FROM {table} t"))).scalars().all()
            assert rows
            assert not [row for row in rows if secret[3:] in row]


async def test_a_public_client_has_no_secret_and_keeps_what_it_registered(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    body = (await client.post("/v1/oauth_clients", json=APP, headers=tenant.headers)).json()
    assert body["client_secret"] is None
    assert {name: body[name] for name in ("redirect_uris", "cors_origins", "grant_types")} == {
        name: APP[name] for name in ("redirect_uris", "cors_origins", "grant_types")
    }
    refused = await client.post(f"/v1/oauth_clients/{body['id']}/secret", headers=tenant.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "client_has_no_secret")


async def test_a_rotated_secret_replaces_the_old_one(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = (await client.post("/v1/oauth_clients", json=ROBOT, headers=tenant.headers)).json()
    rotated = (await client.post(f"/v1/oauth_clients/{made['id']}/secret", headers=tenant.headers)).json()
    assert rotated["client_secret"] != made["client_secret"]
    form = {"grant_type": "client_credentials"}
    old = await client.post("/oauth2/token", data=form, auth=(made["client_id"], made["client_secret"]))
    new = await client.post("/oauth2/token", data=form, auth=(made["client_id"], rotated["client_secret"]))
    assert (old.status_code, new.status_code) == (401, 200)
    await client.delete(f"/v1/oauth_clients/{made['id']}", headers=tenant.headers)
    late = await client.post(f"/v1/oauth_clients/{made['id']}/secret", headers=tenant.headers)
    assert (late.status_code, late.json()["code"]) == (409, "client_revoked")


async def test_nobody_grants_what_they_lack(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    weak = await make_key(database, tenant.tenant_id, scopes=["oauth_clients:write", "orders:read"])
    refused = await client.post(
        "/v1/oauth_clients", json=ROBOT | {"scopes": ["orders:read", "orders:write"]}, headers=weak.headers
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_not_held")


async def test_a_live_client_is_made_by_a_person_who_just_logged_in(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database, mode=Mode.LIVE)
    owner = await make_person(database, tenant.tenant_id, mode=Mode.LIVE)
    by_key = await client.post("/v1/oauth_clients", json=ROBOT, headers=owner.headers)
    assert (by_key.status_code, by_key.json()["code"]) == (403, "login_needed")
    fresh = await logged_in(gateway_app, database, owner)
    made = (await client.post("/v1/oauth_clients", json=ROBOT, headers=fresh)).json()
    assert made["mode"] == "live"
    path = f"/v1/oauth_clients/{made['id']}/secret"
    assert (await client.post(path, headers=owner.headers)).json()["code"] == "login_needed"
    stale = await logged_in(gateway_app, database, owner, ago=timedelta(minutes=11))
    assert (await client.post(path, headers=stale)).status_code == 401
    assert (await client.post(path, headers=fresh)).status_code == 200


async def test_another_tenants_client_does_not_exist(client: httpx.AsyncClient, database: Database) -> None:
    tenant, stranger = await make_tenant(database), await make_tenant(database)
    made = (await client.post("/v1/oauth_clients", json=ROBOT, headers=tenant.headers)).json()
    path = f"/v1/oauth_clients/{made['id']}"
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/secret")):
        assert (await client.request(method, where, headers=stranger.headers)).status_code == 404
    assert (await client.get("/v1/oauth_clients", headers=stranger.headers)).json()["data"] == []


_KEY = public_set(new_key())
_PRIVATE = {"keys": [dict(new_key().as_dict(private=True))]}
_POINTLESS = {"keys": [_KEY["keys"][0] | {"x": "AA", "y": "AA"}]}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"scopes": ["orders:fly"]}, "unknown_scope"),
        ({"scopes": []}, "invalid_request"),
        ({"scopes": ["openid"]}, "openid_needs_a_person"),
        ({"auth_method": "none"}, "grant_not_possible"),
        ({"grant_types": ["refresh_token"]}, "grant_not_possible"),
        ({"grant_types": ["authorization_code"]}, "redirect_uri_missing"),
        ({"grant_types": ["password"]}, "invalid_request"),
        ({"redirect_uris": ["https://app.example/cb"]}, "redirect_uri_missing"),
        ({"cors_origins": ["https://app.example/path"]}, "invalid_origin"),
        ({"cors_origins": ["*"]}, "invalid_origin"),
        ({"cors_origins": ["null"]}, "invalid_origin"),
        ({"jwks": _KEY}, "invalid_jwks"),
        ({"auth_method": "private_key_jwt"}, "invalid_jwks"),
        ({"auth_method": "private_key_jwt", "jwks": {}}, "invalid_jwks"),
        ({"auth_method": "private_key_jwt", "jwks": {"keys": [1]}}, "invalid_jwks"),
        ({"auth_method": "private_key_jwt", "jwks": _PRIVATE}, "invalid_jwks"),
        ({"auth_method": "private_key_jwt", "jwks": _POINTLESS}, "invalid_jwks"),
        ({"auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "invalid_jwks"),
        ({"auth_method": "private_key_jwt", "jwks": {"keys": [*_KEY["keys"], *_KEY["keys"]]}}, "invalid_jwks"),
        ({"mode": "live"}, "invalid_request"),
    ],
)
async def test_a_wrong_client_is_refused_by_field(
    client: httpx.AsyncClient, database: Database, change: dict[str, Any], code: str
) -> None:
    tenant = await make_tenant(database)
    answer = await client.post("/v1/oauth_clients", json=ROBOT | change, headers=tenant.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert answer.json()["param"]
    assert (await client.get("/v1/oauth_clients", headers=tenant.headers)).json()["data"] == []
