"""What runs beside the requests outlives whatever Redis tells it, and Redis itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection

from app.infra.events.follower import CHANNEL
from app.infra.rates import RateStore
from app.infra.redis import open_redis
from app.kernel.ids import encode_id
from app.kernel.orders import Mode
from app.local.valkey import temporary_valkey
from app.market.data.service import stream_key
from app.platform.oauth.domain import AccessToken
from app.platform.oauth.service.revocations import Revocations, Standing
from tests.factories.reference import seeded
from tests.factories.streams import Served, ask, connected, emit, told
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio
FEED = stream_key("replay")


@pytest_asyncio.fixture
async def redis_alone() -> AsyncIterator[Redis]:
    with temporary_valkey() as server:
        client = open_redis(server.url)
        yield client
        await client.aclose()


async def test_quotes_go_on_after_entries_that_nobody_can_read(served: Served) -> None:
    stream, row = served.app.state.app.stream, await _instrument(served)
    good = _price(row, 7)
    garbage: list[dict[Any, Any]] = [
        {"x": "y"},
        {"type": "price"},
        good | {"price": "seven"},
        good | {"instrument_id": "nobody"},
        good | {"at": "yesterday"},
    ]
    async with connected(served, **(await make_tenant(served.database)).headers) as socket:
        await _watch(socket, row)
        with capture_logs() as logs:
            added = [await stream.xadd(FEED, entry) for entry in garbage]
            await stream.xadd(FEED, good)
            assert (await told(socket))["quotes"][0]["price"] == "7.00"
        unread = [entry for entry in logs if entry["event"] == "quotes.entries_not_read"]
        assert sum(entry["count"] for entry in unread) == len(garbage)
        assert [entry for entry in logs if entry["event"] == "background.failed"] == []
    await stream.xdel(FEED, *added)  # other tests read this stream, too


async def test_streams_go_on_after_bytes_that_are_no_text_and_after_lost_connections(served: Served) -> None:
    process, row = served.app.state.app, await _instrument(served)
    tenant = await make_tenant(served.database)
    async with connected(served, **tenant.headers) as socket:
        await _watch(socket, row)
        assert (await ask(socket, op="subscribe", channel="orders"))["type"] == "subscribed"
        added = await process.stream.xadd(FEED, {b"type": b"\xff\xfe"})
        for announced in (b"\xff\xfe", "nonsense", "", json.dumps({"a": 1})):
            await process.redis.publish(CHANNEL, announced)
        for kind in ("normal", "pubsub"):
            await process.redis.client_kill_filter(_type=kind, skipme=True)
        await emit(served.database, tenant.tenant_id, "order.created")
        assert (await _next(socket, "event"))["event"]["type"] == "order.created"
        for price in range(8, 200):  # the board begins again at the end of the stream, within a second or two
            await process.stream.xadd(FEED, _price(row, price))
            if await _comes(socket):
                break
        else:
            raise AssertionError("no quote came any more")
    await process.stream.xdel(FEED, added)


async def test_revocations_that_redis_does_not_take_are_kept_and_written_later(redis_alone: Redis) -> None:
    revocations, stop = Revocations(redis_alone), asyncio.Event()
    await redis_alone.config_set("maxmemory", "1")
    running = asyncio.create_task(revocations.run(stop))
    assert await revocations.publish(["jti:full"]) is False
    await asyncio.sleep(0.6)
    assert not running.done()
    await redis_alone.config_set("maxmemory", "0")
    async with asyncio.timeout(10):
        while not await redis_alone.exists("mandi:oauth:ended:jti:full"):
            await asyncio.sleep(0.05)
    stop.set()
    await running


async def test_a_redis_that_answers_with_errors_does_not_say_that_a_token_stands(redis_alone: Redis) -> None:
    assert await Revocations(redis_alone).standing(_token()) is Standing.IN_FORCE
    await redis_alone.acl_setuser("default", enabled=True, commands=["-exists"])
    assert await Revocations(redis_alone).standing(_token()) is Standing.UNKNOWN


async def test_the_probe_outlives_a_key_that_holds_something_else(redis_alone: Redis) -> None:
    rates, stop = RateStore(redis_alone, processes=1), asyncio.Event()
    rates.away = True
    await redis_alone.lpush("rate:probe", "garbage")
    running = asyncio.create_task(rates.run(stop))
    await asyncio.sleep(0.6)
    assert rates.away and not running.done()
    await redis_alone.set("rate:probe", "garbage")
    await asyncio.sleep(0.6)
    assert rates.away and not running.done()
    await redis_alone.delete("rate:probe")
    async with asyncio.timeout(10):
        while rates.away:
            await asyncio.sleep(0.05)
    stop.set()
    await running


def _token() -> AccessToken:
    now = datetime.now(UTC)
    return AccessToken(
        uuid4(), uuid4(), "oc_x", frozenset(), Mode.TEST, jti="x", kid="k", issued_at=now, expires_at=now, epoch=0
    )


async def _instrument(served: Served) -> asyncpg.Record:
    await seeded(served.database, served.app.state.app.settings)
    row = await served.database.reference.fetchrow("select id, price_exp from instruments order by symbol limit 1")
    assert row is not None
    return row


def _price(row: asyncpg.Record, whole: int) -> dict[str, str]:
    price = str(whole * 10 ** row["price_exp"])
    return {"type": "price", "instrument_id": str(row["id"]), "price": price, "at": "2003-01-02T15:00:00Z"}


async def _watch(socket: ClientConnection, row: asyncpg.Record) -> None:
    name = encode_id("ins", row["id"])
    await _next(socket, "authenticated")
    assert (await ask(socket, op="subscribe", channel="quotes", instruments=[name]))["watched"] == 1
    assert (await told(socket))["type"] == "quotes"


async def _next(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        found = await told(socket)
        if found["type"] == kind:
            return found


async def _comes(socket: ClientConnection) -> bool:
    try:
        async with asyncio.timeout(0.1):
            found = json.loads(await socket.recv())
    except TimeoutError:
        return False
    return bool(found["type"] == "quotes")
