"""Decides what a request can reach: the process's database, clock and authenticator, put on the app by `main`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from redis.asyncio import Redis
from starlette.requests import HTTPConnection
from starlette.types import Scope

from app.infra.database import Database
from app.infra.events.hub import EventHub
from app.infra.work.backlog import Backlog
from app.kernel.principal import Principal
from app.web.cors import Origins
from app.web.limits import Limiter

if TYPE_CHECKING:
    from app.web.sources import Sources

_GATEWAY = "mandi.gateway"
_HEADERS = "mandi.headers"


class Authenticator(Protocol):
    """Turns a bearer credential into a caller. `main` injects identity's; an authorization server is another one."""

    async def authenticate(self, credential: str, *, now: datetime) -> Principal:
        """The caller. Raises `DomainError` of kind `unauthenticated`, with the same answer for every wrong secret."""
        ...


class Quotes(Protocol):
    """Last prices. `main` injects the market's."""

    async def watch(self, instrument_ids: Collection[UUID]) -> tuple[int, list[dict[str, Any]], list[UUID]]:
        """A place to ask `changed` from, the present quotes, and the ids of no instrument."""
        ...

    def changed(self, since: int, instrument_ids: Collection[UUID]) -> tuple[int, list[dict[str, Any]]]:
        """Where to ask from next, and the quotes that are later than `since`."""
        ...


class Admission(Protocol):
    """Knows what a caller may do beyond his credential's scopes. `main` injects tenancy's."""

    async def check(self, principal: Principal, permissions: Sequence[str], *, exits: bool, now: datetime) -> None:
        """Raises `DomainError` of kind `forbidden` unless the caller may do all of `permissions`.

        `exits`: the operation only takes risk or power away, which neither a plan nor a suspension stop.
        """
        ...

    async def act_as(self, principal: Principal, grant_id: UUID, *, now: datetime) -> Principal:
        """The caller in the place of the tenant that his grant names. Raises `DomainError` of kind `forbidden`."""
        ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the web layer works with, for the life of the process. `redis` may be down: orders do not need it."""

    database: Database
    redis: Redis
    authenticator: Authenticator
    admission: Admission
    origins: Origins
    cell: str
    clock: Callable[[], datetime]
    hub: EventHub
    quotes: Quotes
    limiter: Limiter
    sources: "Sources"
    backlog: Backlog


def gateway_of(connection: HTTPConnection) -> Gateway:
    """The gateway that `main` opened."""
    gateway: Gateway = gateway_behind(connection.scope) or connection.app.state.gateway
    return gateway


def gateway_behind(scope: Scope) -> Gateway | None:
    """The gateway that serves a request, kept with it; None before `main` has opened one."""
    known: Gateway | None = scope.get(_GATEWAY)
    if known is None:
        known = scope[_GATEWAY] = getattr(scope["app"].state, "gateway", None)
    return known


def sent_headers(scope: Scope) -> dict[bytes, bytes]:
    """What the request's headers say, the first of each name, in lower case. (`Headers` looks for each name anew.)"""
    known: dict[bytes, bytes] | None = scope.get(_HEADERS)
    if known is None:
        known = scope[_HEADERS] = dict(reversed(scope["headers"]))
    return known


def sent_header(scope: Scope, name: bytes) -> str | None:
    """One of `sent_headers`, which are Latin-1."""
    value = sent_headers(scope).get(name)
    return None if value is None else value.decode("latin-1")


async def now(connection: HTTPConnection) -> datetime:
    """The wall clock, aware UTC: `Annotated[datetime, Depends(now)]`."""
    return gateway_of(connection).clock()


def request_id_of(connection: HTTPConnection) -> str:
    """The id that this request's answer carries as `Request-Id`."""
    request_id: str = connection.scope.get("state", {}).get("request_id", "")
    return request_id
