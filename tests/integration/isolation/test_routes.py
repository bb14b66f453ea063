"""Every route of the OpenAPI document, attacked with another tenant's ids, by every role, and without a credential.

Nothing here names a route but the reviewed lists: what is added later is attacked, too. The id that is sent is that of
the victim's row in every table at once (`rows`), and its answer must be that of an id that never was.
"""

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import Depends, FastAPI, Header
from sqlalchemy import text

from app.infra.logs import configure_logging
from app.infra.settings import Settings
from app.infra.telemetry import metrics_text
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import decode_id, encode_id
from app.platform.identity.service import PERMISSIONS
from app.platform.tenancy.domain import BUILT_IN, Role
from app.web.auth import requires
from app.web.openapi import permissions_of, routes_of
from tests.factories.tenants import make_key
from tests.integration.isolation.scene import CALLERS, KEY, KINDS, Scene, markers_of, open_scene
from tests.integration.isolation.shots import NONSENSE, SHARED, Gun, Operation, Place, masked, operations, places

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGES = frozenset(
    {
        "/account/confirm",
        "/account/security",
        "/account/security/password",
        "/account/security/recovery",
        "/account/security/totp",
        "/account/security/totp/confirm",
        "/account/security/totp/remove",
        "/account/sessions",
        "/account/sessions/{id}",
        "/account/sessions/{id}/end",
        "/forgot",
        "/invitation",
        "/login",
        "/login/code",
        "/logout",
        "/reset",
        "/signup",
        "/verify",
    }
)
"""A person's own: opened by nothing, a mailed token or the browser's session cookie, never by a tenant's key. Attacked
in tests/integration/people."""

PUBLIC = (
    frozenset(
        {
            "/livez",
            "/readyz",
            "/metrics",
            "/errors",
            "/errors.json",
            "/events",
            "/events.json",
            "/.well-known/jwks.json",
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
            "/oauth2/authorize",
            "/oauth2/introspect",
            "/oauth2/revoke",
            "/oauth2/token",
            "/oauth2/userinfo",
        }
    )
    | PAGES
)
"""Routes without a permission: health, what everyone may know, and doors that ask for a client's own credential."""

STREAMS = frozenset({"GET /v1/events/stream"})
"""They do not end; `platform/test_streams` listens to them as another tenant."""

WITHDRAWAL = "GET /v1/withdrawals/{id}"
"""Deposits and withdrawals are rows of one table, and the attacked row of it is a deposit."""

NOT_IDS = frozenset(
    {
        "GET /v1/bars: starting_after in the query",
        "GET /v1/performance: starting_after in the query",
        "POST /v1/halts: algo_id in the body",
        "POST /v1/orders: algo_id in the body",
    }
)
"""Cursors that are times, and what an exchange calls an algorithm."""

LOGIN_FIRST = frozenset({"DELETE /v1/halts/{id}: approval_id in the query"})
"""Asked by a key, which nobody has just logged in behind: refused before the id is read."""

EACH_BY_ITSELF = frozenset(
    {"POST /v1/orders/bulk: orders.0.account_id in the body", "POST /v1/orders/bulk_cancel: order_ids.0 in the body"}
)
"""Of requests for several things: the answer is 200, and says of each that it does not exist."""

NOT_READ = frozenset({"PATCH /v1/members/{id}: approval_id in the body"})
"""Ids that the example's request does not need: `platform/test_approvals` sends them where they count."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(scratch_settings: Settings) -> AsyncIterator[Scene]:
    async with open_scene(scratch_settings) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spoilt(scratch_settings: Settings) -> AsyncIterator[Scene]:
    """A scene whose tests add routes, and let the attacker write the victim's id into its own rows."""
    async with open_scene(scratch_settings) as opened:
        yield opened


def _guarded(app: FastAPI) -> list[Operation]:
    return [operation for operation in operations(app) if operation.needs]


async def test_every_route_says_who_may_call_it(scene: Scene) -> None:
    _all_routes_are_guarded(scene.app)


def _all_routes_are_guarded(app: FastAPI) -> None:
    unguarded = {str(route.path_format) for route in routes_of(app) if not permissions_of(route)}
    assert unguarded == PUBLIC
    for route in routes_of(app):
        assert permissions_of(route) <= PERMISSIONS.keys(), f"{route.path_format}: add its scopes to PERMISSIONS"
    assert {operation.name for operation in operations(app) if operation.streams} == STREAMS


async def test_no_route_opens_without_a_key(scene: Scene) -> None:
    await _none_opens_without_a_key(scene.app, scene.client)


