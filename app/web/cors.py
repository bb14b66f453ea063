"""Decides which web pages may call the API: those whose origin an application has registered, with its own tokens.

A preflight carries no credential, so it asks whether any application has registered the origin; the request itself is
refused unless that is the application whose token it carries. Cookies are of no use from elsewhere.
"""

from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.kernel.errors import DomainError, Kind
from app.kernel.principal import Principal

METHODS = "GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Mandi-Act-As, Request-Id"
)
EXPOSED = "ETag, Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, Request-Id, Retry-After, WWW-Authenticate"
PREFLIGHT_SECONDS = 7200


class Origins(Protocol):
    """Knows the origins (`https://app.example.com`, as browsers send them) that may call. `main` injects OAuth's."""

    async def registered(self, origin: str) -> bool:
        """Whether any application has registered it: its pages may read answers. Asked at every request that has one,
        before anybody is authenticated; never raises."""
        ...

    async def admits(self, principal: Principal, origin: str) -> bool:
        """Whether the application that `principal`'s token is of has registered it."""
        ...


class NoOrigins:
    """No web page may call."""

    async def registered(self, origin: str) -> bool:
        return False

    async def admits(self, principal: Principal, origin: str) -> bool:
        return False


def origin_of(connection: HTTPConnection) -> str | None:
    """The origin of the page that calls, if some application has registered it.

    What nobody has registered is no page from elsewhere that could read the answer: our own pages, or a program.
    """
    origin: str | None = connection.scope.get("state", {}).get("origin")
    return origin


def foreign_page() -> DomainError:
    """The page's origin is registered, but not with the application whose credential it sent."""
    return DomainError(
        "origin_not_allowed",
        Kind.FORBIDDEN,
        "Pages of this origin call with access tokens of the application that registered it (cors_origins), and with "
        "nothing else.",
        param="Origin",
    )


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
