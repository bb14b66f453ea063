"""Decides what the services about people work with, and how a browser that logged in before is recognised."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from app.infra.database import Database
from app.platform.people.ports import Endings, Sealer
from app.platform.people.service.hashing import Hasher
from app.platform.people.service.throttle import Throttle

_COMMON = Path(__file__).parents[1] / "library" / "common_passwords.txt"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever sends a request, before we know who it is. `device` is the browser's device cookie."""

    ip: str | None = None
    user_agent: str | None = None
    device: str | None = None

    def __repr__(self) -> str:
        return f"Visitor({self.ip})"


@dataclass(frozen=True, slots=True)
class People:
    """Everything the services need, for the life of a process.

    `device_key` signs device cookies, `letter_key` seals what waits to be mailed.
    """

    database: Database
    hasher: Hasher
    throttle: Throttle
    sealer: Sealer
    endings: Endings
    device_key: bytes = field(repr=False)
    letter_key: bytes = field(repr=False)
    mail_due: asyncio.Event = field(default_factory=asyncio.Event)

    async def close(self) -> None:
        self.hasher.close()
        await self.throttle.close()

    def device_for(self, email: str, visitor: Visitor) -> str:
        """The device cookie of a browser on which `email` has just logged in: its own again, or a new one."""
        name = self.known_device(visitor.device, email) or secrets.token_urlsafe(16)
        return f"{name}.{self._device_mac(name, email)}"

    def known_device(self, cookie: str | None, email: str) -> str | None:
        """The device's name when `email` logged in on it before: the cookie of another person counts for nothing."""
        name, _, mac = (cookie or "").partition(".")
        if not name or not hmac.compare_digest(mac.encode(), self._device_mac(name, email).encode()):
            return None
        return name

    def _device_mac(self, name: str, email: str) -> str:
        return hmac.new(self.device_key, f"{name}\x00{email}".encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=1)
def common_passwords() -> Collection[str]:
    """The passwords and words that everybody tries first, in lower case."""
    return frozenset(line for line in _COMMON.read_text().splitlines() if line and not line.startswith("#"))
