"""Decides how much may be asked from one address without a good credential, before any work is done for it.

A call without a bearer credential is charged to its address first. A call with one is charged afterwards, when nobody
else was: its credential was not good. An address that has used up its rate is refused by memory alone, before
its credential is looked up; exits are not, since they might be a neighbour's behind the same address.
"""

import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.infra.buckets import Bucket, Level, Rate, Verdict
from app.infra.rates import RateStore
from app.web.context import gateway_behind, request_id_of, sent_headers
from app.web.errors import STATUS, problem
from app.web.limits import rate_limited, show, shown

ANONYMOUS = "anonymous"
REMEMBERED = 10_000
_UNLIMITED = ("/livez", "/readyz", "/metrics")


def source_of(scope: Scope) -> str:
    """Who is calling: an IPv4 address, or the /64 network that one IPv6 customer is given."""
    client = scope.get("client")
    return _network_of(client[0]) if client else "unknown"


@lru_cache(maxsize=REMEMBERED)
def _network_of(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "unknown"
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped or ipaddress.ip_network((address, 64), strict=False))


def _bears_credential(scope: Scope) -> bool:
    """Whether it names a key or token of the API. A client that signs in with Basic does not: hashing is dear."""
    return sent_headers(scope).get(b"authorization", b"").partition(b" ")[0].lower() in (b"bearer", b"dpop")


class Sources:
    """What addresses have used up. `rate`: calls without a good credential from one address."""

    def __init__(self, rates: RateStore, rate: Rate, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._rate = rate
        self._monotonic = monotonic
        self._refused: dict[str, float] = {}

    async def charge(self, source: str) -> Verdict:
        """Count one call of `source`, and remember a refusal for as long as it lasts."""
        verdict = await self._rates.take([self._bucket(source)], 1)
        if not verdict.admitted:
            self._refused[source] = self._monotonic() + verdict.wait_us / 1_000_000
            while len(self._refused) > REMEMBERED:
                del self._refused[next(iter(self._refused))]
        return verdict

    def refused(self, source: str) -> Verdict | None:
        """The refusal that still holds for `source`, from memory."""
        until = self._refused.get(source)
        if until is None:
            return None
        wait_us = int((until - self._monotonic()) * 1_000_000)
        if wait_us <= 0:
            del self._refused[source]
            return None
        full_in_us = self._rate.quota * self._rate.interval_us
        return Verdict(False, wait_us, (self._bucket(source),), (Level(0, full_in_us),))

    def refuse(self, scope: Scope) -> None:
        """Raises `rate_limited` when the request's address has used up its rate."""
        verdict = self.refused(source_of(scope))
        if verdict is not None:
            show(scope, verdict)
            raise rate_limited(verdict)

    def _bucket(self, source: str) -> Bucket:
        return Bucket(ANONYMOUS, f"rate:{ANONYMOUS}:{source}", self._rate)


class SourceBoundary:
    """Plain ASGI, inside `RequestBoundary`: charges addresses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        served = gateway_behind(scope) if scope["type"] == "http" else None
        if served is None or scope["path"] in _UNLIMITED:
            await self._app(scope, receive, send)
            return

        sources = served.sources
        anonymous = not _bears_credential(scope)
        if anonymous:
            source = source_of(scope)
            verdict = sources.refused(source) or await sources.charge(source)
            show(scope, verdict)
            if not verdict.admitted:
                error = rate_limited(verdict)
                request_id = request_id_of(HTTPConnection(scope))
                answer = problem(STATUS[error.kind], error.code, error.message, request_id=request_id)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
        if not anonymous and shown(scope) is None:
            await sources.charge(source_of(scope))