async def _none_opens_without_a_key(app: FastAPI, client: httpx.AsyncClient) -> int:
    for operation in operations(app):
        path = re.sub(r"\{\w+\}", NONSENSE, operation.path)
        for headers in ({}, {"Authorization": "Bearer nonsense"}):
            answer = await client.request(operation.method, path, headers=headers, json=operation.example)
            assert answer.status_code == 401, f"{operation.name}: {answer.status_code} {answer.text}"
    return 2 * len(operations(app))


async def test_no_route_opens_without_its_scope(scene: Scene) -> None:
    keys: dict[frozenset[str], dict[str, str]] = {}
    for operation in _guarded(scene.app):
        if operation.needs not in keys:
            scopes = sorted(PERMISSIONS.keys() - operation.needs)
            key = await make_key(scene.app.state.app.database, scene.pair.attacker.own_id, scopes=scopes)
            keys[operation.needs] = key.headers
        gun = Gun(scene.client, keys[operation.needs], scene.pair.attacker.own_id, scene.shared_id, KINDS)
        answer = await gun.fire(operation)
        assert answer.status_code == 403, f"{operation.name}: {answer.status_code} {answer.text}"
        assert answer.json()["code"] == "missing_scope"


@pytest.mark.parametrize("caller", CALLERS)
async def test_no_route_answers_to_another_tenants_id(
    scene: Scene, caller: str, record_property: Callable[[str, object], None]
) -> None:
    """At every place for an id, by every role: the same answer as for an id that never was, or 403 before that."""
    gun = await scene.gun(caller)
    guarded = _guarded(scene.app)
    unknown = set()
    for operation in guarded:
        if caller != KEY and not operation.needs <= BUILT_IN[Role(caller)]:
            for place in places(operation):
                await _is_forbidden(gun, scene, place)
            if not list(places(operation)):
                await _is_forbidden(gun, scene, Place(operation, "nowhere", ()))
            continue
        known = await gun.learn(operation)
        unknown |= {str(place) for place in places(operation) if place not in known}
        for place in known:
            if gun.kind_of(place) not in SHARED:
                await _is_as_absent(gun, scene, place, compare=caller in (KEY, Role.OWNER.value))
    assert unknown <= NOT_IDS
    assert gun.fired - gun.asked > len(guarded)
    record_property("routes", len({operation.name for operation in guarded}))
    record_property("requests", gun.fired - gun.asked)
    record_property("callers", 1)


async def _is_forbidden(gun: Gun, scene: Scene, place: Place) -> None:
    if place.where == "header":
        return  # whoever acts for another tenant is judged by his grant first
    kind = gun.kind_of(place) or "acc"
    answer = await gun.fire(place.operation, place, encode_id(kind, scene.pair.victim.own_id))
    assert answer.status_code == 403, f"{place}: {answer.status_code} {answer.text}"
    assert answer.json()["code"] == "role_lacks_permission"


async def _is_as_absent(gun: Gun, scene: Scene, place: Place, *, compare: bool = True) -> None:
    victim = scene.pair.victim.own_id
    absent = UUID(int=victim.int + 1)  # its neighbour, so that it falls on the same page of every list
    kind = gun.kind_of(place)
    sent, never = encode_id(kind, victim), encode_id(kind, absent)
    answer = await gun.fire(place.operation, place, sent)
    said = f"{place}: {answer.status_code} {answer.text}"
    if place.where == "path":
        assert answer.status_code == 404, said
    elif place.where == "query":
        allowed = (403,) if str(place) in LOGIN_FIRST else (200, 404, 422)
        assert answer.status_code in allowed, said
    else:
        assert answer.status_code in (403, 404, 422) or str(place) in NOT_READ | EACH_BY_ITSELF, said
        if str(place) in EACH_BY_ITSELF:
            assert [one["status"] for one in answer.json()["data"]] == [404], said
    _shows_no_marker(scene, answer, sent, echoes=str(place) in EACH_BY_ITSELF)
    if compare:
        other = await gun.fire(place.operation, place, never)
        assert masked(answer, sent) == masked(other, never), f"{said}, but for an id that never was: {other.text}"


async def test_no_list_shows_another_tenants_rows(scene: Scene) -> None:
    await _no_list_shows_any(scene, "/v1/")


async def _no_list_shows_any(scene: Scene, prefix: str) -> None:
    gun = await scene.gun(KEY)
    for operation in _guarded(scene.app):
        listed = operation.method == "GET" and "{" not in operation.path and operation.name not in STREAMS
        if listed and operation.path.startswith(prefix):
            _shows_no_marker(scene, await gun.fire(operation), "")


