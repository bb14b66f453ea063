"""schemathesis against the whole document over a real gateway: no 5xx, no answer that the document does not promise.

Bounded and repeatable: a fixed seed and a few examples an operation, half of them with ids of objects that exist. A
longer run: `MANDI_FUZZ_EXAMPLES=200`.
"""

import asyncio
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from pydantic import BaseModel
from schemathesis import Case, CheckContext, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response as SentResponse
from schemathesis.generation.stateful.state_machine import APIStateMachine
from schemathesis.openapi.checks import UseAfterFree
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ensure_resource_availability,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    use_after_free,
)

from app.bootstrap import bootstrap
from app.infra.settings import Settings
from app.main import create_app
from app.market.data.service import seed_reference
from app.market.instruments.service import find_instrument
from app.platform.tenancy.domain import Role
from tests.factories.members import make_person
from tests.factories.tenants import TenantWithKey, make_tenant

EXAMPLES = int(os.environ.get("MANDI_FUZZ_EXAMPLES", "6"))
WALKS, WALKS_PER_SEED, STEPS = 6, 4, 12
ID = re.compile(r"[a-z]{3}_[0-9a-z]{26}")
NUMBERS = count()
OPTIONAL_HEADERS = {"Mandi-Act-As", "If-Match"}
"""Random ones are refused before anything else is looked at."""

COLLECTIONS = {
    "account_id": "accounts",
    "client_id": "clients",
    "instrument_id": "instruments",
    "order_id": "orders",
    "strategy_id": "strategies",
}
AT = datetime(2003, 1, 2, 21, 0, tzinfo=UTC)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


def no_use_after_delete(ctx: CheckContext, response: SentResponse, case: Case[Any]) -> bool | None:
    """What a DELETE answered with 204 is gone. One that answers with the object ended it, and it stays readable."""
    try:
        return use_after_free(ctx, response, case)
    except UseAfterFree as failure:
        deleted = ctx.internals.find_response(case_id=str(failure.deleted_case_id))
        if deleted is not None and deleted.status_code == 204:
            raise
        return None


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
        tenant = await make_tenant(app.database, now=datetime.now(UTC))
        await make_person(app.database, tenant.tenant_id, Role.TRADER)
        return tenant


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
        robot = {"auth_method": "client_secret_basic", "grant_types": ["client_credentials"], "scopes": ["orders:read"]}
        hook = {"url": "https://hooks.example.com/a", "event_types": ["order.*"]}
        return {
            "instruments": instrument,
            "clients": made("/v1/clients", external_ref="C-1", name="Asha"),
            "roles": made("/v1/roles", name="desk", permissions=["orders:read"]),
            "invitations": made("/v1/invitations", email="ravi@example.com", role="trader"),
            "members": client.get("/v1/members").json()["data"][0]["id"],
            "oauth_clients": made("/v1/oauth_clients", name="robot", **robot),
            "webhook_endpoints": made("/v1/webhook_endpoints", **hook),
            "accounts": account,
            "strategies": strategy,
            "orders": made("/v1/orders", **order, order_type="limit", limit_price="19.50"),
            "deployments": made("/v1/deployments", strategy_id=strategy, account_id=account, instruments=[instrument]),
        }


