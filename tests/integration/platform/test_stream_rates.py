"""Opening the WebSocket and every message on it cost what a request costs, and are refused as a request is."""

import asyncio

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from app.infra.settings import Settings
from app.main import create_app
from app.web import stream
from tests.factories.entitlements import limit_tenant, override, slow_tenant
from tests.factories.gateway import From, fresh_address, serving
from tests.factories.streams import Served, ask, connected, told
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio


async def _get(served: Served, tenant: TenantWithKey) -> httpx.Response:
    async with httpx.AsyncClient(base_url=served.url) as client:
        return await client.get("/v1/tenant", headers=tenant.headers)


async def test_opening_and_messages_draw_from_the_reads_that_requests_draw_from(served: Served) -> None:
    tenant = await make_tenant(served.database)
    await slow_tenant(served.database, tenant.tenant_id, "reads", 5)
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        assert (await ask(socket, op="subscribe", channel="orders"))["type"] == "subscribed"
        assert (await ask(socket, op="ping"))["type"] == "pong"
        assert (await ask(socket, op="nonsense"))["code"] == "unknown_operation"
        answers = [await _get(served, tenant) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        refused = await ask(socket, op="ping")
    problem = answers[1].json()
    assert refused["type"] == "error" and refused["code"] == problem["code"] == "rate_limited"
    assert refused["retry_after"] == pytest.approx(int(answers[1].headers["Retry-After"]), abs=2)
    assert refused["detail"].split(" Wait")[0] == problem["detail"].split(" Wait")[0]


async def test_a_refused_message_leaves_the_connection_to_whoever_waits_as_long_as_it_says(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_LIMITED", 2)
    tenant = await make_tenant(served.database)
    rate = {"quota": 2, "window_s": 2, "per_credential": 2}
    await override(served.database, tenant.tenant_id, "rates.reads", rate)
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        for _ in range(3):  # more refusals in all than are borne in a row
            while (said := await ask(socket, op="ping"))["type"] == "pong":
                pass
            assert (said["code"], said["retry_after"]) == ("rate_limited", 1)
            await asyncio.sleep(said["retry_after"])
            assert (await ask(socket, op="ping"))["type"] == "pong"


async def test_a_first_message_in_bytes_is_answered_and_ends_the_connection(served: Served) -> None:
    async with connected(served) as socket:
        await socket.send(b"\x00")
        assert (await told(socket))["code"] == "invalid_request"
        with pytest.raises(ConnectionClosed) as closed:
            await told(socket)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == stream.POLICY


async def test_a_flood_of_refused_messages_ends_the_connection(served: Served) -> None:
    tenant = await make_tenant(served.database)
    await slow_tenant(served.database, tenant.tenant_id, "reads", 3)
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        assert [(await ask(socket, op="ping"))["type"] for _ in range(2)] == ["pong", "pong"]
        refused = [await ask(socket, op="ping") for _ in range(stream.MOST_LIMITED)]
        assert {one["code"] for one in refused} == {"rate_limited"}
        with pytest.raises(ConnectionClosed) as closed:
            await ask(socket, op="ping")
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (stream.POLICY, "rate_limited")


async def test_messages_count_against_the_month(served: Served) -> None:
    tenant = await make_tenant(served.database)
    await limit_tenant(served.database, tenant.tenant_id, api_calls=2)
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        assert (await ask(socket, op="ping"))["type"] == "pong"
        assert (await ask(socket, op="ping"))["code"] == "quota_exceeded"


async def test_an_opening_too_many_is_told_so_and_to_try_again(served: Served) -> None:
    tenant = await make_tenant(served.database)
    await slow_tenant(served.database, tenant.tenant_id, "reads", 1)
    async with connected(served, **tenant.headers) as first:
        assert (await told(first))["type"] == "authenticated"
        async with connected(served, **tenant.headers) as second:
            refused = await told(second)
            assert refused["code"] == "rate_limited" and refused["retry_after"] > 1
            with pytest.raises(ConnectionClosed) as closed:
                await told(second)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == stream.TRY_AGAIN
        assert (await ask(first, op="ping"))["code"] == "rate_limited"


async def test_openings_without_a_good_credential_use_up_their_address_and_good_ones_do_not(
    app_settings: Settings,
) -> None:
    app = create_app(app_settings.model_copy(update={"anonymous_calls_per_minute": 2}))
    async with serving(From(app, fresh_address())) as url:
        served = Served(url, app)
        tenant = await make_tenant(served.database)
        for _ in range(4):
            async with connected(served, **tenant.headers) as socket:
                assert (await told(socket))["type"] == "authenticated"
        async with connected(served) as socket:
            assert (await ask(socket, op="auth", token=tenant.secret[:-4] + "0000"))["code"] == "invalid_api_key"
        async with connected(served):
            pass  # says nothing
        for _ in range(2):
            async with connected(served, Authorization=f"Bearer {tenant.secret[:-4]}0000") as socket:
                last = await told(socket)
        assert last["code"] == "rate_limited" and last["retry_after"] >= 1