def _shows_no_marker(scene: Scene, answer: httpx.Response, sent: str, *, echoes: bool = False) -> None:
    shown = answer.text.replace(sent, "") if sent and (echoes or answer.status_code >= 400) else answer.text
    seen = [marker for marker in scene.markers if marker in shown]
    assert not seen, f"{answer.request.method} {answer.request.url}: shows {seen}"


async def test_the_own_id_does_open_what_another_tenants_does_not(scene: Scene) -> None:
    """The control: at every route that reads one thing the caller's own id is found, and markers do come out."""
    gun, shown = await scene.gun(KEY), set()
    for operation in _guarded(scene.app):
        if operation.method == "GET" and operation.name not in STREAMS | {WITHDRAWAL}:
            await gun.learn(operation)
            answer = await gun.fire(operation)
            assert answer.status_code != 404 or "{" not in operation.path, f"{operation.name}: {answer.text}"
            if any(one in answer.text for one in markers_of(gun.own_id, scene.pair.attacker.rows)):
                shown.add(operation.name)
    assert len(shown) > 20, shown


async def test_logs_name_the_caller_and_nothing_of_anyone_else(scene: Scene) -> None:
    gun = await scene.gun(KEY)
    configure_logging("gateway", level="INFO", stream=scene.log)
    began = scene.log.tell()
    for operation in _guarded(scene.app):
        for place in await gun.learn(operation):
            if gun.kind_of(place) not in SHARED:
                await gun.fire(operation, place, encode_id(gun.kind_of(place), scene.pair.victim.own_id))
    configure_logging("gateway", level="CRITICAL", stream=scene.log)
    written = scene.log.getvalue()[began:]
    lines = [json.loads(line) for line in written.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) == gun.fired
    assert {line["tenant"] for line in requests} == {encode_id("ten", gun.own_id)}
    assert not [marker for marker in scene.markers if marker in written]


async def test_metrics_tell_no_tenant_apart(scene: Scene) -> None:
    gun = await scene.gun(KEY)
    for operation in _guarded(scene.app):
        if operation.name not in STREAMS and operation.method == "GET":
            await gun.fire(operation)
    told = metrics_text().decode()
    assert "/v1/accounts/{id}" in told
    own = markers_of(gun.own_id, scene.pair.attacker.rows)
    assert not [marker for marker in scene.markers | own if marker in told]


async def test_planted_routes_that_leak_are_found(spoilt: Scene) -> None:
    _plant_leaks(spoilt)
    gun = await spoilt.gun(KEY)
    found = {operation.path: operation for operation in operations(spoilt.app)}
    for path, said in (
        ("/v1/leaks/{id}", "/v1/leaks/{id}: id in the path: 200"),
        ("/v1/oracles/{id}", "but for an id that never was"),
        ("/v1/acts", "Mandi-Act-As in the header: 200"),
    ):
        with pytest.raises(AssertionError, match=re.escape(said)):
            for place in await gun.learn(found[path]):
                await _is_as_absent(gun, spoilt, place)
    with pytest.raises(AssertionError, match="/v1/leaks: shows"):
        await _no_list_shows_any(spoilt, "/v1/leaks")
    with pytest.raises(AssertionError, match="/v1/open"):
        _all_routes_are_guarded(spoilt.app)
    with pytest.raises(AssertionError, match="/v1/acts"):
        await _none_opens_without_a_key(spoilt.app, spoilt.client)


def _plant_leaks(scene: Scene) -> None:
    """A route that answers to any tenant's id, one that tells whether an id exists, a list, and an open one."""
    victim, database = scene.pair.victim.own_id, scene.app.state.app.database
    guarded = [Depends(requires("members:read"))]

    async def leak(id: str) -> dict[str, str]:
        decode_id("mem", id)
        async with database.tx(victim) as tx:
            return {"email": (await tx.execute(text("select email from members"))).scalars().one()}

    async def oracle(id: str) -> None:
        code = "taken" if decode_id("mem", id) == victim else "absent"
        raise DomainError(code, Kind.NOT_FOUND, "No such member.")

    async def everything() -> list[str]:
        return sorted(scene.markers)

    async def acts(mandi_act_as: Annotated[str | None, Header(alias="Mandi-Act-As")] = None) -> dict[str, str]:
        if mandi_act_as is not None:
            decode_id("act", mandi_act_as)
        return {}

    async def nothing() -> dict[str, str]:
        return {}

    scene.app.get("/v1/leaks/{id}", dependencies=guarded)(leak)
    scene.app.get("/v1/oracles/{id}", dependencies=guarded)(oracle)
    scene.app.get("/v1/leaks", dependencies=guarded)(everything)
    scene.app.get("/v1/acts")(acts)
    scene.app.get("/v1/open")(nothing)
    scene.app.openapi_schema = None
