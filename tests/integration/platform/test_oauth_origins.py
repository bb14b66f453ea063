"""Web pages call with tokens of the application that registered their origin, and with nothing else."""

import httpx
import pytest
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed

from app.infra.database import Database
from app.kernel.orders import Mode
from app.kernel.principal import Principal
from app.platform.oauth.service import ClientOrigins
from app.web import stream
from tests.factories.oauth import basic, bearer, client_token, make_client
from tests.factories.oauth_scene import Scene
from tests.factories.streams import Served, ask, connected, told
from tests.factories.tenants import make_key, make_tenant

pytestmark = pytest.mark.asyncio
ASKS = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


def _readable(answer: httpx.Response) -> str | None:
    found: str | None = answer.headers.get("Access-Control-Allow-Origin")
    return found


async def test_a_page_reads_what_its_own_applications_token_opens(scene: Scene) -> None:
    page = {"Origin": "https://own.example"}
    ours = await make_client(scene.database, scene.tenant_id, cors_origins=("https://own.example",))
    preflight = await scene.http.options("/v1/tenant", headers=page | ASKS)
    assert (preflight.status_code, _readable(preflight)) == (204, "https://own.example")
    got = await scene.http.post("/oauth2/token", data={"grant_type": "client_credentials"}, headers=basic(ours) | page)
    assert (got.status_code, _readable(got)) == (200, "https://own.example")
    answer = await scene.http.get("/v1/tenant", headers=bearer(got.json()["access_token"]) | page)
    assert (answer.status_code, _readable(answer)) == (200, "https://own.example")
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_another_applications_token_is_refused_to_the_page(scene: Scene) -> None:
    page = {"Origin": "https://one.example"}
    await make_client(scene.database, scene.tenant_id, cors_origins=("https://one.example",))
    other = await make_client(scene.database, scene.tenant_id, cors_origins=("https://two.example",))
    token = await client_token(scene.http, other)
    answer = await scene.http.get("/v1/tenant", headers=bearer(token) | page)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    got = await scene.http.post("/oauth2/token", data={"grant_type": "client_credentials"}, headers=basic(other) | page)
    assert (got.status_code, got.json()["error"]) == (400, "unauthorized_client")
    assert (await scene.http.get("/v1/tenant", headers=bearer(token))).status_code == 200, "a program, no page"


async def test_a_write_of_another_applications_page_writes_nothing(scene: Scene) -> None:
    tenant = await make_tenant(scene.database)
    await make_client(scene.database, tenant.tenant_id, cors_origins=("https://keys.example",))
    key = await make_key(scene.database, tenant.tenant_id)
    page = {"Origin": "https://keys.example"}
    body = {"name": "a", "currency": "USD", "opening_balance": "1000.00"}
    answer = await scene.http.post("/v1/accounts", headers=key.headers | page, json=body)
    assert (answer.status_code, answer.json()["param"]) == (403, "Origin")
    async with scene.database.tx(tenant.tenant_id) as tx:
        assert (await tx.execute(text("select count(*) from accounts"))).scalar_one() == 0


async def test_a_pages_socket_opens_with_its_own_applications_token_only(served: Served) -> None:
    tenant = await make_tenant(served.database)
    page = {"Origin": "https://socket.example"}
    own = await make_client(served.database, tenant.tenant_id, cors_origins=("https://socket.example",))
    other = await make_client(served.database, tenant.tenant_id, cors_origins=("https://elsewhere.example",))
    async with httpx.AsyncClient(base_url=served.url) as http:
        owned, foreign = await client_token(http, own), await client_token(http, other)
    async with connected(served, **page) as socket:  # browsers cannot set headers: they send the token
        assert (await ask(socket, op="auth", token=owned))["type"] == "authenticated"
        assert (await ask(socket, op="subscribe", channel="orders"))["type"] == "subscribed"
    for credential in (foreign, tenant.secret):
        async with connected(served, **page) as socket:
            refused = await ask(socket, op="auth", token=credential)
            assert (refused["code"], refused["param"]) == ("origin_not_allowed", "Origin")
            with pytest.raises(ConnectionClosed) as closed:
                await told(socket)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == stream.POLICY
        async with connected(served, Authorization=f"Bearer {credential}") as socket:
            assert (await told(socket))["type"] == "authenticated", "a program, no page"


async def test_a_pages_socket_ends_with_the_application(served: Served) -> None:
    tenant = await make_tenant(served.database)
    made = await make_client(served.database, tenant.tenant_id, cors_origins=("https://ends.example",))
    async with httpx.AsyncClient(base_url=served.url) as http:
        token = await client_token(http, made)
    async with connected(served, Origin="https://ends.example") as socket:
        assert (await ask(socket, op="auth", token=token))["type"] == "authenticated"
        async with served.database.tx(tenant.tenant_id) as tx:
            await tx.execute(text("update oauth_clients set status = 'revoked', revoked_at = now()"))
        assert (await told(socket))["code"] == "origin_not_allowed"
        with pytest.raises(ConnectionClosed):
            await told(socket)


async def test_what_nobody_registered_is_read_by_no_page(scene: Scene) -> None:
    page = {"Origin": "https://nobody.example"}
    assert (await scene.http.options("/v1/tenant", headers=page | ASKS)).status_code == 403
    token = await client_token(scene.http, await make_client(scene.database, scene.tenant_id))
    answer = await scene.http.get("/v1/tenant", headers=bearer(token) | page)
    assert (answer.status_code, _readable(answer)) == (200, None)


async def test_a_refusal_before_anybody_is_known_can_be_read(scene: Scene) -> None:
    await make_client(scene.database, scene.tenant_id, cors_origins=("https://late.example",))
    answer = await scene.http.get("/v1/tenant", headers={"Origin": "https://late.example"})
    assert (answer.status_code, _readable(answer)) == (401, "https://late.example")


async def test_an_origin_goes_with_the_last_application_that_has_it(database: Database) -> None:
    tenant = await make_tenant(database)
    origin, clock = "https://gone.example", [0.0]
    origins = ClientOrigins(lambda: database, monotonic=lambda: clock[0])
    made = await make_client(database, tenant.tenant_id, cors_origins=(origin,))
    caller = Principal(tenant.tenant_id, made.row.id, Mode.TEST, frozenset())
    assert await origins.registered(origin)
    assert await origins.admits(caller, origin)
    async with database.tx(tenant.tenant_id) as tx:
        await tx.execute(text("update oauth_clients set status = 'revoked', revoked_at = now()"))
    assert not await origins.admits(caller, origin), "at once"
    clock[0] += 11
    assert not await origins.registered(origin)


@pytest.mark.parametrize("origin", ["null", "*", "", "https://x.example/path", "x" * 5000, "https://a.example\x00"])
async def test_strange_origins_are_nobodys(database: Database, origin: str) -> None:
    assert not await ClientOrigins(lambda: database).registered(origin)


async def test_a_database_that_does_not_answer_makes_no_page_readable() -> None:
    def away() -> Database:
        raise ConnectionError

    assert not await ClientOrigins(away).registered("https://own.example")
