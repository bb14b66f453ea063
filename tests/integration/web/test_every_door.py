"""Bad input at every door of the API, read off its document: the right 4xx by name, and nothing written."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy import text

from app.infra.database import Database
from app.infra.settings import Settings
from app.kernel.ids import encode_id, uuid7
from app.main import create_app
from app.web.openapi import routes_of
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio
JSON = {"Content-Type": "application/json"}
UNREADABLE = {
    "body_too_large": (413, JSON, b'{"a": "' + b"x" * 300_000 + b'"}'),
    "too_deep": (400, JSON, b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}"),
    "duplicate_key": (400, JSON, b'{"name": "a", "name": "b"}'),
    "invalid_utf8": (400, JSON, b'{"name": "\xff"}'),
    "invalid_character": (400, JSON, b'{"name": "\\u0000"}'),
    "non_finite_number": (400, JSON, b'{"name": NaN}'),
    "number_out_of_range": (400, JSON, b'{"name": 1e999}'),
    "malformed_json": (400, JSON, b'{"name": '),
    "unsupported_media_type": (415, {"Content-Type": "text/plain"}, b"{}"),
    "unsupported_encoding": (415, JSON | {"Content-Encoding": "gzip"}, b"{}"),
    "headers_too_large": (431, JSON | {"X-Long": "x" * 17_000}, b"{}"),
}
FORMS = {"Content-Type": "application/x-www-form-urlencoded"}
BAD_FORMS = (
    (FORMS, b"x=" + b"y" * 300_000),
    (FORMS, b"email=%ff%fe&password=\xff"),
    (FORMS, b"&".join(b"f%d=1" % n for n in range(2_000))),
    (JSON, b'{"a": ' + b"[" * 50_000),
    ({"Content-Type": "multipart/form-data; boundary=x"}, b"--y nonsense"),
    ({"Content-Type": "multipart/form-data"}, b"\x00"),
    (FORMS | {"X-Long": "x" * 17_000}, b"a=1"),
)

TABLES = """
select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attname = 'tenant_id'
  and has_table_privilege(c.oid, 'SELECT')
"""


@dataclass(frozen=True, slots=True)
class House:
    """The gateway with one tenant."""

    app: FastAPI
    http: httpx.AsyncClient
    tenant: TenantWithKey

    async def rows(self) -> dict[str, int]:
        """How many rows the tenant has in each table."""
        database: Database = self.app.state.app.database
        found = {}
        async with database.tx(self.tenant.tenant_id) as tx:
            for name in (await tx.execute(text(TABLES))).scalars().all():
                counted = await tx.execute(
                    text(f"select count(*) from {name} where tenant_id = :t"), {"t": tx.tenant_id}
                )
                found[name] = int(counted.scalar_one())
        assert len(found) > 20
        return found


@pytest_asyncio.fixture(scope="function")
async def house(app_settings: Settings) -> AsyncIterator[House]:
    app = create_app(app_settings)
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        tenant = await make_tenant(app.state.app.database)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            yield House(app, http, tenant)


def _doors(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every operation that takes a body."""
    return [
        (method.upper(), re.sub(r"\{\w+\}", encode_id("ord", uuid7()), path))
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    ]


async def test_a_body_that_cannot_be_read_one_way_is_refused_at_every_door(house: House) -> None:
    before, doors = await house.rows(), _doors(house.app)
    assert len(doors) > 15
    for method, path in doors:
        for code, (status, headers, content) in UNREADABLE.items():
            answer = await house.http.request(
                method, path, headers=house.tenant.headers | headers | {"Idempotency-Key": code}, content=content
            )
            assert (answer.status_code, answer.json()["code"]) == (status, code), f"{method} {path}: {answer.text}"
            assert answer.headers["content-type"] == "application/problem+json"
    assert await house.rows() == before


async def test_a_key_that_is_none_learns_nothing_by_a_bad_body(house: House) -> None:
    for method, path in _doors(house.app):
        answer = await house.http.request(method, path, headers=JSON, content=b'{"name": "x"}')
        assert answer.status_code == 401, f"{method} {path}: {answer.text}"


async def test_forms_and_protocol_endpoints_refuse_what_is_no_form(house: House) -> None:
    doors = {
        (str(route.path_format), method)
        for route in routes_of(house.app)
        for method in route.methods or ()
        if method == "POST" and not str(route.path_format).startswith("/v1/")
    }
    assert len(doors) > 15
    before = await house.rows()
    for path, method in sorted(doors):
        address = re.sub(r"\{\w+\}", encode_id("ses", uuid7()), path)
        for headers, content in BAD_FORMS:
            answer = await house.http.request(method, address, headers=headers, content=content)
            refused = 400 <= answer.status_code < 500 or answer.json()["code"] == "oauth_not_configured"
            assert refused, f"{method} {path}: {answer.status_code} {answer.text[:200]}"
    assert await house.rows() == before
