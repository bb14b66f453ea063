"""schemathesis against the whole document over a real gateway: no 5xx, no answer that the document does not promise.

Bounded and repeatable: a fixed seed and a few examples an operation, half of them with ids of objects that exist. A
longer run: `MANDI_FUZZ_EXAMPLES=200`.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.bootstrap import bootstrap
from app.infra.settings import Settings
from app.main import create_app
from app.market.data.service import seed_reference
from app.market.instruments.service import find_instrument
from tests.factories.tenants import TenantWithKey, make_tenant

EXAMPLES = int(os.environ.get("MANDI_FUZZ_EXAMPLES", "6"))
AT = datetime(2003, 1, 2, 21, 0, tzinfo=UTC)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


def _document() -> dict[str, Any]:
    url = "postgresql://nobody@127.0.0.1:1/none"
    names = ("APP_DATABASE_URL", "DISPATCH_DATABASE_URL", "REFERENCE_DATABASE_URL")
    told = dict.fromkeys(names, url) | {"REDIS_URL": "redis://127.0.0.1:1", "MANDI_DATA_DIR": Path("nowhere")}
    return create_app(Settings.model_validate(told)).openapi()


SCHEMA = schemathesis.openapi.from_dict(_document())
STREAMS = frozenset({"GET /v1/events/stream"})
"""They do not end; `platform/test_streams` listens to them."""
OPERATIONS = {
    one.ok().label: one.ok()
    for one in SCHEMA.get_all_operations()
    if isinstance(one, Ok) and one.ok().label not in STREAMS
}


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway on a loopback port, a tenant's key, and ids of the tenant's objects by their path's collection."""

    url: str
    tenant: TenantWithKey
    ids: dict[str, str]


@pytest.fixture(scope="module")
def served(app_settings: Settings) -> Iterator[Served]:
    tenant = asyncio.run(_seed(app_settings))
    server = uvicorn.Server(uvicorn.Config(create_app(app_settings), port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive(), "the gateway did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    try:
        yield Served(url, tenant, _objects(url, tenant))
    finally:
        server.should_exit = True
        thread.join(20)


async def _seed(settings: Settings) -> TenantWithKey:
    async with bootstrap(settings) as app:
        await seed_reference(app.database.reference, settings.data_dir)
        instrument = await find_instrument(app.database.pool, "AAPL", "XNAS", now=AT)
        await app.database.reference.execute(
            "insert into feed_state (feed, interval, watermark, market_at, bars_published, last_stream_id, speed, "
            "status) values ('replay', '1d', $1, $1, 0, '0-0', 0, 'running') on conflict (feed) do nothing",
            AT,
        )
        await app.database.reference.execute(
            "insert into last_prices (feed, instrument_id, price, market_at, session_date) "
            "values ('replay', $1, 200000, $2, $3) on conflict (feed, instrument_id) do nothing",
            instrument.id,
            AT,
            date(2003, 1, 2),
        )
        return await make_tenant(app.database, now=datetime.now(UTC))


def _objects(url: str, tenant: TenantWithKey) -> dict[str, str]:
    """One object of each kind, made through the API."""
    with httpx.Client(base_url=url, headers=tenant.headers) as client:

        def made(path: str, **body: Any) -> str:
            answer = client.post(path, json=body)
            assert answer.status_code < 300, answer.text
            return str(answer.json()["id"])

        instrument = client.get("/v1/instruments", params={"symbol": "AAPL"}).json()["data"][0]["id"]
        account = made("/v1/accounts", name="a", currency="USD", opening_balance="100000.00")
        strategy = made("/v1/strategies", name="s", template="momentum")
        order = {"account_id": account, "instrument_id": instrument, "side": "buy", "quantity": "1"}
        return {
            "instruments": instrument,
            "accounts": account,
            "strategies": strategy,
            "orders": made("/v1/orders", **order, order_type="limit", limit_price="19.50"),
            "deployments": made("/v1/deployments", strategy_id=strategy, account_id=account, instruments=[instrument]),
        }


def _with_real_ids(case: Case[Any], ids: dict[str, str]) -> None:
    """Let a case that follows the schema name objects that exist."""
    collection = case.path.split("/")[2]
    for name in case.path_parameters or {}:
        if name == "rule":
            case.path_parameters["rule"] = "max_order_value"
        elif collection in ids:
            case.path_parameters[name] = ids[collection]
    places = [case.query, case.body]
    for place in places:
        if isinstance(place, dict):
            for name, kind in (("account_id", "accounts"), ("instrument_id", "instruments"), ("order_id", "orders")):
                if name in place:
                    place[name] = ids[kind]
            if "strategy_id" in place and place["strategy_id"] is not None:
                place["strategy_id"] = ids["strategies"]
            if "instruments" in place:
                place["instruments"] = [ids["instruments"]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("label", sorted(OPERATIONS))
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_an_operation_answers_as_documented(served: Served, label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]
    try:
        strategy = operation.as_strategy(generation_mode=mode)
    except schemathesis.errors.InvalidSchema:  # pragma: no cover - an operation that nothing can be wrong with
        return

    @seed(20_260_126)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def check(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            _with_real_ids(case, served.ids)
        case.call_and_validate(base_url=served.url, headers=served.tenant.headers, checks=CHECKS)

    check()


@pytest.mark.parametrize(
    ("planted", "finding"),
    [
        ("crash", "ServerError"),
        ("other_type", "JsonSchemaError"),
        ("other_status", "UndefinedStatusCode"),
        ("takes_anything", "AcceptedNegativeData"),
    ],
)
def test_a_route_that_breaks_its_promise_is_found(planted: str, finding: str) -> None:
    app = FastAPI()

    @app.get("/planted", response_model=None, responses={200: {"model": dict[str, int]}, 500: {}})
    async def route(n: int) -> Response:
        if planted == "crash":
            raise HTTPException(500)  # documented below, so that only the crash is wrong
        body = {"n": "text"} if planted == "other_type" else {"n": n}
        return JSONResponse(body, 202 if planted == "other_status" else 200)

    document = app.openapi()
    if planted == "takes_anything":
        document["paths"]["/planted"]["get"]["parameters"][0]["schema"] = {"type": "integer", "maximum": 5}
        app.openapi_schema = document
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    mode = GenerationMode.NEGATIVE if planted == "takes_anything" else GenerationMode.POSITIVE
    strategy = schema["/planted"]["GET"].as_strategy(generation_mode=mode)

    @seed(20_260_126)
    @settings(max_examples=20, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def check(case: Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS)

    with pytest.raises(FailureGroup) as caught:
        check()
    assert [type(one).__name__ for one in caught.value.exceptions] == [finding]
