"""Decides whether a bearer credential is a caller. Implements `web.auth`'s `Authenticator`."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from app.infra.database import Database
from app.infra.waiting import set_within
from app.kernel.principal import Principal
from app.platform.identity import repository
from app.platform.identity.domain import StoredKey, check_key, hash_key, parse_key

CACHE_SECONDS = 5.0
"""How long a verified key is trusted without asking the database: the longest that a revocation can go unseen."""

CACHE_KEYS = 10_000
FLUSH_SECONDS = 30.0
REFRESH_SECONDS = 1.0
"""How often keys that are in use and soon too old are read anew: many in one question, for which no request waits."""

REFRESHED = FLUSHED = 500
"""Read, and written, in one question."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Verified:
    """`asked`: it was used again since it was read."""

    until: float
    public_id: str
    stored: StoredKey
    principal: Principal
    asked: bool = False

    @classmethod
    def of(cls, public_id: str, stored: StoredKey, *, read_at: float) -> "_Verified":
        principal = Principal(
            tenant_id=stored.tenant_id, key_id=stored.id, mode=stored.mode, scopes=stored.scopes, user_id=stored.user_id
        )
        return cls(read_at + CACHE_SECONDS, public_id, stored, principal)


class KeyAuthenticator:
    """Verifies API keys of `cell`. Keeps hashes of good keys for `CACHE_SECONDS`; never a key, never a failure."""

    def __init__(self, database: Database, *, cell: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._cell = cell
        self._monotonic = monotonic
        self._verified: dict[bytes, _Verified] = {}
        self._used: dict[tuple[UUID, UUID], datetime] = {}

    async def authenticate(self, credential: str, *, now: datetime) -> Principal:
        """The caller. Raises `malformed_api_key`, `wrong_cell`, `invalid_api_key`, `api_key_revoked|expired`."""
        digest = hash_key(credential)  # of all of it: what is known by it has the right form and cell
        known = self._verified.get(digest)
        if known is None or known.until <= self._monotonic():
            self._verified.pop(digest, None)
            known = await self._verify(credential, digest, now=now)
        else:
            known.asked = True
        stored = check_key(known.stored, digest, now=now)
        self._used[stored.tenant_id, stored.id] = now
        return known.principal

    async def _verify(self, credential: str, digest: bytes, *, now: datetime) -> _Verified:
        parsed, asked = parse_key(credential, cell=self._cell), self._monotonic()
        stored = check_key(await repository.find_key(self._database.pool, parsed.key_id), digest, now=now)
        while len(self._verified) >= CACHE_KEYS:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = _Verified.of(parsed.key_id, stored, read_at=asked)
        return self._verified[digest]

    async def refresh(self) -> None:
        """Read the keys that are in use anew before they are too old. A key that is gone is forgotten."""
        now = self._monotonic()
        soon = now + 1.5 * REFRESH_SECONDS
        due = [(digest, key) for digest, key in self._verified.items() if key.asked and now < key.until <= soon]
        for start in range(0, len(due), REFRESHED):
            some = due[start : start + REFRESHED]
            read_at = self._monotonic()
            found = await repository.find_keys(self._database.pool, [key.public_id for _, key in some])
            for digest, key in some:
                stored = found.get(key.public_id)
                if self._verified.get(digest) is not key:
                    continue  # it was asked for meanwhile
                if stored is None or stored.revoked_at is not None:
                    del self._verified[digest]
                else:
                    self._verified[digest] = _Verified.of(key.public_id, stored, read_at=read_at)

    async def flush(self) -> None:
        """Write when keys were last used: once a period, not once a request. What could not be written is kept."""
        noted = list(self._used.items())
        for start in range(0, len(noted), FLUSHED):
            some = dict(noted[start : start + FLUSHED])
            await repository.keys_used(self._database.pool, some)
            for key, at in some.items():
                if self._used.get(key) == at:  # it was not used meanwhile
                    del self._used[key]

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: refresh every `REFRESH_SECONDS`, flush every `FLUSH_SECONDS`, and once at the end."""
        flushed = self._monotonic()
        while not stop.is_set():
            await set_within(stop, REFRESH_SECONDS)
            try:
                await self.refresh()
            except Exception as error:
                log.warning("identity.keys_not_refreshed", error=repr(error))
            if not stop.is_set() and self._monotonic() - flushed < FLUSH_SECONDS:
                continue
            flushed = self._monotonic()
            try:
                await self.flush()
            except Exception as error:
                log.warning("identity.last_used_not_written", error=repr(error))
