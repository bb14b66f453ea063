"""Decides whose web pages may call the API: those whose origin an application in force has registered."""

import time
from collections.abc import Callable

import structlog

from app.infra.database import Database
from app.infra.outages import UNANSWERED
from app.kernel.principal import Principal
from app.platform.oauth import repository

REMEMBERED_SECONDS = 10.0
"""How long it may take until a page of a new application may call. One that is revoked ends with its tokens."""

MAX_REMEMBERED = 4096
MAX_LENGTH = 400
log = structlog.get_logger(__name__)


class ClientOrigins:
    """Implements `web`'s `Origins`. `database` is called at the first request: the app is made before it is opened."""

    def __init__(self, database: Callable[[], Database], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, bool]] = {}

    async def registered(self, origin: str) -> bool:
        """By any application in force, of whatever tenant. False while the database does not say."""
        until, known = self._known.get(origin, (0.0, False))
        if until > self._monotonic() or len(origin) > MAX_LENGTH:
            return known
        try:
            found = await repository.is_registered_origin(self._database().pool, origin)
        except UNANSWERED as error:
            log.warning("oauth.origins_unknown", error=type(error).__name__)
            return False
        self._known.pop(origin, None)
        while len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[origin] = (self._monotonic() + REMEMBERED_SECONDS, found)
        return found

    async def admits(self, principal: Principal, origin: str) -> bool:
        """By the application that the token is of, also when it acts for another tenant. An API key is of none."""
        async with self._database().tx(principal.home_tenant_id or principal.tenant_id) as tx:
            return await repository.client_registered(tx, principal.key_id, origin)
