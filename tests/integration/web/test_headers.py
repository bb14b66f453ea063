"""What every answer carries, whichever route gives it: asked of each operation of the document."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager
from starlette.responses import PlainTextResponse

from app.infra.settings import Settings
from app.kernel.ids import encode_id, uuid7
from app.main import create_app
from app.web.middleware import RequestBoundary
from app.web.openapi import routes_of
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio
STREAMS = frozenset({"/v1/events/stream"})
"""Their answers do not end."""
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest_asyncio.fixture
async def answers(app_settings: Settings) -> AsyncIterator[list[tuple[str, bool, httpx.Response]]]:
    """Each route's answer with a key and without one."""
    app = create_app(app_settings)
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        tenant = await make_tenant(app.state.app.database)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            found: list[tuple[str, bool, httpx.Response]] = []
            for route in routes_of(app):
                if route.path_format in STREAMS:
                    continue
                path = re.sub(r"\{\w+\}", encode_id("ord", uuid7()), str(route.path_format))
                for method in sorted(route.methods or ()):
                    for headers in (tenant.headers, {}):
                        body: Any = {} if method in ("POST", "PUT", "PATCH") else None
                        answer = await client.request(method, path, headers=headers, json=body)
                        found.append((f"{method} {path}", bool(headers), answer))
            yield found


async def test_every_answer_is_guarded_and_no_authenticated_one_is_stored(
    answers: list[tuple[str, bool, httpx.Response]],
) -> None:
    assert len(answers) > 80
    assert {answer.status_code for _, _, answer in answers} >= {200, 401, 422}
    for where, authenticated, answer in answers:
        for name, value in SECURITY.items():
            assert answer.headers.get(name) == value, f"{where}: {name}"
        assert "max-age=" in answer.headers["Strict-Transport-Security"], where
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"], where
        assert answer.headers["Request-Id"], where
        assert "Origin" in answer.headers["Vary"], where
        assert "Access-Control-Allow-Origin" not in answer.headers, where
        if authenticated:
            assert answer.headers["Cache-Control"] == "no-store", where


async def test_a_cookie_makes_an_answer_private_too() -> None:
    boundary = RequestBoundary(PlainTextResponse("x"), observe=lambda *_: None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=boundary), base_url="http://x") as client:
        answer = await client.get("/", headers={"Cookie": "session=1"})
    assert answer.headers["Cache-Control"] == "no-store"
