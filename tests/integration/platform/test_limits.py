"""Rates as callers meet them: headers, refusals, addresses without a credential, exits, and Redis going away."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from pydantic import SecretStr

from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import encode_id, uuid7
from app.local.valkey import EmbeddedValkey, temporary_valkey
from app.main import create_app
from app.web.auth import cost_of
from app.web.openapi import routes_of
from tests.factories.entitlements import override, slow_tenant
from tests.factories.gateway import EXITS, From, fresh_address
from tests.factories.tenants import TenantWithKey, make_key, make_tenant

pytestmark = pytest.mark.asyncio
_NAME, _NUMBER = r'"[a-z-]+"', r"(0|[1-9][0-9]{0,14})"  # sf-string and sf-integer (RFC 9651), as far as they are used
POLICY = re.compile(rf"{_NAME};q={_NUMBER};w={_NUMBER}(, {_NAME};q={_NUMBER};w={_NUMBER})*")
STATE = re.compile(rf"{_NAME};r={_NUMBER};t={_NUMBER}(, {_NAME};r={_NUMBER};t={_NUMBER})*")


@asynccontextmanager
async def gateway(settings: Settings, **changed: object) -> AsyncIterator[FastAPI]:
    app = create_app(settings.model_copy(update=changed))
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        yield app


@asynccontextmanager
async def caller(app: FastAPI, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=From(app, address))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.fixture
def mortal() -> Iterator[EmbeddedValkey]:
    """A server of this test's own."""
    with temporary_valkey() as server:
        yield server


def figures(answer: httpx.Response) -> dict[str, tuple[int, int, int, int]]:
    """Quota, window, remaining and reset by policy, from headers that keep the draft's grammar."""
    policy, state = answer.headers["RateLimit-Policy"], answer.headers["RateLimit"]
    assert POLICY.fullmatch(policy), policy
    assert STATE.fullmatch(state), state
    policies = {name: (int(q), int(w)) for name, q, w in re.findall(r'"([a-z-]+)";q=(\d+);w=(\d+)', policy)}
    states = {name: (int(r), int(t)) for name, r, t in re.findall(r'"([a-z-]+)";r=(\d+);t=(\d+)', state)}
    assert list(policies) == list(states)
    return {name: (*policies[name], *states[name]) for name in policies}


async def _get(client: httpx.AsyncClient, tenant: TenantWithKey) -> httpx.Response:
    return await client.get("/v1/tenant", headers=tenant.headers)


async def _cancel(client: httpx.AsyncClient, tenant: TenantWithKey) -> httpx.Response:
    return await client.post(f"/v1/orders/{encode_id('ord', uuid7())}/cancel", headers=tenant.headers)


async def _order(client: httpx.AsyncClient, tenant: TenantWithKey) -> httpx.Response:
    """An order for an instrument that does not exist: what is not limited answers 404 or 422."""
    body = {"account_id": encode_id("acc", uuid7()), "instrument_id": encode_id("ins", uuid7()), "side": "buy"}
    body |= {"order_type": "market", "quantity": "1"}
    return await client.post("/v1/orders", headers=tenant.headers, json=body)


