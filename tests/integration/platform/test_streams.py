"""Server-sent events and the WebSocket, over a real server."""

import asyncio
import json
import secrets
import socket as socketlib
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.infra.settings import Settings
from app.kernel.ids import encode_id, uuid7
from app.main import create_app
from app.market.data.service import stream_key
from app.web import stream
from tests.factories.gateway import serving
from tests.factories.reference import seeded
from tests.factories.streams import Served, ask, connected, emit, stamped, streaming, told
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio


async def test_a_stream_goes_on_where_the_client_broke_off(served: Served) -> None:
    tenant = await make_tenant(served.database)
    await emit(served.database, tenant.tenant_id, "member.added", "order.created", "order.filled")
    async with streaming(served, tenant, "?since=0") as reader:
        before = [(await reader.next())["event"] for _ in range(2)]
        assert before == ["tenant.created", "api_key.created"]
        seen = [await reader.next() for _ in range(3)]
        await emit(served.database, tenant.tenant_id, "order.cancelled")
        seen.append(await reader.next())
    start = int(seen[0]["id"])
    assert [int(one["id"]) for one in seen] == list(range(start, start + 4))
    first = json.loads(seen[2]["data"])
    listed = await _get(served, tenant, "/v1/events?type=order.filled")
    assert listed["data"] == [first] and seen[2]["event"] == "order.filled"
    await emit(served.database, tenant.tenant_id, "order.filled")
    async with streaming(served, tenant, **{"Last-Event-ID": seen[2]["id"]}) as reader:
        assert [(await reader.next())["event"] for _ in range(2)] == ["order.cancelled", "order.filled"]


async def test_only_the_types_that_were_asked_for_are_told(served: Served) -> None:
    tenant = await make_tenant(served.database)
    async with streaming(served, tenant, "?types=order.*&types=risk_limit.set") as reader:
        await emit(
            served.database, tenant.tenant_id, "member.added", "order.created", "position.changed", "risk_limit.set"
        )
        assert [(await reader.next())["event"] for _ in range(2)] == ["order.created", "risk_limit.set"]


async def test_another_tenants_events_are_never_told(served: Served) -> None:
    mine, other = await make_tenant(served.database), await make_tenant(served.database)
    await stamped(served.database, mine.tenant_id)
    async with streaming(served, mine) as reader:
        await emit(served.database, other.tenant_id, "order.created")
        await emit(served.database, mine.tenant_id, "order.filled")
        assert (await reader.next())["event"] == "order.filled"


async def test_a_revoked_key_ends_its_streams(served: Served) -> None:
    tenant = await make_tenant(served.database)
    async with streaming(served, tenant) as reader:
        key = encode_id("key", tenant.key_row)
        async with httpx.AsyncClient(base_url=served.url) as client:
            assert (await client.delete(f"/v1/api_keys/{key}", headers=tenant.headers)).status_code < 300
        ended = await reader.next()
        while ended["event"] != "stream.ended":
            ended = await reader.next()
        assert (ended["event"], json.loads(ended["data"])) == ("stream.ended", {"code": "api_key_revoked"})
        assert await reader.next() == {}


@pytest.mark.parametrize(
    ("query", "headers", "code", "param"),
    [
        ("?since=10000000", {}, "unknown_position", "since"),
        ("", {"Last-Event-ID": "10000000"}, "unknown_position", "Last-Event-ID"),
        ("?since=-1", {}, "invalid_request", "since"),
        ("?types=orders.*", {}, "unknown_event_type", "types"),
        ("?types=order.x*", {}, "unknown_event_type", "types"),
    ],
)
async def test_a_stream_that_cannot_be_is_refused_before_it_begins(
    served: Served, query: str, headers: dict[str, str], code: str, param: str
) -> None:
    tenant = await make_tenant(served.database)
    async with httpx.AsyncClient(base_url=served.url) as client:
        answer = await client.get(f"/v1/events/stream{query}", headers=tenant.headers | headers)
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (422, code, param)


async def test_a_stream_needs_the_permission(served: Served) -> None:
    tenant = await make_tenant(served.database, scopes=["tenant:read"])
    async with httpx.AsyncClient(base_url=served.url) as client:
        assert (await client.get("/v1/events/stream", headers=tenant.headers)).status_code == 403
        assert (await client.get("/v1/events/stream")).status_code == 401


async def test_a_server_that_stops_ends_its_streams_first(app_settings: Settings) -> None:
    app = create_app(app_settings)
    async with serving(app) as url:
        served = Served(url, app)
        tenant = await make_tenant(served.database)
        async with streaming(served, tenant) as reader:
            app.state.gateway.hub.close()
            assert await reader.next() == {}


async def test_a_quiet_stream_says_that_it_is_alive(served: Served) -> None:
    tenant = await make_tenant(served.database)
    async with streaming(served, tenant) as reader, asyncio.timeout(20):
        async for line in reader.lines:
            if line == ": heartbeat":
                break


async def _get(served: Served, tenant: TenantWithKey, path: str) -> Any:
    async with httpx.AsyncClient(base_url=served.url) as client:
        return (await client.get(path, headers=tenant.headers)).json()


# The WebSocket


