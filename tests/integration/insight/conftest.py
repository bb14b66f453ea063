"""The gateway, a tenant, and the worker's own code for its backtests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text

from app.bootstrap import App
from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.insight.backtest.service import handlers
from app.kernel.ids import encode_id
from app.market.data.service import import_bars
from app.market.instruments.service import load_instruments
from tests.factories.minutes import write_minutes
from tests.factories.reference import seeded
from tests.factories.tenants import TenantWithKey, make_tenant

MINUTES = 60_000


def instrument(symbol: str, venue: str = "XNAS") -> str:
    """Its public id."""
    return encode_id("ins", load_instruments()[symbol, venue]["id"])


@dataclass(frozen=True, slots=True)
class Desk:
    """One tenant at the gateway, and the worker that runs its backtests."""

    app: App
    client: httpx.AsyncClient
    tenant: TenantWithKey

    async def post(self, **changes: Any) -> httpx.Response:
        """Ask for a backtest of IBM, changed as given; None leaves a field out."""
        body: dict[str, Any] = {
            "template": "sma_cross",
            "instruments": [instrument("IBM", "XNYS")],
            "start": "2003-01-01",
            "cash": "100000",
            "charges": "us_equity",
            "slippage_bps": 5,
        }
        body = {name: value for name, value in (body | changes).items() if value is not None}
        return await self.client.post("/v1/backtests", headers=self.tenant.headers, json=body)

    async def made(self, **changes: Any) -> str:
        answer = await self.post(**changes)
        assert answer.status_code == 202, answer.text
        found: str = answer.json()["id"]
        return found

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(f"/v1/backtests/{path}", headers=self.tenant.headers)

    async def shown(self, backtest: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.get(backtest)).json()
        return found

    async def cancel(self, backtest: str) -> httpx.Response:
        return await self.client.post(f"/v1/backtests/{backtest}/cancel", headers=self.tenant.headers)

    async def work(self, *, lanes: int = 10) -> int:
        """Run what waits, as a worker does."""
        shard = shard_of(self.tenant.tenant_id)
        dispatch = self.app.database.dispatch
        return await drain(dispatch, handlers(self.app), "backtests", shard, holder="test", lanes=lanes)

    async def ran(self, **changes: Any) -> dict[str, Any]:
        """The result document of a backtest asked for and run."""
        backtest = await self.made(**changes)
        await self.work()
        answer = await self.get(f"{backtest}/result")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        async with self.app.database.tx(self.tenant.tenant_id) as tx:
            return [dict(row) for row in (await tx.execute(text(sql))).mappings()]

    async def events(self) -> list[str]:
        found = await self.rows("select type from events where type like 'backtest.%' order by id")
        return [row["type"] for row in found]


@pytest_asyncio.fixture
async def desk(app: App, gateway_app: FastAPI) -> AsyncIterator[Desk]:
    await seeded(app.database, app.settings)
    transport = httpx.ASGITransport(app=gateway_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield Desk(app, client, await tenant_alone(app))


async def tenant_alone(app: App) -> TenantWithKey:
    """A tenant of a shard in which nothing waits: other tests leave work behind, and a worker runs all of a shard."""
    waiting = "select count(*) from work_waiting() where queue = 'backtests' and shard = $1"
    for _ in range(200):
        tenant = await make_tenant(app.database)
        if await app.database.dispatch.fetchval(waiting, shard_of(tenant.tenant_id)) == 0:
            return tenant
    raise AssertionError("work waits in every shard")


@pytest_asyncio.fixture
async def minutes(app: App, desk: Desk) -> str:
    """An instrument with bars of a minute: enough for a run that lasts."""
    file = write_minutes(app.settings.data_dir / "minutes.parquet", MINUTES)
    await import_bars(
        app.database.reference, app.settings.data_dir, file,
        symbol="FB", venue="XNAS", interval="1m", now=datetime(2020, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return instrument("FB")


def row_id(backtest: str) -> UUID:
    """The id in the database."""
    from app.kernel.ids import decode_id

    return decode_id("bkt", backtest)
