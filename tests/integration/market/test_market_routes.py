"""The public reads of market data, over HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app.kernel.errors import DomainError
from app.market.data.routes import bar_routes
from app.market.instruments.ports import Reader
from app.market.instruments.routes import instrument_routes

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(reader: asyncpg.Pool, data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    async def open_reader() -> AsyncIterator[Reader]:
        yield reader

    async def problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, DomainError)
        return JSONResponse({"code": error.code, "kind": error.kind, "param": error.param}, status_code=400)

    def clock() -> datetime:
        return datetime(2026, 11, 20, 12, tzinfo=UTC)

    api = FastAPI()
    api.include_router(instrument_routes(open_reader, clock))
    api.include_router(bar_routes(open_reader, clock, data_dir))
    api.add_exception_handler(DomainError, problem)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://test") as http:
        yield http


async def find(client: httpx.AsyncClient, symbol: str) -> str:
    answer = await client.get("/v1/instruments", params={"symbol": symbol})
    return str(answer.json()["data"][0]["id"])


async def test_an_instrument_is_shown_with_its_rules(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/instruments/{await find(client, 'AAPL')}")
    shown = answer.json()
    assert answer.status_code == 200
    assert (shown["isin"], shown["tick"], shown["lot"], shown["freeze_quantity"]) == ("US0378331005", "0.01", "1", None)


async def test_instruments_are_paged_by_cursor(client: httpx.AsyncClient) -> None:
    everything = (await client.get("/v1/instruments", params={"venue": "XNAS"})).json()
    assert everything["has_more"] is False
    first = (await client.get("/v1/instruments", params={"venue": "XNAS", "limit": 3})).json()
    assert first["has_more"] is True
    after = first["data"][-1]["id"]
    rest = (await client.get("/v1/instruments", params={"venue": "XNAS", "starting_after": after})).json()
    assert first["data"] + rest["data"] == everything["data"]


async def test_bars_are_raw_unless_asked_for_otherwise(client: httpx.AsyncClient) -> None:
    query = {
        "instrument_id": await find(client, "AAPL"),
        "start": "2005-02-25T00:00:00Z",
        "end": "2005-02-28T23:00:00Z",
    }
    raw = (await client.get("/v1/bars", params=query)).json()["data"]
    assert [bar["close"] for bar in raw] == ["88.99", "44.86"]
    assert raw[1]["at"] == "2005-02-28T21:00:00Z"
    adjusted = (await client.get("/v1/bars", params=query | {"adjustment": "split"})).json()["data"]
    assert [bar["close"] for bar in adjusted] == ["44.495", "44.86"]


async def test_bars_are_paged_by_their_close_time(client: httpx.AsyncClient) -> None:
    query = {"instrument_id": await find(client, "IBM"), "end": "2000-03-10T00:00:00Z"}
    everything = (await client.get("/v1/bars", params=query)).json()["data"]
    first = (await client.get("/v1/bars", params=query | {"limit": "4"})).json()
    after = first["data"][-1]["at"]
    rest = (await client.get("/v1/bars", params=query | {"starting_after": after})).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert first["data"] + rest["data"] == everything


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/instruments/AAPL", "invalid_id"),
        ("/v1/instruments/ins_00000000000000000000000000", "instrument_not_found"),
        ("/v1/instruments?starting_after=nonsense", "invalid_id"),
        ("/v1/bars?instrument_id=ins_00000000000000000000000000", "instrument_not_found"),
        ("/v1/bars?instrument_id=ord_00000000000000000000000000", "invalid_id"),
        ("/v1/bars?instrument_id={aapl}&interval=2d", "unknown_interval"),
        ("/v1/bars?instrument_id={aapl}&nonsense=1", "unknown_parameter"),
        ("/v1/bars?instrument_id={aapl}&interval=1m", "bars_not_found"),
        ("/v1/bars?instrument_id={aapl}&start=2005-01-02T00:00:00Z&end=2005-01-01T00:00:00Z", "invalid_range"),
    ],
)
async def test_a_wrong_request_says_why(client: httpx.AsyncClient, path: str, code: str) -> None:
    answer = await client.get(path.format(aapl=await find(client, "AAPL")))
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "adjustment=dividend", "start=2005-01-01T00:00:00", "start=yesterday"],
)
async def test_a_malformed_query_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/bars?instrument_id={await find(client, 'AAPL')}&{query}")
    assert answer.status_code == 422
