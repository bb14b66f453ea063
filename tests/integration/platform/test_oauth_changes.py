"""Applications are changed with at most one's own scopes; what a change takes away ends in tokens, grants and codes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy import text

from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import decode_id, encode_id
from app.kernel.orders import Mode
from app.main import create_app
from app.platform.oauth.service import IssuedClient, change_client
from tests.factories.logins import logged_in
from tests.factories.members import make_person
from tests.factories.oauth import CALLBACK, asking, basic, bearer, client_token, make_client, redeem, refresh
from tests.factories.oauth_scene import Scene, open_scene
from tests.factories.tenants import make_key, make_tenant

pytestmark = pytest.mark.asyncio
FORM = {"grant_type": "client_credentials"}
ROBOT: dict[str, Any] = {
    "name": "robot",
    "auth_method": "client_secret_basic",
    "grant_types": ["client_credentials"],
    "scopes": ["orders:read", "orders:write"],
}
APP: dict[str, Any] = {
    "name": "app",
    "auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "scopes": ["openid", "orders:read"],
    "redirect_uris": ["https://app.example/callback"],
}


@pytest_asyncio.fixture
async def scene(app_settings: Settings, database: Database) -> AsyncIterator[Scene]:
    async with open_scene(app_settings, database) as made:
        yield made


def _path(client: IssuedClient) -> str:
    return f"/v1/oauth_clients/{encode_id('ocl', client.row.id)}"


async def _change(scene: Scene, client: IssuedClient, **change: Any) -> dict[str, Any]:
    keyed = await make_key(scene.database, scene.tenant_id)
    answer = await scene.http.patch(_path(client), json=change, headers=keyed.headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_what_is_given_changes_and_is_told_with_who_did_it(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = (await client.post("/v1/oauth_clients", json=APP, headers=tenant.headers)).json()
    made.pop("client_secret")
    change = {
        "name": "charts",
        "scopes": ["positions:read", "openid", "positions:read"],
        "redirect_uris": ["https://app.example/new", "com.example.app:/cb"],
        "cors_origins": ["https://app.example"],
    }
    path = f"/v1/oauth_clients/{made['id']}"
    changed = await client.patch(path, json=change, headers=tenant.headers)
    wanted = change | {"scopes": ["openid", "positions:read"]}
    assert changed.json() == made | wanted
    assert (await client.get(path, headers=tenant.headers)).json() == made | wanted
    again = await client.patch(path, json={"name": "charts"}, headers=tenant.headers)
    assert again.json() == made | wanted
    async with database.tx(tenant.tenant_id) as tx:
        told = await tx.execute(
            text("select subject_id, data, actor_key_id from events where type = 'oauth_client.changed'")
        )
    assert [tuple(row) for row in told] == [(decode_id("ocl", made["id"]), wanted, tenant.key_row)]


async def test_a_scope_that_is_taken_away_ends_older_tokens_in_every_process_and_not_newer_ones(
    client: httpx.AsyncClient, app_settings: Settings, database: Database
) -> None:
    tenant = await make_tenant(database)
    made, sibling = [await make_client(database, tenant.tenant_id) for _ in range(2)]
    second = create_app(app_settings)
    async with (
        LifespanManager(second, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=second), base_url="http://gateway") as elsewhere,
    ):
        for scopes in (["orders:read", "tenant:read"], ["tenant:read"]):
            old, untouched = await client_token(client, made), await client_token(client, sibling)
            for one in (client, elsewhere):
                assert (await one.get("/v1/tenant", headers=bearer(old))).status_code == 200
            changed = await client.patch(_path(made), json={"scopes": scopes}, headers=tenant.headers)
            assert changed.status_code == 200, changed.text
            new = await client_token(elsewhere, made)
            for one in (client, elsewhere):
                statuses = [
                    (await one.get("/v1/tenant", headers=bearer(token))).status_code for token in (old, untouched, new)
                ]
                assert statuses == [401, 200, 200]
            assert (await client.post("/oauth2/introspect", data={"token": old}, headers=basic(sibling))).json() == {
                "active": False
            }
        beyond = await client.post("/oauth2/token", data=FORM | {"scope": "orders:read"}, headers=basic(made))
        assert (beyond.status_code, beyond.json()["error"]) == (400, "invalid_scope")


async def test_a_change_that_takes_no_scope_away_ends_no_token(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id, scopes=("tenant:read",))
    token = await client_token(client, made)
    change = {"name": "other", "scopes": ["tenant:read", "orders:read"], "cors_origins": ["https://app.example"]}
    assert (await client.patch(_path(made), json=change, headers=tenant.headers)).status_code == 200
    assert (await client.get("/v1/tenant", headers=bearer(token))).status_code == 200
    more = await client_token(client, made, scope="orders:read")
    assert (await client.get("/v1/orders", headers=bearer(more))).status_code == 200


async def test_what_a_person_granted_is_worth_what_the_application_may_still_ask(scene: Scene) -> None:
    scope = "openid orders:read tenant:read"
    held, waiting = await scene.tokens(scope=scope), await scene.code(scope=scope, prompt="consent")
    await _change(scene, scene.client, scopes=["openid", "tenant:read"])
    assert await scene.opens(held["access_token"]) == 401
    renewed = (await refresh(scene.http, scene.client, held["refresh_token"])).json()
    redeemed = (await redeem(scene.http, scene.client, waiting)).json()
    assert (renewed["scope"], redeemed["scope"]) == ("openid tenant:read", "openid tenant:read")
    assert await scene.opens(renewed["access_token"]) == 403
    await _change(scene, scene.client, scopes=["email"])
    late = await refresh(scene.http, scene.client, renewed["refresh_token"])
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")


async def test_a_code_that_went_where_the_application_no_longer_is_redeems_nothing(scene: Scene) -> None:
    code = await scene.code()
    await _change(scene, scene.client, redirect_uris=["https://app.example/new"])
    late = await redeem(scene.http, scene.client, code)
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")
    assert (await scene.browser.open(**asking(scene.client))).status_code == 400
    await _change(scene, scene.client, redirect_uris=[CALLBACK, "https://app.example/new"])
    assert (await scene.tokens())["token_type"] == "Bearer"


async def test_a_page_whose_origin_was_removed_gets_no_token(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id, cors_origins=("https://old.example",))
    page = basic(made) | {"Origin": "https://old.example"}
    assert (await client.post("/oauth2/token", data=FORM, headers=page)).status_code == 200
    change = {"cors_origins": ["https://new.example"]}
    assert (await client.patch(_path(made), json=change, headers=tenant.headers)).status_code == 200
    refused = await client.post("/oauth2/token", data=FORM, headers=page)
    assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize(
    ("method", "under", "change"),
    [
        ("PATCH", "", {"name": "mine"}),
        ("PATCH", "", {"scopes": ["orders:read", "risk:read"]}),
        ("PATCH", "", {"cors_origins": ["https://mine.example"]}),
        ("POST", "/secret", None),
    ],
)
async def test_nobody_changes_an_application_that_may_do_more_than_they(
    client: httpx.AsyncClient, database: Database, method: str, under: str, change: dict[str, Any] | None
) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id, scopes=("orders:read", "orders:write"))
    weak = await make_key(database, tenant.tenant_id, scopes=["oauth_clients:write", "orders:read"])
    refused = await client.request(method, _path(made) + under, json=change, headers=weak.headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_not_held")
    assert (await client.post("/oauth2/token", data=FORM, headers=basic(made))).status_code == 200
    within = await client.patch(_path(made), json={"scopes": ["orders:read"]}, headers=weak.headers)
    assert within.status_code == 200, "what is left is theirs to grant"


@pytest.mark.parametrize(
    ("made", "change", "code"),
    [
        (ROBOT, {"scopes": ["orders:fly"]}, "unknown_scope"),
        (ROBOT, {"scopes": []}, "invalid_request"),
        (ROBOT, {"scopes": ["openid"]}, "openid_needs_a_person"),
        (ROBOT, {"redirect_uris": ["https://app.example/cb"]}, "redirect_uri_missing"),
        (ROBOT, {"cors_origins": ["https://app.example/path"]}, "invalid_origin"),
        (ROBOT, {"name": ""}, "invalid_request"),
        (ROBOT, {"grant_types": ["authorization_code"]}, "invalid_request"),
        (ROBOT, {"mode": "live"}, "invalid_request"),
        (APP, {"redirect_uris": []}, "redirect_uri_missing"),
        (APP, {"redirect_uris": ["https://app.example/*"]}, "invalid_redirect_uri"),
    ],
)
async def test_a_wrong_change_is_refused_by_field_and_changes_nothing(
    client: httpx.AsyncClient, database: Database, made: dict[str, Any], change: dict[str, Any], code: str
) -> None:
    tenant = await make_tenant(database)
    row = (await client.post("/v1/oauth_clients", json=made, headers=tenant.headers)).json()
    row.pop("client_secret")
    path = f"/v1/oauth_clients/{row['id']}"
    answer = await client.patch(path, json={"name": "other"} | change, headers=tenant.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert answer.json()["param"]
    assert (await client.get(path, headers=tenant.headers)).json() == row


async def test_a_revoked_application_is_changed_no_more(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    assert (await client.delete(_path(made), headers=tenant.headers)).status_code == 200
    late = await client.patch(_path(made), json={"name": "other"}, headers=tenant.headers)
    assert (late.status_code, late.json()["code"]) == (409, "client_revoked")


async def test_a_live_application_is_changed_by_a_person_who_just_logged_in(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    tenant = await make_tenant(database, mode=Mode.LIVE)
    owner = await make_person(database, tenant.tenant_id, mode=Mode.LIVE)
    made = await make_client(database, tenant.tenant_id, mode=Mode.LIVE)
    by_key = await client.patch(_path(made), json={"name": "other"}, headers=owner.headers)
    assert (by_key.status_code, by_key.json()["code"]) == (403, "login_needed")
    stale = await logged_in(gateway_app, database, owner, ago=timedelta(minutes=11))
    assert (await client.patch(_path(made), json={"name": "other"}, headers=stale)).status_code == 401
    fresh = await logged_in(gateway_app, database, owner)
    assert (await client.patch(_path(made), json={"name": "other"}, headers=fresh)).json()["name"] == "other"


async def test_a_change_that_is_not_committed_ends_no_token(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    token = await client_token(client, made)
    with pytest.raises(RuntimeError):
        async with database.tx(tenant.tenant_id) as tx:
            await change_client(tx, made.row.id, scopes=["tenant:read"], now=datetime.now(UTC))
            raise RuntimeError
    assert (await client.get("/v1/orders", headers=bearer(token))).status_code == 200
    assert (await client.get("/v1/orders", headers=bearer(await client_token(client, made)))).status_code == 200
