"""Bad input at the door: the right 4xx, a body that says what to do, nothing echoed, nothing written."""

from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from sqlalchemy import text

from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import encode_id, uuid7
from app.main import create_app
from app.web.middleware import MAX_BODY_BYTES
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio


async def _keys(database: Database, tenant: TenantWithKey) -> int:
    async with database.tx(tenant.tenant_id) as tx:
        return int((await tx.execute(text("select count(*) from api_keys"))).scalar_one())


def _is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"].endswith(code)
    assert body["request_id"] == answer.headers["Request-Id"]
    assert len(body["detail"]) > 10
    return body


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"name": "x", "scopes": ["tenant:read"], "colour": "red"}, "colour", "not a field"),
        ({"name": "x"}, "scopes", "required"),
        ({"name": 5, "scopes": ["tenant:read"]}, "name", "string"),
        ({"name": "x", "scopes": "tenant:read"}, "scopes", "list"),
        ({"name": "", "scopes": ["tenant:read"]}, "name", "at least 1"),
        ({"name": "x", "scopes": [7]}, "scopes.0", "string"),
        ({"name": "x", "scopes": ["tenant:read"], "expires_at": "tomorrow"}, "expires_at", "RFC 3339"),
        ({"name": "x", "scopes": ["tenant:read"], "expires_at": "2030-01-01T00:00:00"}, "expires_at", "offset"),
        (["a list"], "body", "JSON object"),
    ],
)
async def test_a_wrong_body_is_a_422_that_names_the_field_and_the_remedy(
    client: httpx.AsyncClient, database: Database, body: Any, param: str, said: str
) -> None:
    tenant = await make_tenant(database)
    answer = _is_problem(await client.post("/v1/api_keys", headers=tenant.headers, json=body), 422, "invalid_request")
    assert answer["param"] == param
    assert said in answer["errors"][0]["message"]
    assert await _keys(database, tenant) == 1