async def test_every_authenticated_answer_says_what_is_left(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    await slow_tenant(database, tenant.tenant_id, "reads", 10, per_credential=5)
    for left in (4, 3):
        found = figures(await _get(client, tenant))
        assert found["reads"] == (10, 3_600, left + 5, found["reads"][3])
        assert found["reads-key"][:3] == (5, 3_600, left)
        assert 0 < found["reads"][3] <= 3_600
    for answer in (
        await client.get("/v1/orders/nonsense", headers=tenant.headers),
        await client.get(f"/v1/orders/{encode_id('ord', uuid7())}", headers=tenant.headers),
    ):
        assert answer.status_code in (404, 422)
        assert "reads-key" in figures(answer)
    assert set(figures(await _order(client, tenant))) == {"orders", "orders-key"}


async def test_a_call_too_many_is_a_429_that_says_when_to_come_back(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    await slow_tenant(database, tenant.tenant_id, "reads", 2)
    assert [(await _get(client, tenant)).status_code for _ in range(2)] == [200, 200]
    refused = await _get(client, tenant)
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert (problem["code"], problem["retryable"]) == ("rate_limited", True)
    assert figures(refused)["reads"][2] == 0
    assert 0 < int(refused.headers["Retry-After"]) <= 1_800
    assert "reads allows: 2 in 3600 s" in problem["detail"]


async def test_a_credential_that_has_had_its_share_leaves_the_others_theirs(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    other = await make_key(database, tenant.tenant_id)
    await slow_tenant(database, tenant.tenant_id, "reads", 5, per_credential=3)
    assert [(await _get(client, tenant)).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert [(await _get(client, other)).status_code for _ in range(3)] == [200, 200, 429]


async def test_classes_do_not_use_up_each_other(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    await slow_tenant(database, tenant.tenant_id, "reads", 1)
    assert [(await _get(client, tenant)).status_code for _ in range(2)] == [200, 429]
    assert (await _order(client, tenant)).status_code in (404, 422)


async def test_exits_pass_when_orders_are_used_up(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    await slow_tenant(database, tenant.tenant_id, "orders", 1)
    assert [(await _order(client, tenant)).status_code == 429 for _ in range(2)] == [False, True]
    answers = [await _cancel(client, tenant) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert figures(answers[0])["orders"][2] == 0


async def test_of_two_hundred_calls_to_two_gateways_exactly_the_quota_is_served(
    app_settings: Settings, database: Database
) -> None:
    tenant = await make_tenant(database)
    await slow_tenant(database, tenant.tenant_id, "reads", 50)
    async with (
        gateway(app_settings) as first,
        gateway(app_settings) as second,
        caller(first) as one,
        caller(second) as other,
    ):
        answers = await asyncio.gather(*(_get((one, other)[number % 2], tenant) for number in range(200)))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(200), codes.count(429)) == (50, 150)


async def test_an_address_without_a_credential_has_a_rate_of_its_own(app_settings: Settings) -> None:
    async with gateway(app_settings, anonymous_calls_per_minute=3) as app, caller(app, fresh_address()) as client:
        answers = [await client.get("/v1/tenant") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert answers[3].json()["code"] == "rate_limited"
        assert figures(answers[3])["anonymous"][:3] == (3, 60, 0)
        assert int(answers[3].headers["Retry-After"]) >= 1
        assert (await client.get("/livez")).status_code == 200
        async with caller(app, fresh_address()) as neighbour:
            assert (await neighbour.get("/v1/tenant")).status_code == 401


async def test_a_false_credential_is_charged_to_its_address_and_soon_not_looked_up(
    app_settings: Settings, database: Database
) -> None:
    tenant = await make_tenant(database)
    false = {"Authorization": f"Bearer {tenant.secret[:-4]}0000"}
    async with gateway(app_settings, anonymous_calls_per_minute=3) as app, caller(app, fresh_address()) as client:
        codes = [(await client.get("/v1/tenant", headers=false)).status_code for _ in range(6)]
        assert codes == [401, 401, 401, 401, 429, 429]  # the fourth found out that nothing was left
        assert (await _get(client, tenant)).status_code == 429
        assert (await _cancel(client, tenant)).status_code == 404  # an exit of a neighbour behind the same address


async def test_good_credentials_do_not_use_up_their_address(app_settings: Settings, database: Database) -> None:
    tenant = await make_tenant(database)
    async with gateway(app_settings, anonymous_calls_per_minute=2) as app, caller(app, fresh_address()) as client:
        assert [(await _get(client, tenant)).status_code for _ in range(6)] == [200] * 6
        assert (await client.get("/v1/tenant")).status_code == 401


async def test_addresses_of_one_ipv6_network_are_one_source(app_settings: Settings) -> None:
    network = f"2001:db8:{uuid7().bytes[-2:].hex()}:{uuid7().bytes[-2:].hex()}"
    async with gateway(app_settings, anonymous_calls_per_minute=1) as app:
        codes = []
        for host in ("1", "2"):
            async with caller(app, f"{network}::{host}") as client:
                codes.append((await client.get("/v1/tenant")).status_code)
    assert codes == [401, 429]


async def test_without_redis_orders_have_a_share_while_reads_and_exits_pass(
    app_settings: Settings, database: Database, mortal: EmbeddedValkey
) -> None:
    tenant = await make_tenant(database)
    await slow_tenant(database, tenant.tenant_id, "orders", 20)
    await slow_tenant(database, tenant.tenant_id, "reads", 4)
    async with (
        gateway(app_settings, redis_url=SecretStr(mortal.url), gateway_processes=4) as app,
        caller(app) as client,
    ):
        assert (await _get(client, tenant)).status_code == 200
        assert mortal.pid is not None
        os.kill(mortal.pid, signal.SIGKILL)
        orders = [(await _order(client, tenant)).status_code for _ in range(12)]
        assert orders.count(429) == 12 - 20 // 4
        assert [(await _get(client, tenant)).status_code for _ in range(12)] == [200] * 12
        assert [(await _cancel(client, tenant)).status_code for _ in range(12)] == [404] * 12
        assert "orders" in figures(await _order(client, tenant))
        mortal.start()
        while app.state.gateway.limiter.rates.away:
            await asyncio.sleep(0.01)
        orders = [(await _order(client, tenant)).status_code for _ in range(22)]
        assert orders.count(429) == 2
        codes = [(await _get(client, tenant)).status_code for _ in range(5)]
        assert codes == [200, 200, 200, 200, 429]


async def test_what_takes_risk_away_weighs_nothing_and_orders_are_orders(gateway_app: FastAPI) -> None:
    app = gateway_app
    found = {
        f"{method} {route.path_format}": cost_of(route.dependant, method)
        for route in routes_of(app)
        for method in route.methods or ()
    }
    weightless = {name for name, cost in found.items() if cost.weight == 0}
    decided_later = {"POST /v1/orders", "POST /v1/orders/bulk", "PATCH /v1/orders/{id}"}  # known when they are decided
    assert weightless == EXITS - decided_later
    assert {found[name].cost_class for name in decided_later} == {"orders"}
    assert found["GET /v1/orders"].cost_class == "reads"
    assert found["POST /v1/accounts"].cost_class == "writes"
    assert found["POST /v1/sweeps"].cost_class == "backtests"
    operation = app.openapi()["paths"]["/v1/orders"]["post"]
    assert operation["x-cost"] == {"class": "orders", "weight": 1}


async def test_a_permission_can_need_a_feature_of_the_plan(app_settings: Settings, database: Database) -> None:
    tenant = await make_tenant(database)
    await override(database, tenant.tenant_id, "features.webhooks", False)
    async with gateway(app_settings) as app, caller(app) as client:
        refused = await client.post("/v1/webhook_endpoints", headers=tenant.headers, json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "feature_not_in_plan")
        assert "does not include webhooks" in refused.json()["detail"]
        assert (await client.get("/v1/webhook_endpoints", headers=tenant.headers)).status_code == 200
