"""Decides how signing keys are made, rotated, published and loaded. The active key of an algorithm signs, by name.

Never hand a whole key set to the signer: it would pick any key of it, also one that is published and not yet in use.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import asyncpg
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from app.infra.crypto.sealer import OpenedSealer, PlatformSealer
from app.kernel.errors import DomainError, Kind
from app.kernel.ids import uuid7
from app.platform.oauth import repository
from app.platform.oauth.domain import (
    ACCESS_ALGORITHM,
    ALGORITHMS,
    KeyFacts,
    KeyState,
    Rotation,
    is_published,
    plan_rotation,
)

RING_SECONDS = 10.0
"""How long a process works with the keys it read. `PUBLISHED_AHEAD` is far longer, so no signature is ever unknown."""

Key = ECKey | RSAKey
_REGISTRY = JWSRegistry(algorithms=ALGORITHMS)
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that signs an algorithm's tokens now."""

    kid: str
    algorithm: str
    key: Key = field(repr=False)

    def sign(self, claims: dict[str, Any], *, typ: str) -> str:
        """A JWT that names its key: without `kid` nobody could verify it beside a second key.

        The library's algorithm signs. Its `jwt.encode` looks at header, key and registry anew for each token, which
        took more than twice the signature's own time; ours were made here.
        """
        signed = _protected(self.algorithm, self.kid, typ) + b"." + _base64url(_compact(claims))
        signature = _REGISTRY.get_alg(self.algorithm).sign(signed, self.key)
        return (signed + b"." + _base64url(signature)).decode()


@lru_cache(maxsize=16)
def _protected(algorithm: str, kid: str, typ: str) -> bytes:
    return _base64url(_compact({"alg": algorithm, "kid": kid, "typ": typ}))


def _compact(claims: dict[str, Any]) -> bytes:
    return _encode(claims).encode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The platform's keys at one moment."""

    signers: Mapping[str, Signer]
    verifiers: Mapping[str, tuple[str, Key]] = field(repr=False)
    published: Sequence[dict[str, Any]] = field(repr=False)

    def signer(self, algorithm: str) -> Signer:
        """Raises `signing_key_missing`."""
        found = self.signers.get(algorithm)
        if found is None:
            raise DomainError(
                "signing_key_missing", Kind.UNAVAILABLE, "No key signs tokens yet: run `mandi keys rotate`."
            )
        return found

    def verifier(self, kid: Any, algorithm: str) -> Key | None:
        """The published key `kid`, if it is one of `algorithm`."""
        known, key = self.verifiers.get(kid, ("", None)) if isinstance(kid, str) else ("", None)
        return key if known == algorithm else None


class Keys:
    """Reads the key ring and keeps it for `RING_SECONDS`."""

    def __init__(
        self, pool: asyncpg.Pool, sealer: PlatformSealer, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._sealer = sealer
        self._monotonic = monotonic
        self._unsealed: dict[str, Key] = {}
        self._ring: Keyring | None = None
        self._until = 0.0

    async def ring(self, *, now: datetime) -> Keyring:
        """The keys as of at most `RING_SECONDS` ago."""
        if self._ring is None or self._monotonic() >= self._until:
            asked = self._monotonic()
            self._ring = await self._read(await repository.signing_keys(self._pool), now=now)
            self._until = asked + RING_SECONDS
        return self._ring

    async def _read(self, rows: Sequence[asyncpg.Record], *, now: datetime) -> Keyring:
        shown = [row for row in rows if is_published(KeyState(row["state"]), row["retired_at"], now=now)]
        signers = {
            row["algorithm"]: Signer(row["kid"], row["algorithm"], await self._unseal(row))
            for row in shown
            if row["state"] == KeyState.ACTIVE
        }
        self._unsealed = {signer.kid: signer.key for signer in signers.values()}
        public = {row["kid"]: json.loads(row["public_jwk"]) for row in shown}
        verifiers = {row["kid"]: (row["algorithm"], _import(public[row["kid"]])) for row in shown}
        return Keyring(signers, verifiers, list(public.values()))

    async def _unseal(self, row: asyncpg.Record) -> Key:
        known = self._unsealed.get(row["kid"])
        if known is not None:
            return known
        pem = await self._sealer.unseal(row["private_sealed"], context=_associated(row["kid"]))
        return _import(pem, row["algorithm"])


def _import(source: "dict[str, Any] | bytes", algorithm: str = "") -> Key:
    elliptic = source["kty"] == "EC" if isinstance(source, dict) else algorithm == ACCESS_ALGORITHM
    return ECKey.import_key(source) if elliptic else RSAKey.import_key(source)


def _associated(kid: str) -> bytes:
    return f"oauth_signing_keys:{kid}".encode()


def _generate(algorithm: str, kid: str) -> Key:
    parameters: Any = {"kid": kid, "use": "sig", "alg": algorithm}
    if algorithm == ACCESS_ALGORITHM:
        return ECKey.generate_key("P-256", parameters)
    return RSAKey.generate_key(2048, parameters)


@dataclass(frozen=True, slots=True)
class Rotated:
    """One key that a rotation moved or made."""

    kid: str
    algorithm: str
    state: str


async def rotate_keys(
    reference: asyncpg.Pool, sealer: PlatformSealer, *, now: datetime, compromised: bool = False
) -> list[Rotated]:
    """Make the next keys sign, and new ones next. Raises `next_key_too_young`; then nothing has changed."""
    done: list[Rotated] = []
    opened = await sealer.opened()  # which may ask a key service: before the transaction
    async with reference.acquire() as connection, connection.transaction():
        await repository.lock_signing_keys(connection)
        rows = await repository.signing_keys(connection)
        for algorithm in ALGORITHMS:
            facts = [
                KeyFacts(row["kid"], KeyState(row["state"]), row["created_at"], row["retired_at"])
                for row in rows
                if row["algorithm"] == algorithm
            ]
            plan = plan_rotation(facts, now=now, compromised=compromised)
            done += await _carry_out(connection, opened, plan, algorithm, now=now)
    return done


async def ensure_keys(reference: asyncpg.Pool, sealer: PlatformSealer, *, now: datetime) -> None:
    """Make the first keys of a new platform. Every gateway asks; one of them makes them."""
    rows = await repository.signing_keys(reference)
    if {row["algorithm"] for row in rows if row["state"] == KeyState.ACTIVE} == set(ALGORITHMS):
        return
    opened = await sealer.opened()
    async with reference.acquire() as connection, connection.transaction():
        await repository.lock_signing_keys(connection)
        rows = await repository.signing_keys(connection)
        active = {row["algorithm"] for row in rows if row["state"] == KeyState.ACTIVE}
        for algorithm in ALGORITHMS:
            if algorithm not in active:
                await _carry_out(connection, opened, plan_rotation([], now=now), algorithm, now=now)


async def _carry_out(
    connection: asyncpg.Connection, sealer: OpenedSealer, plan: Rotation, algorithm: str, *, now: datetime
) -> list[Rotated]:
    for kid, state in plan.moves:
        await repository.move_signing_key(connection, kid, state, at=now)
    made = []
    for state in plan.new:
        kid = f"{algorithm.lower()}-{secrets.token_hex(8)}"
        key = await asyncio.to_thread(_generate, algorithm, kid)
        sealed = sealer.seal(key.as_pem(private=True), _associated(kid))
        row = (uuid7(), kid, algorithm, state.value, json.dumps(key.as_dict(private=False)), sealed, now)
        await repository.add_signing_key(connection, row)
        made.append((kid, state))
    return [Rotated(kid, algorithm, state.value) for kid, state in (*plan.moves, *made)]
