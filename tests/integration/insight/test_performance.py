"""`GET /v1/performance` of an account that traded real bars through a real split."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import encode_id, uuid7
from app.market.data.service import load_bars
from app.market.instruments.service import load_instruments
from tests.factories.histories import History, open_history
from tests.factories.reference import seeded
from tests.factories.tenants import TenantWithKey, make_key, make_tenant

pytestmark = pytest.mark.integration
MSFT: UUID = load_instruments()["MSFT", "XNAS"]["id"]
OPENED = datetime(2003, 2, 3, tzinfo=UTC)
WATERMARK = datetime(2003, 2, 28, 21, tzinfo=UTC)
SPLIT_AT = datetime(2003, 2, 18, 14, 30, tzinfo=UTC)
_FEED = """
insert into feed_state (feed, interval, market_at, watermark, bars_published, last_stream_id, speed, status)
values ($1, '1d', $2, $2, 1, '0-0', 0, 'running')
"""
_LAST = "insert into last_prices (feed, instrument_id, price, market_at, session_date) values ($1, $2, $3, $4, $5)"
_STRATEGY = (
    "insert into strategies (tenant_id, id, name, parameters, document, digest) values ($1, $2, 'm', '{}', '{}', '')"
)
_DEPLOYMENT = """
insert into deployments (tenant_id, id, strategy_id, account_id, digest, feed, bar_interval, instruments, status,
    failures, first_bar, last_bar)
