"""One transaction a request: committed before the first byte, never held by a stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager
from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import event, text

from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import uuid7
from app.kernel.principal import Principal
from app.main import create_app
from app.web.auth import requires
from app.web.context import gateway_of
from app.web.transaction import OpenTx
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def gateway_app(app_settings: Settings) -> AsyncIterator[FastAPI]:
    """One of this module's own: its tests add routes."""
    app = create_app(app_settings)
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        yield app


CLIENTS = 50
_IDLE = (
    "select count(*) from pg_stat_activity where usename = current_user and datname = current_database()"
    " and state like 'idle in transaction%'"
)


async def _events(database: Database, tenant: TenantWithKey) -> int:
    async with database.tx(tenant.tenant_id) as tx:
        counted = await tx.execute(text("select count(*) from events where type = 'probe'"))
        return int(counted.scalar_one())


@pytest.fixture
def probing(gateway_app: FastAPI) -> FastAPI:
    """The gateway with routes that write, fail to commit, and stream."""

    @gateway_app.post("/probe/{how}")
    async def probe(how: str, tx: OpenTx, request: Request) -> dict[str, str]:
        tx.emit("probe", uuid7(), {})
        await tx.flush()
        if how == "commit_fails":

            @event.listens_for(tx.session.sync_session, "before_commit")
            def fail(_: Any) -> None:
                raise RuntimeError("the commit fails: secret-of-the-inside")

        if how == "backend_dies":
            pid = (await tx.execute(text("select pg_backend_pid()"))).scalar_one()
            await gateway_of(request).database.pool.fetchval("select pg_terminate_backend($1)", pid)
        if how == "handler_fails":
            raise RuntimeError("the handler fails: secret-of-the-inside")
        return {"status": "written"}

    @gateway_app.get("/probe/after_commit")
    async def stream_after(tx: OpenTx) -> StreamingResponse:
        tx.emit("probe", uuid7(), {})
        await tx.flush()
        return StreamingResponse(_beats(gateway_app.state.release), media_type="text/event-stream")

    @gateway_app.get("/probe/stream")
    async def stream(
        request: Request, principal: Annotated[Principal, Depends(requires("events:read"))]
    ) -> StreamingResponse:
        async def beats() -> AsyncIterator[bytes]:
            async with gateway_of(request).database.tx(principal.tenant_id) as tx:
                await tx.execute(text("select 1"))
            async for beat in _beats(gateway_app.state.release):
                yield beat

        return StreamingResponse(beats(), media_type="text/event-stream")

    gateway_app.state.release = asyncio.Event()
    return gateway_app


async def _beats(release: asyncio.Event) -> AsyncIterator[bytes]:
    yield b": beat\n\n"
    await release.wait()
    yield b": end\n\n"


async def test_a_committed_request_is_written(client: httpx.AsyncClient, probing: FastAPI, database: Database) -> None:
    tenant = await make_tenant(database)
    assert (await client.post("/probe/well", headers=tenant.headers)).status_code == 200
    assert await _events(database, tenant) == 1


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("commit_fails", 500, "internal_error"),
        ("handler_fails", 500, "internal_error"),
        ("backend_dies", 503, "temporarily_unavailable"),
    ],
)
async def test_a_request_that_does_not_commit_is_an_error_and_writes_nothing(
    client: httpx.AsyncClient, probing: FastAPI, database: Database, how: str, status: int, code: str
) -> None:
    tenant = await make_tenant(database)
    answer = await client.post(f"/probe/{how}", headers=tenant.headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["Request-Id"]
    assert answer.json()["retryable"] is (status == 503)
    assert "secret-of-the-inside" not in answer.text
    assert await _events(database, tenant) == 0


async def _listen(app: FastAPI, path: str, tenant: TenantWithKey, first: asyncio.Queue[bytes]) -> None:
    """One streaming client, spoken to in ASGI: httpx's transport would wait for the end."""
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            await first.put(message["body"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"authorization", f"Bearer {tenant.secret}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("gateway", 80),
    }
    await app(scope, receive, send)


@pytest.mark.parametrize("path", ["/probe/stream", "/probe/after_commit"])
async def test_fifty_streams_hold_no_transaction(probing: FastAPI, database: Database, path: str) -> None:
    tenant = await make_tenant(database)
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    clients = [asyncio.create_task(_listen(probing, path, tenant, chunks)) for _ in range(CLIENTS)]
    try:
        for _ in range(CLIENTS):
            assert await asyncio.wait_for(chunks.get(), 30) == b": beat\n\n"
        assert await database.pool.fetchval(_IDLE) == 0
        if path == "/probe/after_commit":
            assert await _events(database, tenant) == CLIENTS
    finally:
        probing.state.release.set()
        await asyncio.wait_for(asyncio.gather(*clients), 30)


async def test_an_open_transaction_would_be_seen(database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        await tx.execute(text("select 1"))
        assert await database.pool.fetchval(_IDLE) == 1
