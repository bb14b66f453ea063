"""The gateway before two tenants with a row in every table: the attacker's requests, and what they must not show."""

import io
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import httpx
import structlog
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from app.infra.logs import configure_logging
from app.infra.settings import Settings
from app.kernel.ids import encode_id
from app.main import create_app
from app.platform.tenancy.domain import BUILT_IN, Role
from tests.factories.members import make_person
from tests.factories.tenants import make_key
from tests.integration.isolation.catalogue import GLOBAL_TABLES
from tests.integration.isolation.pair import Pair, seed
from tests.integration.isolation.shots import Gun, Kinds

KINDS: Kinds = {}
"""Learnt once for all scenes of a process: the routes are the same."""

KEY = "key"
CALLERS = (KEY, *(role.value for role in BUILT_IN))
"""Who attacks: a key that no person answers for, and a member of each built-in role."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The gateway, two tenants with a row in every table, and what the gateway logged."""

    app: FastAPI
    client: httpx.AsyncClient
    pair: Pair
    log: io.StringIO

    @property
    def shared_id(self) -> UUID:
        return UUID(self.pair.victim.rows["instruments"]["id"])

    async def gun(self, caller: str) -> Gun:
        database, attacker = self.app.state.app.database, self.pair.attacker.own_id
        if caller == KEY:
            headers = (await make_key(database, attacker)).headers
        else:
            headers = (await make_person(database, attacker, Role(caller))).headers
        return Gun(self.client, headers, attacker, self.shared_id, KINDS)

    @property
    def markers(self) -> set[str]:
        """What nobody but the victim may be shown."""
        return markers_of(self.pair.victim.own_id, self.pair.victim.rows)


def markers_of(own_id: UUID, rows: dict[str, dict[str, str | None]]) -> set[str]:
    """Texts that occur in nobody else's rows: the id, the random values."""
    everyones = {value for name in GLOBAL_TABLES & rows.keys() for value in rows[name].values()}
    owned = [row for name, row in rows.items() if name not in GLOBAL_TABLES and str(own_id) in row.values()]
    values = {value for row in owned for value in row.values() if value and re.fullmatch(r"x[0-9a-f]{16}", value)}
    return values - everyones | {str(own_id), encode_id("x", own_id)[2:]}


async def _make_pair(settings: Settings) -> Pair:
    """A pair of this module's own: requests change the attacker's rows."""
    assert settings.migrate_database_url is not None
    owner = await asyncpg.connect(settings.migrate_database_url.get_secret_value())
    try:
        pair = await seed(owner)
        for side in (pair.victim, pair.attacker):
            async with owner.transaction():
                await owner.execute("select set_config('app.tenant_id', $1, true)", str(side.own_id))
                await owner.execute("delete from tenant_keys")  # invented: nothing can be sealed with them
        return pair
    finally:
        await owner.close()


@asynccontextmanager
async def open_scene(settings: Settings) -> AsyncIterator[Scene]:
    """A gateway of its own, which logs into `Scene.log` once that is asked for."""
    app, log = create_app(settings), io.StringIO()
    handlers = logging.getLogger().handlers[:]
    configure_logging("gateway", level="CRITICAL", stream=log)
    transport = httpx.ASGITransport(app=app)
    try:
        async with (
            LifespanManager(app, startup_timeout=30, shutdown_timeout=30),
            httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
        ):
            yield Scene(app, client, await _make_pair(settings), log)
    finally:
        logging.getLogger().handlers[:] = handlers
        structlog.reset_defaults()
