"""Pages of registered origins may call; the others learn nothing, and nobody is let in by `*` or with cookies."""

import httpx
import pytest
from starlette.responses import PlainTextResponse

from app.kernel.principal import Principal
from app.web.middleware import RequestBoundary

pytestmark = pytest.mark.asyncio
OURS, THEIRS = "https://app.example.com", "https://evil.example.com"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


class _Registered:
    async def registered(self, origin: str) -> bool:
        return origin == OURS

    async def admits(self, principal: Principal, origin: str) -> bool:
        return False


async def _call(method: str, headers: dict[str, str], *, registered: bool = True) -> httpx.Response:
    reached = PlainTextResponse("reached")
    boundary = RequestBoundary(reached, observe=lambda *_: None, origins=_Registered() if registered else None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=boundary), base_url="http://x") as client:
        return await client.request(method, "/", headers=headers)


async def test_a_preflight_of_a_registered_origin_is_answered_and_may_be_cached() -> None:
    answer = await _call("OPTIONS", {"Origin": OURS, **ASKS})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == OURS
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    for name in ("Authorization", "Idempotency-Key", "If-Match", "Mandi-Act-As"):
        assert name in answer.headers["Access-Control-Allow-Headers"]
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("origin", [THEIRS, "null", OURS + ".evil.com", OURS + ":444", "http://app.example.com", "*"])
async def test_a_preflight_of_another_origin_is_refused(origin: str) -> None:
    answer = await _call("OPTIONS", {"Origin": origin, **ASKS})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_answers_are_readable_for_a_registered_origin_alone() -> None:
    ours, theirs = [await _call("GET", {"Origin": origin}) for origin in (OURS, THEIRS)]
    assert (ours.text, ours.headers["Access-Control-Allow-Origin"]) == ("reached", OURS)
    assert "Idempotent-Replayed" in ours.headers["Access-Control-Expose-Headers"]
    assert not [name for name in theirs.headers if name.startswith("access-control")]
    for answer in (ours, theirs):
        assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_nobody_is_registered_by_default() -> None:
    assert (await _call("OPTIONS", {"Origin": OURS, **ASKS}, registered=False)).status_code == 403


async def test_options_without_an_origin_is_no_preflight() -> None:
    assert (await _call("OPTIONS", ASKS)).text == "reached"


async def test_a_refusal_is_readable_for_a_registered_origin() -> None:
    answer = await _call("GET", {"Origin": OURS, "X-Long": "x" * 17_000})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (431, OURS)
