"""Decides how a key is claimed and how its answer is kept: both in the transaction of the effect."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from app.infra.database import Tx
from app.infra.idempotency.tables import IdempotencyKey
from app.kernel.errors import DomainError, Kind
from app.kernel.principal import Principal

KEPT = timedelta(hours=24)
REPLACED = ("route", "fingerprint", "status", "headers", "body", "subject_id", "created_at", "expires_at")
_BEGIN = text("select * from idempotency_begin(:tenant, :id)")
_INSERT = insert(IdempotencyKey)
_FINISH = _INSERT.on_conflict_do_update(
    index_elements=["tenant_id", "id"],  # an expired row that is not pruned yet
    set_={name: getattr(_INSERT.excluded, name) for name in REPLACED},
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One key of one caller on one route, and what was asked with it."""

    id: UUID
    route: str
    fingerprint: str
    expires_at: datetime

    def as_dict(self) -> dict[str, str]:
        """What `idempotency_record` takes."""
        return {
            "id": str(self.id),
            "route": self.route,
            "fingerprint": self.fingerprint,
            "expires_at": self.expires_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What the first request was answered. `body` is None when it held a secret, which is never kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


def caller_of(principal: Principal) -> str:
    """Whose keys they are: a credential's, and of a client that acts for people, the person's."""
    return f"{principal.key_id}/{principal.user_id or ''}"


def claim(principal: Principal, *, route: str, key: str, fingerprint: str, now: datetime) -> Claim:
    """The claim of `principal` to `key`. Callers and routes have their keys to themselves."""
    digest = hashlib.sha256("\x1f".join((caller_of(principal), route, key)).encode()).digest()
    return Claim(UUID(bytes=digest[:16]), route, fingerprint, now + KEPT)


def reused() -> DomainError:
    """The key was sent before with another request."""
    return DomainError(
        "idempotency_key_reused",
        Kind.INVALID,
        "This Idempotency-Key was used for another request within a day; use a new key for a new request.",
        param="Idempotency-Key",
    )


async def begin(tx: Tx, wanted: Claim) -> Answer | None:
    """Hold the key until `tx` ends; what it was answered before, or None when it is new.

    Raises `idempotency_in_progress`, or `idempotency_key_reused` for another request under the same key.
    """
    found = (await tx.execute(_BEGIN, {"tenant": tx.tenant_id, "id": wanted.id})).one_or_none()
    if found is None:
        return None
    if found.busy:
        raise DomainError(
            "idempotency_in_progress",
            Kind.CONFLICT,
            "A request with this Idempotency-Key is running; send it again in a second to get its answer.",
            param="Idempotency-Key",
            retry_after_s=1,
        )
    if found.fingerprint != wanted.fingerprint:
        raise reused()
    return Answer(found.status, found.headers, None if found.body is None else bytes(found.body))


async def finish(tx: Tx, held: Claim, answer: Answer, *, now: datetime) -> None:
    """Keep the answer; it is committed with what the request did, or not at all."""
    row: dict[str, Any] = {
        "tenant_id": tx.tenant_id,
        "id": held.id,
        "route": held.route,
        "fingerprint": held.fingerprint,
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body,
        "subject_id": None,
        "created_at": now,
        "expires_at": held.expires_at,
    }
    await tx.execute(_FINISH, row)


async def prune(dispatch: asyncpg.Pool, *, now: datetime, limit: int = 10_000) -> int:
    """Forget what has expired, of all tenants. The daemon calls it again while it answers `limit`."""
    gone: int = await dispatch.fetchval("select idempotency_prune($1, $2)", now, limit)
    return gone
