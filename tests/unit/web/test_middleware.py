"""What surrounds every request: ids, limits, headers, one count; and no exception gets past it."""

from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.web.middleware import MAX_BODY_BYTES, RequestBoundary, Surrounded
from app.web.routing import MannerlyRoute, RouteIndex

pytestmark = pytest.mark.asyncio
Seen = list[tuple[str, str, int]]


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    if request.url.path == "/fails":
        raise RuntimeError("canary")
    body = await request.body()
    await PlainTextResponse(f"{request.state.request_id} {len(body)}")(scope, receive, send)


@pytest.fixture
def seen() -> Seen:
    return []


@pytest.fixture
def boundary(seen: Seen) -> RequestBoundary:
    def observe(method: str, route: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        seen.append((method, route, status))

    return RequestBoundary(_echo, observe=observe)


async def _get(boundary: RequestBoundary, path: str = "/", **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=boundary), base_url="http://x") as client:
        return await client.request("POST", path, **options)


async def test_every_answer_has_an_id_and_security_headers(boundary: RequestBoundary, seen: Seen) -> None:
    answer = await _get(boundary)
    assert answer.headers["Request-Id"].startswith("req_")
    assert answer.text.startswith(answer.headers["Request-Id"])
    for name in ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy"):
        assert name in answer.headers
    assert "Cache-Control" not in answer.headers
    assert seen == [("POST", "unmatched", 200)]


async def test_a_well_formed_id_of_the_callers_is_kept(boundary: RequestBoundary) -> None:
    assert (await _get(boundary, headers={"Request-Id": "my-request_1"})).headers["Request-Id"] == "my-request_1"


@pytest.mark.parametrize("given", ["short", "x" * 65, "a b c d e f g h", "id\u00e9-1234567", "<script>alert</script>"])
async def test_another_id_is_replaced(boundary: RequestBoundary, given: str) -> None:
    answer = await _get(boundary, headers={b"Request-Id": given.encode()})
    assert answer.headers["Request-Id"].startswith("req_")


async def test_an_authenticated_answer_is_not_stored(boundary: RequestBoundary) -> None:
    assert (await _get(boundary, headers={"Authorization": "Bearer x"})).headers["Cache-Control"] == "no-store"


async def test_a_body_of_the_limit_passes_and_one_byte_more_does_not(boundary: RequestBoundary) -> None:
    assert (await _get(boundary, content=b"x" * MAX_BODY_BYTES)).text.endswith(str(MAX_BODY_BYTES))
    answer = await _get(boundary, content=b"x" * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("length", ["-1", "1e9", "\u0663", "9" * 400])
async def test_an_odd_content_length_does_not_crash_it(boundary: RequestBoundary, length: str) -> None:
    answer = await _get(boundary, headers={b"Content-Length": length.encode()}, content=b"x")
    assert answer.status_code in (200, 413)


@pytest.mark.parametrize("planned", [True, False])
async def test_nothing_is_wrapped_around_the_boundary(planned: bool, seen: Seen) -> None:
    app = Surrounded()
    app.router.route_class = MannerlyRoute

    async def fails() -> dict[str, str]:
        raise RuntimeError("canary")

    app.get("/fails", response_model=dict[str, str] if planned else None)(fails)
    app.add_middleware(RouteIndex, router=app.router)
    app.add_middleware(RequestBoundary, observe=lambda method, route, status, _: seen.append((method, route, status)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
        answer = await client.get("/fails")
    assert (answer.status_code, answer.json()["code"], seen) == (500, "internal_error", [("GET", "/fails", 500)])
    assert isinstance(app.middleware_stack, RequestBoundary)


async def test_an_exception_is_a_problem_and_is_counted(boundary: RequestBoundary, seen: Seen) -> None:
    answer = await _get(boundary, "/fails")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "canary" not in answer.text
    assert seen == [("POST", "unmatched", 500)]
