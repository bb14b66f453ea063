"""Strict input at the door of the real gateway: the right 4xx, nothing written, one line in the log."""

import io
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.infra.database import Database
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio
GOOD = b'"name": "x", "scopes": ["tenant:read"]'


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{" + GOOD + b', "name": "y"}', {}, 400, "duplicate_key"),
        (b'{"name": "\xff", "scopes": ["tenant:read"]}', {}, 400, "invalid_utf8"),
        (b"{" + GOOD + b', "n": NaN}', {}, 400, "non_finite_number"),
        (b"{" + GOOD + b', "n": 99999999999999999999}', {}, 400, "number_out_of_range"),
        (b'{"name": "\\u0000", "scopes": ["tenant:read"]}', {}, 400, "invalid_character"),
        (b"[" * 50_000, {}, 400, "too_deep"),
        (b"{", {}, 400, "malformed_json"),
        (b"{" + GOOD + b"}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{" + GOOD + b"}", {"Content-Type": "application/xml"}, 415, "unsupported_media_type"),
        (b"name=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b"{" + GOOD + b"}", {"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported_media_type"),
        (b"{" + GOOD + b"}", {"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
        (b"{" + GOOD + b"}", {"X-Long": "x" * 17_000}, 431, "headers_too_large"),
        (b"{" + GOOD + b', "pad": "' + b"x" * 300_000 + b'"}', {}, 413, "body_too_large"),
    ],
)
async def test_what_cannot_be_read_one_way_is_refused_by_name(
    client: httpx.AsyncClient,
    database: Database,
    logged: io.StringIO,
    content: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    tenant = await make_tenant(database)
    sent = tenant.headers | {"Content-Type": "application/json"} | headers
    logged.truncate(logged.seek(0))
    answer = await client.post("/v1/api_keys", headers=sent, content=content)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    ours = [line for line in lines if line["logger"].partition(".")[0] not in ("httpx", "redis")]
    assert [(line["event"], line.get("status")) for line in ours] == [("request", status)]
    async with database.tx(tenant.tenant_id) as tx:
        assert (await tx.execute(text("select count(*) from api_keys"))).scalar_one() == 1


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", 'application/json;charset="UTF-8"'],
)
async def test_json_is_taken_however_its_type_is_spelt(
    client: httpx.AsyncClient, database: Database, kind: str
) -> None:
    tenant = await make_tenant(database)
    headers = tenant.headers | {"Content-Type": kind}
    assert (await client.post("/v1/api_keys", headers=headers, content=b"{" + GOOD + b"}")).status_code == 201


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=1&limit=2", "repeated_parameter"),
        ("type=%00", "invalid_character"),
        ("type=%ff", "invalid_character"),
        ("tpye=x", "unknown_parameter"),
    ],
)
async def test_a_query_with_no_single_reading_is_a_422(
    client: httpx.AsyncClient, database: Database, query: str, code: str
) -> None:
    tenant = await make_tenant(database)
    answer = await client.get(f"/v1/events?{query}", headers=tenant.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_the_catalogue_has_an_anchor_for_what_a_problem_names(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    problem: dict[str, Any] = (await client.get("/v1/events?tpye=x", headers=tenant.headers)).json()
    place, _, anchor = problem["type"].partition("#")
    page = await client.get(place)
    assert page.headers["content-type"].startswith("text/html")
    assert f'id="{anchor}"' in page.text
    assert "style-src 'unsafe-inline'" in page.headers["Content-Security-Policy"]
    listed = {entry["code"]: entry for entry in (await client.get("/errors.json")).json()["data"]}
    assert listed["unknown_parameter"]["status"] == [422]
    for entry in listed.values():
        assert entry["meaning"] and entry["remedy"], entry
    assert listed["idempotency_in_progress"]["retryable"] is True