def _example_of(operation: Any) -> dict[str, Any] | None:
    """The document's own example of an operation's body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    schema = SCHEMA.raw_schema["components"]["schemas"].get(name, {})
    return dict(schema["examples"][0]) if "examples" in schema else None


def _settle(case: Case[Any], ids: dict[str, str], *, by_example: bool) -> None:
    """Let a case that follows the schema be about objects that exist: those that links have led to, else ours.

    `by_example`: with the body of the document's example, under a name of its own.
    """
    _settle_address(case, ids)
    linked = {name: value for name, value in _named(case.body) if ID.fullmatch(str(value))}
    example = _example_of(case.operation.definition.raw) if by_example else None
    if example is not None and isinstance(case.body, dict):
        fresh = {name: f"{next(NUMBERS)}@example.com" for name in ("name", "email", "external_ref") if name in example}
        case.body = example | fresh
    places: tuple[Any, ...] = (case.query, case.body)
    for place in places:
        for name, value in list(_named(place)):
            if name in COLLECTIONS and value is not None:
                place[name] = linked.get(name, ids[COLLECTIONS[name]])
            if name == "instruments":
                place[name] = [ids["instruments"]]


def _settle_address(case: Case[Any], ids: dict[str, str]) -> None:
    """No cursor or precondition that is made up; in the path what exists, but for what is deleted."""
    for name in OPTIONAL_HEADERS & set(case.headers or ()):
        del case.headers[name]
    query: dict[str, Any] = case.query or {}
    for name in ("starting_after", "ending_before"):
        if not ID.fullmatch(str(query.get(name))):
            query.pop(name, None)
    collection = case.path.split("/")[2]
    for name, value in (case.path_parameters or {}).items():
        if name == "rule":
            case.path_parameters["rule"] = "max_order_value"
        elif not ID.fullmatch(str(value)) and collection in ids and case.method != "DELETE":  # walks delete their own
            case.path_parameters[name] = ids[collection]


def _named(place: Any) -> Iterator[tuple[str, Any]]:
    yield from place.items() if isinstance(place, dict) else ()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("label", sorted(OPERATIONS))
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_an_operation_answers_as_documented(served: Served, label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]
    try:
        strategy = operation.as_strategy(generation_mode=mode)
    except schemathesis.errors.InvalidSchema:  # pragma: no cover - an operation that nothing can be wrong with
        return

    turn = count()

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
            _settle(case, served.ids, by_example=next(turn) % 2 == 0)
        case.call_and_validate(base_url=served.url, headers=served.tenant.headers, checks=CHECKS)

    check()


LASTING = SCHEMA.exclude(path="/v1/events/stream").exclude(method="DELETE", path="/v1/api_keys/{id}")
"""Without what does not end, and without the end of the very key that calls."""


def _walk(machine: type[APIStateMachine], ids: dict[str, str], *, walks: int, **told: Any) -> set[tuple[str, int]]:
    """Follow links (the id that one operation answered with goes into the next one) and check every answer. `told`
    goes with each call. Answers which operations answered what.

    The server remembers earlier walks, so hypothesis cannot repeat one: a walk that does not repeat ends there, and
    the next one has another seed. What was found wrong is kept apart from that.
    """
    seen: set[tuple[str, int]] = set()
    wrong: list[FailureGroup] = []

    class Walk(machine):  # type: ignore[valid-type, misc]
        def before_call(self, case: Case[Any]) -> None:
            if case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE:
                _settle(case, ids, by_example=True)

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            return told

        def validate_response(self, response: SentResponse, case: Case[Any], **kwargs: Any) -> None:
            seen.add((case.operation.label, response.status_code))
            checks = [*CHECKS, no_use_after_delete, ensure_resource_availability]
            try:
                case.validate_response(response, checks=checks, transport_kwargs=kwargs, recorder=self.recorder)
            except FailureGroup as group:
                wrong.append(group)
                raise

    bounds = settings(
        max_examples=WALKS_PER_SEED,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for n in range(walks):
        with suppress(FlakyStrategyDefinition, FailureGroup):
            run_state_machine_as_test(seed(20_260_126 + n)(Walk), settings=bounds)
        if wrong:
            raise wrong[0]
    return seen


@pytest.mark.timeout(300)
def test_what_one_operation_makes_the_next_ones_find_until_it_is_deleted(served: Served) -> None:
    machine = LASTING.as_state_machine()
    seen = _walk(machine, served.ids, walks=WALKS * EXAMPLES // 6, base_url=served.url, headers=served.tenant.headers)
    done = {label for label, status in seen if status < 300}
    assert len(done) > 40, sorted(seen)


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


class _Thing(BaseModel):
    id: str


@pytest.mark.parametrize("forgets", [True, False])
def test_a_delete_that_leaves_its_object_behind_is_found(forgets: bool) -> None:
    app, things = FastAPI(), dict[str, _Thing]()

    @app.post("/v1/things", status_code=201)
    async def make() -> _Thing:
        return things.setdefault(f"thing_{len(things)}", _Thing(id=f"thing_{len(things)}"))

    @app.get("/v1/things/{id}", responses={404: {}})
    async def read(id: str) -> _Thing:
        if id not in things:
            raise HTTPException(404)
        return things[id]

    @app.delete("/v1/things/{id}", status_code=204, responses={404: {}})
    async def delete(id: str) -> None:
        if not forgets:
            things.pop(id, None)

    machine = schemathesis.openapi.from_asgi("/openapi.json", app).as_state_machine()
    if not forgets:
        _walk(machine, {}, walks=5)
        return
    with pytest.raises(FailureGroup) as caught:
        _walk(machine, {}, walks=5)
    assert {type(one).__name__ for one in caught.value.exceptions} == {"UseAfterFree"}
