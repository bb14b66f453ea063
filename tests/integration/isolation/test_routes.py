"""Every route of the OpenAPI document, attacked with another tenant's key, no key, and a key without the scope.

Nothing here names a route but `PUBLIC`: what is added later is attacked too. Ids come from rows that `attacks.seed`
made in every table; the id's form is asked of the API itself (the detail of `invalid_id`).
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager
from fastapi import Depends, FastAPI
from sqlalchemy import text

from app.infra.settings import Settings
from app.kernel.ids import decode_id, encode_id
from app.main import create_app
from app.platform.identity.service import PERMISSIONS
from app.web.auth import requires
from app.web.openapi import permissions_of, routes_of
from tests.factories.tenants import TenantWithKey, make_key, make_tenant
from tests.integration.isolation.attacks import Report, seed

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]  # every id of every row at every route
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
STREAMS = frozenset({"/v1/events/stream"})
"""They do not end; `platform/test_streams` listens to them as another tenant."""
_FORM = re.compile(r"looks like ([a-z]+)_ and")
NONSENSE = "nonsense"


@dataclass(frozen=True, slots=True)
class Scene:
    """The gateway, the victim's tenant with a row in every table, the attacker's with a key."""

    app: FastAPI
    client: httpx.AsyncClient
    victim: TenantWithKey
    rows: dict[str, dict[str, str | None]]
    attacker: TenantWithKey

    @property
    def ids(self) -> set[UUID]:
        """The victim's own row ids, its key's included."""
        owned = {UUID(row["id"]) for row in self.rows.values() if row.get("id") and "tenant_id" in row}
        return owned | {self.victim.key_row, self.victim.tenant_id}

    @property
    def markers(self) -> set[str]:
        """Texts that only the victim's rows hold: their ids in public form, their random values."""
        texts = {encode_id("x", one)[2:] for one in self.ids}
        for row in self.rows.values():
            if "tenant_id" in row:
                texts |= {value for value in row.values() if value and re.fullmatch(r"x[0-9a-f]{16}", value)}
        return texts


@pytest_asyncio.fixture
async def scene(scratch_settings: Settings, owner: asyncpg.Connection) -> AsyncIterator[Scene]:
    app = create_app(scratch_settings)
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        database = app.state.app.database
        _, victim_id, rows, _, _ = await seed(owner, Report())
        victim = await make_key(database, victim_id)
        attacker = await make_tenant(database)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield Scene(app, client, victim, rows, attacker)


def _operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    document = app.openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _body(app: FastAPI, operation: dict[str, Any]) -> dict[str, Any] | None:
    """The example of the operation's request body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"]
    if "$ref" in schema:
        schema = app.openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    examples: list[dict[str, Any]] = schema.get("examples", [])
    assert examples, f"{operation['operationId']}: its body has no example"
    return examples[0]


def _streams(operation: dict[str, Any]) -> bool:
    """Does it answer with server-sent events?"""
    return "text/event-stream" in operation["responses"].get("200", {}).get("content", {})


def _is_id(name: str) -> bool:
    return name == "id" or name.endswith("_id") or name in ("starting_after", "ending_before")


@dataclass(frozen=True, slots=True)
class Shot:
    """One request to be sent with one id in one place."""

    method: str
    path: str
    place: str
    name: str
    body: dict[str, Any] | None

    async def fire(self, client: httpx.AsyncClient, headers: dict[str, str], value: str) -> httpx.Response:
        path, query, body = self.path, {}, self.body
        if self.place == "path":
            path = path.replace("{" + self.name + "}", value)
        if self.place == "query":
            query = {self.name: value}
        if self.place == "body" and body is not None:
            body = body | {self.name: value}
        path = re.sub(r"\{\w+\}", NONSENSE, path)
        return await client.request(self.method, path, headers=headers, params=query, json=body)


def _shots(app: FastAPI) -> Iterator[Shot]:
    for method, raw, operation in _operations(app):
        body, path = _body(app, operation), raw
        parameters = operation.get("parameters", [])
        for other in (p for p in parameters if p["in"] == "path" and not _is_id(p["name"])):
            path = path.replace("{" + other["name"] + "}", other["schema"]["examples"][0])
        for parameter in parameters:
            if parameter["in"] in ("path", "query") and _is_id(parameter["name"]):
                yield Shot(method, path, parameter["in"], parameter["name"], body)
        for name in body or {}:
            if _is_id(name):
                yield Shot(method, path, "body", name, body)


async def test_every_route_says_who_may_call_it(scene: Scene) -> None:
    unguarded = {str(route.path_format) for route in routes_of(scene.app) if not permissions_of(route)}
    assert unguarded == PUBLIC
    for route in routes_of(scene.app):
        assert permissions_of(route) <= PERMISSIONS.keys(), f"{route.path_format}: add its scopes to PERMISSIONS"


async def test_no_route_opens_without_a_key(scene: Scene) -> None:
    for method, path, operation in _operations(scene.app):
        path = re.sub(r"\{\w+\}", NONSENSE, path)
        for headers in ({}, {"Authorization": "Bearer nonsense"}):
            answer = await scene.client.request(method, path, headers=headers, json=_body(scene.app, operation))
            assert answer.status_code == 401, f"{method} {path}: {answer.status_code} {answer.text}"


async def test_no_route_opens_without_its_scope(scene: Scene) -> None:
    database = scene.app.state.app.database
    for method, path, operation in _operations(scene.app):
        needed = set(operation["x-permissions"])
        key = await make_key(database, scene.attacker.tenant_id, scopes=sorted(PERMISSIONS.keys() - needed))
        answer = await scene.client.request(
            method, re.sub(r"\{\w+\}", NONSENSE, path), headers=key.headers, json=_body(scene.app, operation)
        )
        assert answer.status_code == 403, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.json()["code"] == "missing_scope"


@pytest.mark.timeout(900)
async def test_no_route_answers_to_another_tenants_id(scene: Scene) -> None:
    """A 404, or an empty page: the same as for an id that never was."""
    await _no_shot_hits(scene, "/")


async def _no_shot_hits(scene: Scene, prefix: str) -> None:
    """Fire every id of the victim's at every place for an id, of the routes whose path begins with `prefix`."""
    fired = 0
    for shot in (shot for shot in _shots(scene.app) if shot.path.startswith(prefix)):
        form = await shot.fire(scene.client, scene.attacker.headers, NONSENSE)
        named = _FORM.search(form.text)
        if named is None:
            assert form.status_code == 422 or shot.place != "path", f"{shot}: takes any id: {form.text}"
            continue
        for row_id in scene.ids:
            sent = encode_id(named[1], row_id)
            answer = await shot.fire(scene.client, scene.attacker.headers, sent)
            fired += 1
            assert answer.status_code in (200, 404, 422), f"{shot} {sent}: {answer.status_code} {answer.text}"
            if shot.place == "path":
                assert answer.status_code == 404, f"{shot} {sent}: {answer.status_code} {answer.text}"
            _no_marker(scene, answer, sent)
    assert fired >= len(scene.ids)