async def test_every_wrong_field_is_named(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    body = {"name": 5, "colour": "red", "expires_at": False}
    answer = (await client.post("/v1/api_keys", headers=tenant.headers, json=body)).json()
    assert {error["param"] for error in answer["errors"]} == {"name", "colour", "scopes", "expires_at"}


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[" * 50_000, b'{"name": "\xff"}'])
async def test_a_body_that_is_no_json_is_a_4xx(client: httpx.AsyncClient, database: Database, content: bytes) -> None:
    tenant = await make_tenant(database)
    answer = await client.post(
        "/v1/api_keys", headers=tenant.headers | {"Content-Type": "application/json"}, content=content
    )
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await _keys(database, tenant) == 1


async def test_json_without_its_content_type_is_told_what_to_send(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    answer = await client.post("/v1/api_keys", headers=tenant.headers, content=b'{"name": "x"}')
    assert "application/json" in _is_problem(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("declared", [True, False])
async def test_an_oversize_body_is_a_413(client: httpx.AsyncClient, database: Database, declared: bool) -> None:
    tenant = await make_tenant(database)

    async def chunks() -> Any:
        for _ in range(5):
            yield b"x" * (MAX_BODY_BYTES // 4)

    answer = await client.post(
        "/v1/api_keys",
        headers=tenant.headers | {"Content-Type": "application/json"},
        content=b"x" * (MAX_BODY_BYTES + 1) if declared else chunks(),
    )
    assert "256 KiB" in _is_problem(answer, 413, "body_too_large")["detail"]


async def test_oversize_headers_are_a_431(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/tenant", headers={"X-Long": "x" * 17_000})
    _is_problem(answer, 431, "headers_too_large")


@pytest.mark.parametrize("wrong", ["nonsense", "ord_01kpx4t8yhe6rb2y6x3v1m9d0c", "key_short", "key_" + "u" * 26])
async def test_a_malformed_id_is_a_422_that_shows_its_form(
    client: httpx.AsyncClient, database: Database, wrong: str
) -> None:
    tenant = await make_tenant(database)
    answer = await client.delete(f"/v1/api_keys/{wrong}", headers=tenant.headers)
    assert "key_" in _is_problem(answer, 422, "invalid_id")["detail"]


async def test_another_tenants_id_is_the_same_404_as_an_unknown_one(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours, theirs = await make_tenant(database), await make_tenant(database)
    foreign, unknown = encode_id("key", theirs.key_row), encode_id("key", uuid7())
    answers = [await client.delete(f"/v1/api_keys/{one}", headers=ours.headers) for one in (foreign, unknown)]
    bodies = [{**_is_problem(answer, 404, "api_key_not_found"), "request_id": "", "detail": ""} for answer in answers]
    assert bodies[0] == bodies[1]
    assert (await client.get("/v1/tenant", headers=theirs.headers)).status_code == 200


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("starting_after=nonsense", "starting_after"),
        ("statring_after=key_x", "statring_after"),
        ("offset=5", "offset"),
    ],
)
async def test_a_wrong_query_is_a_422_that_names_the_parameter(
    client: httpx.AsyncClient, database: Database, query: str, param: str
) -> None:
    tenant = await make_tenant(database)
    answer = await client.get(f"/v1/api_keys?{query}", headers=tenant.headers)
    assert answer.status_code == 422
    assert answer.json()["param"] == param


async def test_two_cursors_at_once_are_refused(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    some = encode_id("key", tenant.key_row)
    answer = await client.get(f"/v1/api_keys?starting_after={some}&ending_before={some}", headers=tenant.headers)
    _is_problem(answer, 422, "two_cursors")


async def test_a_path_or_method_that_does_not_exist_is_a_problem(client: httpx.AsyncClient) -> None:
    _is_problem(await client.get("/v1/nothing"), 404, "no_such_path")
    answer = await client.put("/v1/api_keys")
    _is_problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


async def test_a_long_value_is_not_echoed(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    canary = "c" * 200
    for answer in (
        await client.delete(f"/v1/api_keys/{canary}", headers=tenant.headers),
        await client.get(f"/v1/api_keys?{canary}=1", headers=tenant.headers),
        await client.get(f"/v1/api_keys?starting_after={canary}", headers=tenant.headers),
        await client.post("/v1/api_keys", headers=tenant.headers, json={canary: 1}),
        await client.post("/v1/api_keys", headers=tenant.headers, json={"name": "x", "scopes": [canary[:64]]}),
    ):
        assert 400 <= answer.status_code < 500
        assert "c" * 65 not in answer.text


async def test_probes_answer_and_name_what_is_down(app_settings: Settings) -> None:
    own = create_app(app_settings)
    transport = httpx.ASGITransport(app=own)
    async with LifespanManager(own), httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert (await client.get("/livez")).json() == {"status": "alive"}
        ready = await client.get("/readyz")
        assert ready.status_code == 200
        checks = ready.json()["checks"]
        assert checks["database"] == "ok"
        assert ready.json()["status"] == ("ready" if checks["redis"] == "ok" else "degraded")
        await own.state.app.database.pool.close()
        down = _is_problem(await client.get("/readyz"), 503, "not_ready")
        assert "database" in down["detail"]
        assert "127.0.0.1" not in down["detail"]
        assert b"python_info" in (await client.get("/metrics")).content


async def test_events_are_listed_in_order_once_settled(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        for number in range(3):
            tx.emit("member.added", uuid7(), {"number": number})
    while await database.dispatch.fetchval("select events_position(1000)"):
        pass
    body = (await client.get("/v1/events?limit=2", headers=tenant.headers)).json()
    positions = [event["position"] for event in body["data"]]
    assert positions == sorted(positions, reverse=True) and body["has_more"]
    older = (await client.get(f"/v1/events?starting_after={body['data'][-1]['id']}", headers=tenant.headers)).json()
    assert [event["position"] for event in older["data"]] == list(range(positions[-1] - 1, 0, -1))
    newer = (await client.get(f"/v1/events?ending_before={older['data'][0]['id']}", headers=tenant.headers)).json()
    assert [event["position"] for event in newer["data"]] == positions
    typed = (await client.get("/v1/events?type=api_key.created", headers=tenant.headers)).json()
    assert [event["type"] for event in typed["data"]] == ["api_key.created"]
    assert typed["data"][0]["subject_id"] == encode_id("key", tenant.key_row)
    other = await make_tenant(database)
    foreign = await client.get(f"/v1/events?starting_after={body['data'][0]['id']}", headers=other.headers)
    assert (foreign.status_code, foreign.json()["code"]) == (422, "unknown_cursor")
