"""Decides what a request can reach: the process's database, clock and authenticator, put on the app by `main`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from app.infra.database import Database
from app.kernel.principal import Principal
from app.web.limits import Limiter

if TYPE_CHECKING:
    from app.web.sources import Sources


class Authenticator(Protocol):
    """Turns a bearer credential into a caller. `main` injects identity's; an authorization server is another one."""

    async def authenticate(self, credential: str, *, now: datetime) -> Principal:
        """The caller. Raises `DomainError` of kind `unauthenticated`, with the same answer for every wrong secret."""
        ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the web layer works with, for the life of the process. `redis` may be down: orders do not need it."""

    database: Database
    redis: Redis
    authenticator: Authenticator
    cell: str
    clock: Callable[[], datetime]
    limiter: Limiter
    sources: "Sources"


def gateway_of(connection: HTTPConnection) -> Gateway:
    """The gateway that `main` opened."""
    gateway: Gateway = connection.app.state.gateway
    return gateway


async def now(connection: HTTPConnection) -> datetime:
    """The wall clock, aware UTC: `Annotated[datetime, Depends(now)]`."""
    return gateway_of(connection).clock()


def request_id_of(connection: HTTPConnection) -> str:
    """The id that this request's answer carries as `Request-Id`."""
    request_id: str = connection.scope.get("state", {}).get("request_id", "")
    return request_id