values ($1, $2, $3, $4, '', $5, '1d', '{}', $6, 0, $7, $8)
"""


@dataclass(frozen=True, slots=True)
class Traded:
    """An account that bought 1,000 MSFT before its split of 18 February 2003, and sold 500 of the 2,000 later."""

    tenant: TenantWithKey
    history: History
    database: Database

    async def deployment(self, status: str, first: datetime, last: datetime) -> UUID:
        strategy_id, deployment_id = uuid7(), uuid7()
        await self.history.call(_STRATEGY, self.tenant.tenant_id, strategy_id)
        await self.history.call(
            _DEPLOYMENT, self.tenant.tenant_id, deployment_id, strategy_id, self.history.account_id,
            self.history.feed, status, first, last,
        )  # fmt: skip
        return deployment_id


@pytest_asyncio.fixture
async def client(gateway_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=gateway_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as opened:
        yield opened


@pytest_asyncio.fixture
async def traded(database: Database, app_settings: Settings) -> Traded:
    await seeded(database, app_settings)
    feed = f"test-{uuid7().hex}"
    await database.reference.execute(_FEED, feed, WATERMARK)
    tenant = await make_tenant(database)
    history = await open_history(database, tenant.tenant_id, opening=100_000_00, at=OPENED, feed=feed)
    await history.fill(MSFT, "buy", 1_000, 480_000, datetime(2003, 2, 5, 15, tzinfo=UTC), charges=500)
    await history.split(MSFT, (2, 1), 1_000, 2_000, SPLIT_AT)
    sold_at = datetime(2003, 2, 20, 15, tzinfo=UTC)
    await history.fill(MSFT, "sell", 500, 250_000, sold_at, charges=350, held=1_500)
    closes = await load_bars(database.reference, app_settings.data_dir, MSFT, "1d", OPENED, WATERMARK)
    await database.reference.execute(_LAST, feed, MSFT, int(closes.close[-1]), WATERMARK, WATERMARK.date())
    return Traded(tenant, history, database)


async def test_the_curve_is_exact_and_ends_at_the_equity_of_the_portfolio(
    client: httpx.AsyncClient, traded: Traded, app_settings: Settings
) -> None:
    account = encode_id("acc", traded.history.account_id)
    answer = await client.get(
        "/v1/performance", params={"account_id": account, "curve": "true"}, headers=traded.tenant.headers
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    points = found["curve"]["data"]
    bars = await load_bars(traded.database.reference, app_settings.data_dir, MSFT, "1d", OPENED, WATERMARK)
    expected = []
    for at_us, close in zip(bars.at_us.tolist(), bars.close.tolist(), strict=True):
        at = datetime.fromtimestamp(at_us / 1e6, UTC)
        cash, held = 100_000_00, 0
        if at > datetime(2003, 2, 5, 15, tzinfo=UTC):
            cash, held = cash - 48_000_00 - 500, 1_000
        if at > SPLIT_AT:
            held = 2_000
        if at > datetime(2003, 2, 20, 15, tzinfo=UTC):
            cash, held = cash + 12_500_00 - 350, 1_500
        expected.append((at.date().isoformat(), cash, cash + (held * close + 50) // 100))
    assert [(p["date"], round(float(p["cash"]) * 100), round(float(p["equity"]) * 100)) for p in points] == expected
    [(equity,)] = await traded.history.call("select portfolio_equity($1)", traded.history.account_id)
    assert round(float(found["final_equity"]) * 100) == equity
    assert (found["start"], found["end"], found["periods"]) == ("2003-02-03", "2003-02-28", len(bars))
    assert (found["trades"], found["win_rate"], found["charges"]) == (1, 1.0, "8.50")
    assert found["undefined"] == {"profit_factor": "no round trip lost money"}
    assert found["profit_factor"] is None
    assert found["curve"]["has_more"] is False


async def test_the_real_split_is_no_loss(client: httpx.AsyncClient, traded: Traded) -> None:
    account = encode_id("acc", traded.history.account_id)
    query = {"account_id": account, "curve": "true"}
    points = (await client.get("/v1/performance", params=query, headers=traded.tenant.headers)).json()["curve"]["data"]
    by_day = {point["date"]: float(point["equity"]) for point in points}
    assert abs(by_day["2003-02-18"] / by_day["2003-02-14"] - 1) < 0.05, "half of the price, twice the shares"


async def test_the_curve_comes_in_pages(client: httpx.AsyncClient, traded: Traded) -> None:
    account = encode_id("acc", traded.history.account_id)
    query: dict[str, str | int] = {"account_id": account, "curve": "true"}
    whole = (await client.get("/v1/performance", params=query, headers=traded.tenant.headers)).json()["curve"]["data"]
    seen: list[dict[str, str]] = []
    more = True
    while more:
        after = {"starting_after": seen[-1]["date"]} if seen else {}
        page = (
            await client.get("/v1/performance", params={**query, "limit": 7, **after}, headers=traded.tenant.headers)
        ).json()["curve"]
        assert 0 < len(page["data"]) <= 7
        seen += page["data"]
        more = page["has_more"]
    assert seen == whole


async def test_a_deployment_is_its_account_while_it_ran(client: httpx.AsyncClient, traded: Traded) -> None:
    first, last = datetime(2003, 2, 10, 21, tzinfo=UTC), datetime(2003, 2, 19, 21, tzinfo=UTC)
    stopped = await traded.deployment("stopped", first, last)
    running = await traded.deployment("running", first, last)
    found = {}
    for name, deployment_id in (("stopped", stopped), ("running", running)):
        query = {"deployment_id": encode_id("dep", deployment_id)}
        answer = await client.get("/v1/performance", params=query, headers=traded.tenant.headers)
        assert answer.status_code == 200, answer.text
        found[name] = answer.json()
    assert [found[name]["end"] for name in ("stopped", "running")] == ["2003-02-19", "2003-02-28"]
    assert [found[name]["trades"] for name in ("stopped", "running")] == [0, 1]
    assert found["running"]["start"] == "2003-02-10"
    assert found["running"]["initial_equity"] != "100000.00"
    assert found["running"]["curve"] is None
    assert found["stopped"]["account_id"] == encode_id("acc", traded.history.account_id)


async def test_an_account_without_a_fill_has_reasons_instead_of_figures(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    opened = await open_history(database, tenant.tenant_id, opening=500_00, at=OPENED, feed="never-ran")
    query = {"account_id": encode_id("acc", opened.account_id), "curve": "true"}
    found = (await client.get("/v1/performance", params=query, headers=tenant.headers)).json()
    assert (found["end"], found["final_equity"], found["curve"]["data"]) == (None, "500.00", [])
    assert set(found["undefined"]) == {
        "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "win_rate", "profit_factor"
    }  # fmt: skip


async def test_what_is_asked_wrongly_is_said(client: httpx.AsyncClient, traded: Traded) -> None:
    account = encode_id("acc", traded.history.account_id)
    stranger = await make_tenant(traded.database)
    narrow = await make_key(traded.database, traded.tenant.tenant_id, scopes=["orders:read"])
    deployment = encode_id("dep", uuid7())
    for query, headers, status, code in (
        ({}, traded.tenant.headers, 422, "one_subject"),
        ({"account_id": account, "deployment_id": deployment}, traded.tenant.headers, 422, "one_subject"),
        ({"account_id": "acc_x"}, traded.tenant.headers, 422, "invalid_id"),
        ({"deployment_id": deployment}, traded.tenant.headers, 404, "deployment_not_found"),
        ({"account_id": account}, stranger.headers, 404, "account_not_found"),
        ({"account_id": account}, narrow.headers, 403, "missing_scope"),
        ({"account_id": account, "limit": "0"}, traded.tenant.headers, 422, "invalid_request"),
    ):
        answer = await client.get("/v1/performance", params=query, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
