"""The gateway's own cost: a token, an authenticated request that does nothing, one under row-level security, and how
late an event reaches 500 listeners.

`token` (an access token for client credentials) and `auth-noop`, requests a second, are held against a route of a bare
application on the same server that does nothing; `rls-request`
against the same page of a copy of the table without policies, by an explicit WHERE, in the same transaction;
`sse-500-p99` (milliseconds from before the commit to the arrival) against a broadcast from memory to as many listeners.
"""

import asyncio
import base64
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from app.bootstrap import App, bootstrap
from app.infra.settings import load_settings
from app.kernel.ids import uuid7
from app.kernel.orders import Mode
from app.platform.identity.service import PERMISSIONS, create_key
from app.platform.oauth.domain import AuthMethod, GrantType, NewClient
from app.platform.oauth.service import create_client
from app.platform.plans.service import assign_plan
from app.platform.tenancy.service import create_tenant
from tests.bench.load import Answer, Connection, closed_loop
from tests.bench.measure import Figure, figure
from tests.bench.servers import databases, environment, process, server

CALLERS, ROUNDS, SECONDS = 8, 5, 1.5
LISTENERS, TOLD, PAUSE = 500, 60, 0.1
TENANTS, EVENTS = 200, 200
_FORM = "grant_type=client_credentials&scope=tenant%3Aread"


def run() -> list[Figure]:
    """The figures. Starts its own servers and processes and ends them."""
    with databases() as settings:
        return asyncio.run(_measure(settings))


async def _measure(settings: dict[str, str]) -> list[Figure]:
    environ = environment(settings | {"MANDI_ISSUER": "http://127.0.0.1:1", "ANONYMOUS_CALLS_PER_MINUTE": "1000000"})
    async with bootstrap(load_settings()) as app:
        tenant_id, authorization, client = await _seed(app, settings["MIGRATE_DATABASE_URL"])
        with (
            server("tests.bench.api_app:app", environ) as url,
            server("tests.bench.limit_app:app", environ) as limit,
            process(["-m", "workers", "daemon", "--roles", "follower"], environ),
        ):
            bare, noop, isolated, explicit, token = await _in_turn(
                _get(limit, "/noop", authorization),
                _get(url, "/bench/noop", authorization),
                _get(url, "/bench/isolated", authorization),
                _get(url, "/bench/explicit", authorization),
                _Target(url, client, partial(Connection.post_form, path="/oauth2/token", form=_FORM)),
            )
            late = await _lateness(url, "/v1/events/stream?types=order.*", authorization, _emitting(app, tenant_id))
            least = await _lateness(limit, "/stream", authorization, await _telling(limit))
    return [
        figure("token", token, bare, "1/s"),
        figure("auth-noop", noop, bare, "1/s"),
        figure("rls-request", isolated, explicit, "1/s"),
        figure("sse-500-p99", late, least, "ms"),
    ]


async def _seed(app: App, owner_url: str) -> tuple[UUID, str, str]:
    tenants = [await create_tenant(app.database, slug=f"bench-{number}", name="Bench") for number in range(TENANTS)]
    owner = await asyncpg.connect(owner_url)
    for tenant_id in tenants:
        async with app.database.tx(tenant_id) as tx:
            for number in range(EVENTS):
                tx.emit("order.created", uuid7(), {"number": number})
    while await app.database.dispatch.fetchval("select events_position(10000)"):
        pass
    await owner.execute("create table bench_events as select * from events limit 0")
    await owner.execute("create unique index on bench_events (tenant_id, position)")
    await owner.execute("grant select on bench_events to mandi_app")
    rows = await app.database.dispatch.fetch("select * from events where position is not null")
    await owner.copy_records_to_table("bench_events", records=rows, columns=list(rows[0].keys()))
    await owner.execute("analyze bench_events")
    await owner.execute("analyze events")
    await owner.close()
    async with app.database.tx(tenants[7]) as tx:
        key = await create_key(tx, name="bench", scopes=sorted(PERMISSIONS), cell="in1", now=datetime.now(UTC))
        await assign_plan(tx, "broker", reason="the largest rates", now=datetime.now(UTC))
    asked = NewClient("bench", AuthMethod.BASIC, (GrantType.CLIENT,), ("tenant:read",))
    async with app.database.tx(tenants[7]) as tx:
        issued = await create_client(tx, asked, mode=Mode.TEST, now=datetime.now(UTC))
    pair = base64.b64encode(f"{issued.row.client_id}:{issued.secret}".encode()).decode()
    return tenants[7], f"Bearer {key.secret}", f"Basic {pair}"


@dataclass(frozen=True, slots=True)
class _Target:
    url: str
    authorization: str
    ask: Callable[[Connection], Awaitable[Answer]]


def _get(url: str, path: str, authorization: str) -> _Target:
    return _Target(url, authorization, partial(Connection.get, path=path))


async def _in_turn(*targets: _Target) -> list[float]:
    """Median requests a second of each target, rounds taken in turn; the first round warms up."""
    rates: list[list[float]] = [[] for _ in targets]
    for round_ in range(ROUNDS + 1):
        for one, found in zip(targets, rates, strict=True):
            seconds = SECONDS if round_ else 0.5
            rate = await closed_loop(
                one.url, one.authorization, one.ask, status=200, connections=CALLERS, seconds=seconds
            )
            if round_:
                found.append(rate)
    return [statistics.median(found) for found in rates]


Tell = Callable[[str], Any]


def _emitting(app: App, tenant_id: UUID) -> Tell:
    async def tell(name: str) -> None:
        async with app.database.tx(tenant_id) as tx:
            tx.emit("order.created", uuid7(), {"name": name})

    return tell


async def _telling(url: str) -> Tell:
    connection = await Connection(url, "").open()

    async def tell(name: str) -> None:
        await connection.post("/tell", {"name": name})

    return tell


async def _lateness(url: str, path: str, authorization: str, tell: Tell) -> float:
    """Milliseconds within which 99 of 100 arrivals come."""
    sent: dict[str, float] = {}
    found: list[float] = []
    ready = asyncio.Barrier(LISTENERS + 1)

    async def listen() -> None:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: {authorization}\r\n\r\n".encode())
        await reader.readuntil(b"retry: 2000")
        await ready.wait()
        seen = 0
        while seen < TOLD:
            line = await reader.readline()
            if line.startswith(b"data: "):
                body = json.loads(line[6:])
                found.append(time.perf_counter() - sent[body.get("data", body)["name"]])
                seen += 1
        writer.close()

    async with asyncio.timeout(120):
        listeners = [asyncio.create_task(listen()) for _ in range(LISTENERS)]
        await ready.wait()
        for number in range(TOLD):
            sent[str(number)] = time.perf_counter()
            await tell(str(number))
            await asyncio.sleep(PAUSE)
        await asyncio.gather(*listeners)
    return statistics.quantiles(found, n=100)[98] * 1000
