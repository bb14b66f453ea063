"""Clients of the two streams that know nothing of us, and the running gateway that they listen to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy import text
from websockets.asyncio.client import ClientConnection, connect

from app.infra.database import Database
from app.kernel.ids import uuid7
from tests.factories.members import Person
from tests.factories.tenants import TenantWithKey


class Served:
    """A running gateway: its address and its process."""

    def __init__(self, url: str, app: FastAPI) -> None:
        self.url, self.app = url, app

    @property
    def database(self) -> Database:
        database: Database = self.app.state.app.database
        return database


async def emit(database: Database, tenant_id: UUID, *types: str) -> None:
    async with database.tx(tenant_id) as tx:
        for name in types:
            tx.emit(name, uuid7(), {"name": name})
            await tx.flush()


async def stamped(database: Database, tenant_id: UUID) -> None:
    """Wait until everything that happened so far has its position."""
    waiting = text("select count(*) from events where position is null")
    async with asyncio.timeout(20):
        while True:
            async with database.tx(tenant_id) as tx:
                if (await tx.execute(waiting)).scalar_one() == 0:
                    return
            await asyncio.sleep(0.02)


class Reader:
    """A client of server-sent events that knows nothing of us."""

    def __init__(self, answer: httpx.Response) -> None:
        self.lines = answer.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The next event that is dispatched, or that ended the stream ({})."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self.lines:
                if line == "" and "data" in fields:
                    return fields
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
        return {}


@asynccontextmanager
async def streaming(
    served: Served, tenant: TenantWithKey | Person, query: str = "", **headers: str
) -> AsyncIterator[Reader]:
    async with (
        httpx.AsyncClient(base_url=served.url, timeout=20) as client,
        client.stream("GET", f"/v1/events/stream{query}", headers=tenant.headers | headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Reader(answer)


@asynccontextmanager
async def connected(served: Served, **headers: str) -> AsyncIterator[ClientConnection]:
    url = served.url.replace("http", "ws") + "/v1/stream"
    async with connect(url, additional_headers=headers) as socket:
        yield socket


async def ask(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    await socket.send(json.dumps(message))
    return await told(socket)


async def told(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        found: dict[str, Any] = json.loads(await socket.recv())
    return found
