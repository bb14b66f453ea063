"""A planned route answers as FastAPI's own handler does, and calls each dependency once, in the order declared."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.routing import APIRouter
from pydantic import BaseModel

from app.kernel.errors import DomainError, Kind
from app.web.errors import install_errors
from app.web.routing import ApiRouter, MannerlyRoute, PlannedRoute, RouteIndex, flat


class Body(BaseModel):
    name: str
    size: int = 1


class Window:
    """A class as a dependency."""

    def __init__(self, limit: Annotated[int, Query(ge=1, le=9)] = 5) -> None:
        self.limit = limit


FAILURES: dict[str, Exception] = {
    "known": DomainError("sold_out", Kind.CONFLICT, "There is none left."),
    "http": HTTPException(405, headers={"allow": "GET"}),
    "unknown": RuntimeError("no"),
    "swallowed": LookupError("no"),
}


class Shop:
    """The same routes, planned or not, and what was called."""

    def __init__(self, router: APIRouter) -> None:
        self.calls: list[str] = []

        async def caller(request: Request) -> str:
            self.calls.append("caller")
            return request.headers.get("who", "nobody")

        async def opened(who: Annotated[str, Depends(caller)]) -> AsyncIterator[str]:
            self.calls.append("open")
            try:
                yield f"tx of {who}"
                self.calls.append("commit")
            finally:
                self.calls.append("close")

        async def claim(
            who: Annotated[str, Depends(caller)],
            key: Annotated[str | None, Header(max_length=3)] = None,
            request_trace: Annotated[int, Header()] = 7,
            tags: Annotated[list[str] | None, Query()] = None,
        ) -> str:
            self.calls.append("claim")
            return f"{who}:{key}:{request_trace}:{tags}"

        tx = Depends(opened, scope="function")

        @router.post("/things/{number}", status_code=201, dependencies=[Depends(caller)])
        async def make(
            number: int,
            body: Body,
            tx: Annotated[str, tx],
            claimed: Annotated[str, Depends(claim)],
            window: Annotated[Window, Depends()],
            response: Response,
        ) -> dict[str, Any]:
            self.calls.append("make")
            response.headers["x-made"] = "yes"
            if body.name == "again":
                response.status_code = 200
            if body.name == "fail":
                raise LookupError("no")
            return {"number": number, "name": body.name, "tx": tx, "claimed": claimed, "limit": window.limit}

        @router.get("/things")
        async def read(window: Annotated[Window, Depends()]) -> dict[str, int]:
            return {"limit": window.limit}

        @router.get("/raw", response_model=dict[str, int])
        async def raw() -> Response:
            return Response("as it is", 202, headers={"x-raw": "1"})

        @router.delete("/things/{number}", status_code=204)
        async def remove(number: int, tx: Annotated[str, tx], response: Response) -> Response:
            self.calls.append("remove")
            response.headers["x-lost"] = "what answers by itself says all of it"
            return Response(f"{number} of {tx}", 410, headers={"x-raw": "1"})

        async def swallowing() -> AsyncIterator[None]:
            with suppress(LookupError):
                yield

        @router.get("/fails/{how}", dependencies=[Depends(swallowing, scope="function")])
        async def fails(how: str) -> dict[str, int]:
            raise FAILURES[how]

        self.router = router
        self.app = FastAPI()
        install_errors(self.app)
        self.app.router.routes.extend(flat([router]))
        self.app.add_middleware(RouteIndex, router=self.app.router)


REQUESTS: tuple[tuple[str, str, Any, dict[str, str]], ...] = (
    ("POST", "/things/7", {"name": "a"}, {}),
    ("POST", "/things/7?limit=3", {"name": "a", "size": 2}, {"who": "ann", "key": "k"}),
    ("POST", "/things/7", {"name": "again"}, {}),
    ("POST", "/things/7?", {"name": "a"}, {"Request-Trace": "9"}),
    ("POST", "/things/7?tags=a&tags=b", {"name": "a"}, {"REQUEST-TRACE": "x"}),
    ("POST", "/things/7?tags=a&tags=b", {"name": "a"}, {"request_trace": "9"}),
    ("POST", "/things/x?limit=99", {"size": "b"}, {"key": "longer"}),
    ("POST", "/things/7", {}, {}),
    ("POST", "/things/7", None, {}),
    ("GET", "/things", None, {}),
    ("GET", "/things?limit=0", None, {}),
    ("GET", "/raw", None, {}),
    ("POST", "/raw", None, {}),
    ("DELETE", "/things/7", None, {"who": "ann"}),
    ("DELETE", "/things/x", None, {}),
    ("GET", "/nothing", None, {}),
    *(("GET", f"/fails/{how}", None, {}) for how in FAILURES),
)


async def _ask(shop: Shop, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(app=shop.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        return await client.request(method, path, json=body, headers=headers)


def _tag(answer: httpx.Response) -> set[tuple[str, str]]:
    """What `MannerlyRoute` adds to FastAPI's answers."""
    return {(name, value) for name, value in answer.headers.items() if name == "etag"}


@pytest.mark.parametrize("made_of", [MannerlyRoute, PlannedRoute])
@pytest.mark.parametrize(("method", "path", "body", "headers"), REQUESTS)
async def test_a_planned_route_answers_as_fastapi_does(
    made_of: type[PlannedRoute], method: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    ours, theirs = Shop(APIRouter(route_class=made_of)), Shop(APIRouter())
    one, other = [await _ask(shop, method, path, body, headers) for shop in (ours, theirs)]
    assert one.status_code == other.status_code
    if one.status_code == 422:
        told = [answer.json()["errors"] for answer in (one, other)]
        assert all(error in told[0] for error in told[1]) and len(told[0]) <= len(told[1])
    else:
        assert one.content == other.content
        assert sorted(set(one.headers.items()) - _tag(one)) == sorted(other.headers.items())
    assert list(dict.fromkeys(ours.calls)) == list(dict.fromkeys(theirs.calls))


async def test_all_of_these_routes_are_planned() -> None:
    routes = [route for route in Shop(ApiRouter()).router.routes if isinstance(route, MannerlyRoute)]
    assert len(routes) == 5
    assert all(route.plan is not None for route in routes)


async def test_a_transaction_ends_before_the_answer_and_takes_a_failure_back() -> None:
    shop = Shop(ApiRouter())
    assert (await _ask(shop, "POST", "/things/7", {"name": "a"}, {})).status_code == 201
    assert shop.calls == ["caller", "open", "claim", "make", "commit", "close"]
    shop.calls.clear()
    assert (await _ask(shop, "POST", "/things/7", {"name": "fail"}, {})).status_code == 500
    assert shop.calls == ["caller", "open", "claim", "make", "close"]


async def test_routes_that_an_application_includes_are_fastapis_own_affair() -> None:
    shop = Shop(ApiRouter())
    shop.app = FastAPI()
    shop.app.include_router(shop.router)
    shop.app.dependency_overrides = {Window: lambda: type("Other", (), {"limit": 42})()}
    assert (await _ask(shop, "GET", "/things", None, {})).json() == {"limit": 42}
