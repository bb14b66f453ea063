"""How tokens end: one, a client's, a tenant's, in every process; and what holds while Redis is away."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy import text

from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import encode_id
from app.main import create_app
from app.platform.oauth.domain import AuthMethod, GrantType
from app.platform.oauth.service import IssuedClient, end_tenant_tokens
from tests.factories.logins import logged_in
from tests.factories.members import make_person
from tests.factories.oauth import basic, bearer, client_token, make_client, redeem, refresh
from tests.factories.oauth_scene import open_scene
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio
FORM = {"grant_type": "client_credentials"}


async def test_a_revoked_token_ends_in_every_process(
    client: httpx.AsyncClient, app_settings: Settings, database: Database
) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    token, other = [await client_token(client, made) for _ in range(2)]
    second = create_app(app_settings)
    async with (
        LifespanManager(second, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=second), base_url="http://gateway") as elsewhere,
    ):
        for one in (client, elsewhere):
            assert (await one.get("/v1/tenant", headers=bearer(token))).status_code == 200
        ended = await client.post("/oauth2/revoke", data={"token": token}, headers=basic(made))
        assert (ended.status_code, ended.json()) == (200, {})
        for one in (client, elsewhere):
            answer = await one.get("/v1/tenant", headers=bearer(token))
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
            assert (await one.get("/v1/tenant", headers=bearer(other))).status_code == 200


async def test_a_revoked_client_takes_its_tokens_with_it(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    token = await client_token(client, made)
    path = f"/v1/oauth_clients/{encode_id('ocl', made.row.id)}"
    for _ in range(2):
        assert (await client.delete(path, headers=tenant.headers)).json()["status"] == "revoked"
    assert (await client.get("/v1/tenant", headers=bearer(token))).status_code == 401
    assert (await client.post("/oauth2/token", data=FORM, headers=basic(made))).status_code == 401


async def test_a_tenants_epoch_ends_older_tokens_and_not_newer_ones(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    tenant, stranger = await make_tenant(database), await make_tenant(database)
    made, theirs = await make_client(database, tenant.tenant_id), await make_client(database, stranger.tenant_id)
    for _ in range(2):
        old, untouched = await client_token(client, made), await client_token(client, theirs)
        async with database.tx(tenant.tenant_id) as tx:
            marks = await end_tenant_tokens(tx, now=datetime.now(UTC))
        await gateway_app.state.oauth.revocations.publish(marks)
        new = await client_token(client, made)
        statuses = [(await client.get("/v1/tenant", headers=bearer(one))).status_code for one in (old, untouched, new)]
        assert statuses == [401, 200, 200]


async def test_a_tenant_that_closes_takes_its_applications_and_their_tokens_with_it(
    app_settings: Settings, database: Database
) -> None:
    async with open_scene(app_settings, database) as scene:
        stranger = await make_tenant(database)
        service, theirs = await make_client(database, scene.tenant_id), await make_client(database, stranger.tenant_id)
        held, waiting = await scene.tokens(), await scene.code()
        own, untouched = await client_token(scene.http, service), await client_token(scene.http, theirs)
        owner = await make_person(database, scene.tenant_id)
        signed_in = await logged_in(scene.app, database, owner)
        tokens = (held["access_token"], own, signed_in["Authorization"].removeprefix("Bearer "))
        assert [await scene.opens(one) for one in tokens] == [200, 200, 200]
        closed = await scene.http.delete("/v1/tenant", headers=signed_in)
        assert (closed.status_code, closed.json()["status"]) == (202, "closing")
        assert [await scene.opens(one) for one in (*tokens, untouched)] == [401, 401, 401, 200]
        for answer in (
            await refresh(scene.http, scene.client, held["refresh_token"]),
            await redeem(scene.http, scene.client, waiting),
            await scene.http.post("/oauth2/token", data=FORM, headers=basic(service)),
        ):
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        async with database.tx(scene.tenant_id) as tx:
            kept = await tx.execute(
                text(
                    "select (select count(*) from oauth_clients where status = 'active'),"
                    " (select count(*) from oauth_grants where revoked_at is null)"
                )
            )
            told = await tx.execute(
                text(
                    "select count(*) filter (where type = 'oauth_client.revoked'),"
                    " max(data ->> 'clients_revoked') filter (where type = 'tenant.closing') from events"
                )
            )
        assert tuple(kept.one()) == (0, 0)
        assert tuple(told.one()) == (3, "3")


async def test_a_closing_that_is_refused_ends_nothing(app_settings: Settings, database: Database) -> None:
    async with open_scene(app_settings, database) as scene:
        token = (await scene.tokens())["access_token"]
        owner = await make_person(database, scene.tenant_id)
        late = await logged_in(scene.app, database, owner, ago=timedelta(minutes=11))
        assert (await scene.http.delete("/v1/tenant", headers=late)).status_code == 401
        assert await scene.opens(token) == 200


async def test_without_redis_tokens_read_and_do_not_write(
    app_settings: Settings, client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    made = await make_client(database, tenant.tenant_id)
    token = await client_token(client, made)
    cut = create_app(Settings.model_validate(_environment(app_settings) | {"REDIS_URL": "redis://127.0.0.1:1"}))
    async with (
        LifespanManager(cut, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=cut), base_url="http://gateway") as http,
    ):
        assert (await http.get("/v1/tenant", headers=bearer(token))).status_code == 200
        refused = await http.post("/v1/orders/nonsense/cancel", headers=bearer(token))
        assert (refused.status_code, refused.json()["code"]) == (503, "revocation_unknown")
        by_key = await http.post("/v1/orders/nonsense/cancel", headers=tenant.headers)
        assert by_key.status_code == 422
        ended = await http.post("/oauth2/revoke", data={"token": token}, headers=basic(made))
        assert (ended.status_code, ended.json()["code"]) == (503, "revocation_waits")
        assert (await http.get("/v1/tenant", headers=bearer(token))).status_code == 401
        asked = await http.post(
            "/oauth2/introspect", data={"token": await client_token(http, made)}, headers=basic(made)
        )
        assert (asked.status_code, asked.json()["code"]) == (503, "revocation_unknown")


def _environment(settings: Settings) -> dict[str, Any]:
    found = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        found[field.alias or name] = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return found


# --- Revocation and introspection -----------------------------------------------------------------------------------


async def test_only_the_tokens_own_client_may_end_it(client: httpx.AsyncClient, database: Database) -> None:
    tenant, stranger = await make_tenant(database), await make_tenant(database)
    made, sibling = [await make_client(database, tenant.tenant_id) for _ in range(2)]
    theirs = await make_client(database, stranger.tenant_id)
    token = await client_token(client, made)
    by_sibling = await client.post("/oauth2/revoke", data={"token": token}, headers=basic(sibling))
    assert (by_sibling.status_code, by_sibling.json()["error"]) == (400, "invalid_grant")
    by_stranger = await client.post("/oauth2/revoke", data={"token": token}, headers=basic(theirs))
    assert (by_stranger.status_code, by_stranger.json()) == (200, {})  # to them it is no token
    assert (await client.get("/v1/tenant", headers=bearer(token))).status_code == 200
    unknown = await client.post("/oauth2/revoke", data={"token": "nonsense"}, headers=basic(made))
    assert (unknown.status_code, unknown.json()) == (200, {})
    missing = await client.post("/oauth2/revoke", data={"x": "y"}, headers=basic(made))
    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")
    nobody = await client.post("/oauth2/revoke", data={"token": token})
    assert nobody.status_code == 401


async def test_introspection_tells_a_tenants_clients_about_its_tokens_only(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant, stranger = await make_tenant(database), await make_tenant(database)
    made, sibling = [await make_client(database, tenant.tenant_id) for _ in range(2)]
    theirs = await make_client(database, stranger.tenant_id)
    token = await client_token(client, made, scope="orders:read")

    async def asked(by: IssuedClient) -> Any:
        answer = await client.post("/oauth2/introspect", data={"token": token}, headers=basic(by))
        assert answer.status_code == 200
        return answer.json()

    told = await asked(sibling)
    assert (told["active"], told["scope"], told["client_id"]) == (True, "orders:read", made.row.client_id)
    assert told["tid"] == encode_id("ten", tenant.tenant_id)
    assert await asked(theirs) == {"active": False}
    await client.post("/oauth2/revoke", data={"token": token}, headers=basic(made))
    assert await asked(sibling) == {"active": False}
    nobody = await client.post("/oauth2/introspect", data={"token": token, "client_id": made.row.client_id})
    assert nobody.status_code == 401


async def test_a_public_client_cannot_introspect(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    public = await make_client(
        database,
        tenant.tenant_id,
        method=AuthMethod.NONE,
        grants=(GrantType.CODE,),
        redirect_uris=("https://app.example/cb",),
    )
    form = {"token": "x", "client_id": public.row.client_id}
    assert (await client.post("/oauth2/introspect", data=form)).status_code == 401
    assert (await client.post("/oauth2/revoke", data=form)).status_code == 200