async def test_no_list_shows_another_tenants_rows(scene: Scene) -> None:
    endless = {path for _, path, operation in _operations(scene.app) if _streams(operation)}
    assert endless == STREAMS
    for method, path, _ in _operations(scene.app):
        if method == "GET" and "{" not in path and path not in STREAMS:
            answer = await scene.client.get(path, headers=scene.attacker.headers)
            assert answer.status_code in (200, 422), f"{path}: {answer.status_code} {answer.text}"
            _no_marker(scene, answer, "")


async def test_the_victims_own_key_does_see_its_rows(scene: Scene) -> None:
    """The control: the markers that were searched above are what its owner is shown."""
    answer = await scene.client.get("/v1/api_keys", headers=scene.victim.headers)
    assert any(marker in answer.text for marker in scene.markers)


def _no_marker(scene: Scene, answer: httpx.Response, sent: str) -> None:
    shown = json.dumps(answer.json()).replace(sent, "") if sent and answer.status_code >= 400 else answer.text
    seen = [marker for marker in scene.markers if marker in shown]
    assert not seen, f"{answer.request.method} {answer.request.url}: shows {seen}"


async def test_a_planted_route_that_leaks_is_found(scene: Scene) -> None:
    async def leak(id: str) -> dict[str, str]:
        decode_id("mem", id)
        async with scene.app.state.app.database.tx(scene.victim.tenant_id) as tx:
            found = (await tx.execute(text("select email from members"))).scalars().all()
        return {"email": str(found[0])}

    scene.app.get("/v1/leaks/{id}", dependencies=[Depends(requires("members:read"))])(leak)
    scene.app.get("/v1/leaks", dependencies=[Depends(requires("members:read"))])(
        lambda: {"email": scene.markers.copy()}
    )
    scene.app.openapi_schema = None
    with pytest.raises(AssertionError, match="/v1/leaks/"):
        await _no_shot_hits(scene, "/v1/leaks")
    with pytest.raises(AssertionError, match="/v1/leaks: shows"):
        await test_no_list_shows_another_tenants_rows(scene)


async def test_a_planted_route_without_a_permission_is_found(scene: Scene) -> None:
    async def empty() -> dict[str, str]:
        return {}

    scene.app.get("/v1/open")(empty)
    scene.app.get("/v1/odd", dependencies=[Depends(requires("odd:thing"))])(empty)
    scene.app.openapi_schema = None
    with pytest.raises(AssertionError, match="/v1/open"):
        await test_every_route_says_who_may_call_it(scene)
    with pytest.raises(AssertionError, match="/v1/open"):
        await test_no_route_opens_without_a_key(scene)
