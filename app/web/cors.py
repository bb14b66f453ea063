"""Decides which web pages may call the API: those whose origin an application has registered, without cookies."""

from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

METHODS = "GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = (
    "Authorization, Content-Type, DPoP, Idempotency-Key, If-Match, If-None-Match, Mandi-Version, Request-Id"
)
EXPOSED = (
    "ETag, Idempotent-Replayed, Location, Mandi-Version, RateLimit, RateLimit-Policy, Request-Id, Retry-After, "
    "WWW-Authenticate"
)
PREFLIGHT_SECONDS = 7200


class Origins(Protocol):
    """Knows the origins that may call. Asked once a request, without waiting: keep them in memory."""

    def allowed(self, origin: str) -> bool:
        """Whether pages of `origin` (`https://app.example.com`, as browsers send it) may read answers."""
        ...


class NoOrigins:
    """No web page may call."""

    def allowed(self, origin: str) -> bool:
        return False


def is_preflight(method: str, headers: Headers) -> bool:
    """A browser asks whether the real request may be sent."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight() -> Response:
    """The answer to an allowed origin: what it may send, for two hours. Its other headers come from `allow`."""
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": REQUEST_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
    return Response(status_code=204, headers=headers)


def allow(headers: MutableHeaders, origin: str) -> None:
    """Let pages of `origin` read the answer. Never `*`, never with credentials: tokens travel in Authorization."""
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = EXPOSED
