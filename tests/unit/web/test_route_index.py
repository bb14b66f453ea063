"""The index over routes answers every request as the router behind it does, routes that are added later among them."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.routing import APIRoute
from starlette.types import Message

from app.web.routing import MannerlyRoute, RouteIndex, flat

PATHS = (
    *("/", "/livez", "/livez/", "/v1", "/v1/", "/v1/orders", "/v1/orders/", "/v1/orders/7", "/v1/orders/7/cancel"),
    *(
        "/v1/order",
        "/v1/ordersx",
        "/v1/templates",
        "/v1/else",
        "/v1//orders",
        "//v1/orders",
        "/people/ann",
        "/people/me",
        "/people/you",
    ),
    *("/people/ann/mail", "/people", "/v2/orders", "/openapi.json", "/v1/orders/7/cancel/now", "/v1/late"),
)


def _app(*, indexed: bool, made_of: type[APIRoute] = APIRoute) -> FastAPI:
    app = FastAPI()
    app.router.route_class = made_of
    orders = APIRouter(prefix="/v1/orders", route_class=made_of)
    people = APIRouter(prefix="/people", route_class=made_of)
    orders.get("")(lambda: "orders")
    orders.post("")(lambda: "placed")
    orders.get("/{number}")(lambda number: f"order {number}")
    orders.post("/{number}/cancel")(lambda number: f"cancelled {number}")
    people.get("/me")(lambda: "me")
    people.get("/{name}")(lambda name: f"person {name}")
    people.get("/you")(lambda: "never: the route before takes it")
    people.get("/{name}/mail")(lambda name: f"mail of {name}")

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("here")
        await socket.close()

    app.get("/livez")(lambda: "alive")
    for router in (orders, people):
        if made_of is MannerlyRoute:  # as the gateway does it: their paths are then found without a search
            app.router.routes.extend(flat([router]))
        else:
            app.include_router(router)
    app.get("/v1/templates")(lambda: "templates")
    app.add_api_websocket_route("/v1/stream", echo)
    if indexed:
        app.add_middleware(RouteIndex, router=app.router)
    return app


async def _answers(app: FastAPI) -> list[tuple[str, str, int, str, str | None]]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        found = []
        for path in PATHS:
            for method in ("GET", "POST", "DELETE"):
                answer = await client.request(method, f"http://test{path}")
                found.append((method, path, answer.status_code, answer.text, answer.headers.get("location")))
        return found


@pytest.mark.asyncio
@pytest.mark.parametrize("made_of", [APIRoute, MannerlyRoute])
async def test_every_path_is_answered_as_without_the_index(made_of: type[APIRoute]) -> None:
    plain, indexed = _app(indexed=False), _app(indexed=True, made_of=made_of)
    expected = await _answers(plain)
    assert {status for _, _, status, _, _ in expected} == {200, 307, 404, 405}
    assert await _answers(indexed) == expected
    for app in (plain, indexed):
        app.get("/v1/late")(lambda: "late")
    assert ("GET", "/v1/late", 200, '"late"', None) in await _answers(indexed)
    assert await _answers(indexed) == await _answers(plain)


@pytest.mark.asyncio
async def test_a_socket_is_found_by_the_index() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/stream", "headers": [], "query_string": b"", "subprotocols": []}
    await _app(indexed=True)(scope, receive, send)
    assert [message.get("text") for message in sent if message["type"] == "websocket.send"] == ["here"]


@pytest.mark.asyncio
async def test_a_path_that_begins_with_a_parameter_is_refused_at_the_first_request() -> None:
    app = _app(indexed=True)
    app.get("/{anything}")(lambda anything: anything)
    with pytest.raises(ValueError, match="a path begins with a word"):
        await _answers(app)