async def test_own_orders_are_told_and_a_client_goes_on_where_it_broke_off(served: Served) -> None:
    tenant, other = await make_tenant(served.database), await make_tenant(served.database)
    await stamped(served.database, tenant.tenant_id)
    async with connected(served, **tenant.headers) as socket:
        assert await told(socket) == {"type": "authenticated", "tenant_id": encode_id("ten", tenant.tenant_id)}
        place = (await ask(socket, op="subscribe", channel="orders"))["position"]
        await emit(served.database, other.tenant_id, "order.created")
        await emit(served.database, tenant.tenant_id, "order.created", "member.added", "order.filled")
        events = [(await told(socket))["event"] for _ in range(2)]
        assert [one["type"] for one in events] == ["order.created", "order.filled"]
        assert [one["position"] for one in events] == [place + 1, place + 3]
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        await ask(socket, op="subscribe", channel="orders", since=place + 1)
        assert (await told(socket))["event"] == events[1]


async def test_a_browser_authenticates_by_its_first_message(served: Served) -> None:
    tenant = await make_tenant(served.database)
    async with connected(served) as socket:
        assert (await ask(socket, op="auth", token=tenant.secret))["type"] == "authenticated"
        assert await ask(socket, op="ping") == {"type": "pong"}
    for first in ({"op": "ping"}, {"op": "auth", "token": "sk_test_in1_nothing"}, [1], "x"):
        async with connected(served) as socket:
            refused = await ask(socket, **first) if isinstance(first, dict) else await _raw(socket, first)
            assert refused["type"] == "error" and "nothing" not in refused["detail"]
            with pytest.raises(ConnectionClosed) as closed:
                await told(socket)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


async def _raw(socket: ClientConnection, message: Any) -> dict[str, Any]:
    await socket.send(json.dumps(message))
    return await told(socket)


async def test_quotes_come_as_the_last_price_of_each_instrument(served: Served) -> None:
    tenant = await make_tenant(served.database)
    await seeded(served.database, served.app.state.app.settings)
    row = await served.database.reference.fetchrow("select id, price_exp from instruments order by symbol limit 1")
    assert row is not None
    name = encode_id("ins", row["id"])
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        assert (await ask(socket, op="subscribe", channel="quotes", instruments=[name]))["watched"] == 1
        assert (await told(socket))["type"] == "quotes"
        redis = served.app.state.app.stream
        for price in range(1, 50):
            entry = {"type": "price", "instrument_id": str(row["id"]), "price": str(price * 10 ** row["price_exp"])}
            await redis.xadd(stream_key("replay"), entry | {"at": "2003-01-02T15:00:00Z", "volume": "1", "first": "0"})
        messages = 0
        while True:
            messages += 1
            (quote,) = (await told(socket))["quotes"]
            assert quote["instrument_id"] == name
            if quote["price"].startswith("49."):
                break
        assert messages < 49
        assert (await ask(socket, op="unsubscribe", channel="quotes"))["watched"] == 0


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ({"op": "subscribe", "channel": "news"}, "unknown_operation", "channel"),
        ({"op": "buy", "channel": "orders"}, "unknown_operation", "op"),
        ({"op": "subscribe", "channel": "orders", "since": 10**9}, "unknown_position", "since"),
        ({"op": "subscribe", "channel": "quotes"}, "invalid_instruments", "instruments"),
        ({"op": "subscribe", "channel": "quotes", "instruments": ["ins_x"]}, "invalid_id", "instruments.0"),
        ({"op": "subscribe", "channel": "quotes", "colour": "red"}, "invalid_request", None),
    ],
)
async def test_what_cannot_be_is_answered_and_the_connection_stays(
    served: Served, message: dict[str, Any], code: str, param: str | None
) -> None:
    tenant = await make_tenant(served.database)
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        answer = await ask(socket, **message)
        assert (answer["type"], answer["code"], answer["param"]) == ("error", code, param)
        assert await ask(socket, op="ping") == {"type": "pong"}


async def test_a_socket_needs_permissions_and_ends_with_its_key(served: Served) -> None:
    tenant = await make_tenant(served.database, scopes=["api_keys:write", "bars:read"])
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        assert (await ask(socket, op="subscribe", channel="orders"))["code"] == "missing_scope"
        async with httpx.AsyncClient(base_url=served.url) as client:
            await client.delete(f"/v1/api_keys/{encode_id('key', tenant.key_row)}", headers=tenant.headers)
        assert (await told(socket))["code"] == "api_key_revoked"
        with pytest.raises(ConnectionClosed):
            await told(socket)


async def test_a_quiet_socket_says_that_it_is_alive_and_goes_when_the_process_does(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.6)
    tenant = await make_tenant(served.database)
    async with connected(served, **tenant.headers) as socket:
        await told(socket)
        beat = await told(socket)
        assert beat["type"] == "heartbeat" and beat["at"].endswith("Z")
        served.app.state.gateway.hub.close()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await told(socket)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


async def test_a_client_that_does_not_read_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SEND_SECONDS", 0.3)
    tenant = await make_tenant(served.database)
    url, raw = httpx.URL(served.url), socketlib.socket()
    raw.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 16_384)
    raw.connect((url.host, url.port))
    async with connect(
        f"ws://{url.host}/v1/stream", sock=raw, additional_headers=tenant.headers, max_queue=1
    ) as socket:
        await told(socket)
        await ask(socket, op="subscribe", channel="orders")
        async with served.database.tx(tenant.tenant_id) as tx:
            for _ in range(400):
                tx.emit("order.created", uuid7(), {"padding": secrets.token_hex(15_000)})
        await asyncio.sleep(3)
        with pytest.raises(ConnectionClosed):
            while True:
                await told(socket)
        assert socket.close_code in (1013, 1006)
