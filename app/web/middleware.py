"""Decides what surrounds every request: its id, size limits, security headers, one log line, one last resort."""

import re
import time
from collections.abc import Callable
from itertools import chain
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.infra.logs import log_request
from app.infra.telemetry import bind_request
from app.kernel.ids import new_id
from app.web.context import sent_headers
from app.web.cors import NoOrigins, Origins, allow, is_preflight, preflight
from app.web.errors import http_problem, problem, unexpected
from app.web.limits import headers_of, shown

MAX_BODY_BYTES = 256 * 1024
MAX_HEADER_BYTES = 16 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"vary", b"Origin"),
)
_POLICY = b"content-security-policy"
_CACHE = b"cache-control"
_OWN = frozenset({_POLICY, _CACHE})
_CONTENT_POLICY = b"default-src 'none'; frame-ancestors 'none'"
_DOCS_POLICY = (  # the page and its script come from FastAPI's template and its CDN
    b"default-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"frame-ancestors 'none'"
)
_QUIET = ("/livez", "/readyz", "/metrics")

Observer = Callable[[str, str, int, float], None]
"""Takes method, route template, status and seconds of a finished request: the metrics of `infra.telemetry`."""

log = structlog.get_logger(__name__)


class RequestBoundary:
    """Plain ASGI (Starlette's BaseHTTPMiddleware costs a task a request). Outermost but for the server's own."""

    def __init__(self, app: ASGIApp, *, observe: Observer, origins: Origins | None = None) -> None:
        self._app = app
        self._observe = observe
        self._origins = origins or NoOrigins()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = sent_headers(scope)
        given = asked.get(b"request-id", b"").decode("latin-1")
        request_id = given if given and _REQUEST_ID.fullmatch(given) else new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        bind_request(request_id)
        reply = _Reply(scope, send, request_id, no_store=b"authorization" in asked or b"cookie" in asked)
        began = time.perf_counter()
        try:
            origin = asked[b"origin"].decode("latin-1") if b"origin" in asked else None
            if origin is not None and await self._origins.registered(origin):
                reply.origin = scope["state"]["origin"] = origin
            refused = _refusal(scope, asked.get(b"content-length"))
            if refused is not None:
                await http_problem(refused, request_id)(scope, receive, reply)
            elif origin is not None and is_preflight(scope["method"], Headers(scope=scope)):
                answer = preflight() if reply.origin else _refused_origin(request_id)
                await answer(scope, receive, reply)
            else:
                await self._app(scope, _limited(receive), reply)
        except Exception as error:
            if reply.status is not None:
                log.error("request.broke_off", exc_info=error)
                raise
            await unexpected(error, request_id)(scope, receive, reply)
        finally:
            self._record(scope, reply.status, time.perf_counter() - began)

    def _record(self, scope: Scope, status: int | None, seconds: float) -> None:
        route = _route_of(scope)
        self._observe(scope["method"], route, status or 499, seconds)
        if route not in _QUIET:
            log_request(method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))


class Surrounded(FastAPI):
    """An application whose `RequestBoundary` is outermost. What FastAPI wraps around all middleware has nothing left to
    do: the boundary bounds bodies and answers every exception; telling a span is around the application itself."""

    def build_middleware_stack(self) -> ASGIApp:
        stack: Any = super().build_middleware_stack()
        while not isinstance(stack, RequestBoundary):
            stack = stack.app
        return stack


def _refused_origin(request_id: str) -> Response:
    return problem(
        403,
        "origin_not_allowed",
        "Pages of this origin may not call the API; register the origin with your application.",
        request_id=request_id,
        param="Origin",
    )


def _refusal(scope: Scope, length: bytes | None) -> int | None:
    if sum(map(len, chain.from_iterable(scope["headers"]))) > MAX_HEADER_BYTES:
        return 431
    return 413 if length is not None and length.isdigit() and int(length[:20]) > MAX_BODY_BYTES else None


def _limited(receive: Receive) -> Receive:
    """`receive` that raises 413 once a body without (or with a false) Content-Length grows too large."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise HTTPException(413)
        return message

    return limited


class _Reply:
    """`send` that adds the headers every answer carries, and remembers the status."""

    def __init__(self, scope: Scope, send: Send, request_id: str, *, no_store: bool) -> None:
        self.status: int | None = None
        self.origin: str | None = None
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._no_store = no_store

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.setdefault("headers", [])  # pairs of bytes: `MutableHeaders` looks for each name anew
            own = [name for name, _ in headers if name in _OWN]  # a route that answers with a page has its own policy
            if self._no_store:
                if _CACHE in own:
                    headers[:] = [(name, value) for name, value in headers if name != _CACHE]
                headers.append((_CACHE, b"no-store"))
            headers += ((b"request-id", self._request_id.encode()), *_SECURITY)
            if _POLICY not in own:
                headers.append((_POLICY, _DOCS_POLICY if self._scope["path"] == "/docs" else _CONTENT_POLICY))
            if (verdict := shown(self._scope)) is not None:
                headers += headers_of(verdict)
            if self.origin is not None:
                allow(MutableHeaders(raw=headers), self.origin)
        await self._send(message)


def _route_of(scope: Scope) -> str:
    """The route's template, so that ids never become metric labels; `unmatched` for a path that no route takes."""
    route = scope.get("route")
    return str(getattr(route, "path_format", "")) or "unmatched"
