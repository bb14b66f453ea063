"""Decides how a secret is stored: sealed under its tenant's data key, which lives in memory for a minute at most."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
from sqlalchemy import text

from app.infra.crypto import store
from app.infra.crypto.envelope import (
    KEY_BYTES,
    UnsealError,
    bind,
    key_id_of,
    place_of,
    seal_with,
    unseal_with,
)
from app.infra.crypto.ports import Context, KeyKeeper, Wrapped
from app.infra.crypto.tables import PLATFORM
from app.infra.database import Tx
from app.kernel.ids import uuid7

CACHE_SECONDS = 60.0
"""How long an unwrapped data key stays in memory: the longest that a process can still open what was erased."""

CACHE_KEYS = 10_000
_ERASE = text(
    "UPDATE tenant_keys SET wrapped = NULL, state = 'destroyed' "
    "WHERE tenant_id = :tenant AND state <> 'destroyed' RETURNING id"
)


class ErasedError(UnsealError):
    """The key was destroyed on purpose: what it sealed is gone for good."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key in the clear. It is never stored, logged or returned to a caller of this package."""

    id: UUID
    key: bytes = field(repr=False)


class DataKeys:
    """Finds, makes and unwraps data keys of tenants and of the platform."""

    def __init__(
        self, pool: asyncpg.Pool, keeper: KeyKeeper, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.pool = pool
        self.keeper = keeper
        self._monotonic = monotonic
        self._open: dict[tuple[UUID, UUID], tuple[float, DataKey]] = {}

    async def active(self, tenant_id: UUID) -> DataKey:
        """The key that seals now, made at the first use. Always asks the database, so a rotation counts at once."""
        while True:
            stored = await store.active_key(self.pool, tenant_id)
            if stored is not None:
                return await self._unwrapped(tenant_id, stored)
            made = await self.make(tenant_id)
            await store.insert_active(self.pool, tenant_id, *made)

    async def by_id(self, tenant_id: UUID, key_id: UUID) -> DataKey:
        """The tenant's key with this id. Raises `ErasedError`, and `UnsealError` when the tenant has none such."""
        cached = self._cached(tenant_id, key_id)
        if cached is not None:
            return cached
        stored = await store.key_by_id(self.pool, tenant_id, key_id)
        if stored is None:
            raise UnsealError("this value was sealed under a key that its tenant does not have")
        return await self._unwrapped(tenant_id, stored)

    async def make(self, tenant_id: UUID) -> tuple[UUID, Wrapped]:
        """A new data key: its id, and itself wrapped. Not stored yet."""
        key_id = uuid7()
        return key_id, await self.keeper.wrap(os.urandom(KEY_BYTES), context_of(tenant_id, key_id))

    def forget(self, tenant_id: UUID) -> None:
        """Drop the tenant's keys from this process's memory."""
        for place in [place for place in self._open if place[0] == tenant_id]:
            del self._open[place]

    async def _unwrapped(self, tenant_id: UUID, stored: store.StoredKey) -> DataKey:
        cached = self._cached(tenant_id, stored.id)
        if cached is not None:
            return cached
        if stored.wrapped is None:
            raise ErasedError("the key of this value was destroyed: the value is erased")
        asked = self._monotonic()
        key = await self.keeper.unwrap(stored.wrapped, context_of(tenant_id, stored.id))
        opened = DataKey(stored.id, key)
        self._open[tenant_id, stored.id] = (asked + CACHE_SECONDS, opened)
        while len(self._open) > CACHE_KEYS:
            del self._open[next(iter(self._open))]
        return opened

    def _cached(self, tenant_id: UUID, key_id: UUID) -> DataKey | None:
        until, key = self._open.get((tenant_id, key_id), (0.0, None))
        if key is not None and until <= self._monotonic():
            del self._open[tenant_id, key_id]
            return None
        return key


class Sealer:
    """Seals and opens values of tenants' columns. `tenant` is a transaction or a tenant's id.

    Both calls may ask the key management service, and use no connection of the caller's: call them before the first
    statement of a transaction where possible. Raise `keys_unavailable`; `unseal` also `UnsealError`.
    """

    def __init__(self, keys: DataKeys) -> None:
        self.keys = keys
        self.platform = PlatformSealer(keys)

    async def seal(self, tenant: Tx | UUID, table: str, column: str, row_id: UUID, plaintext: bytes) -> bytes:
        """`plaintext` for this column of this row of this tenant, and for no other place."""
        tenant_id = _id_of(tenant)
        key = await self.keys.active(tenant_id)
        return seal_with(key.key, key.id, plaintext, place_of(tenant_id, table, column, row_id))

    async def unseal(self, tenant: Tx | UUID, table: str, column: str, row_id: UUID, sealed: bytes) -> bytes:
        """What was sealed at this place."""
        tenant_id = _id_of(tenant)
        key = await self.keys.by_id(tenant_id, key_id_of(sealed))
        return unseal_with(key.key, sealed, place_of(tenant_id, table, column, row_id))

    async def erase(self, tx: Tx) -> int:
        """Destroy every data key of the transaction's tenant; how many. What they sealed is gone once it commits.

        Other processes forget the keys within `CACHE_SECONDS`. Backups keep the secret as long as they keep
        `tenant_keys`. A later `seal` begins with a new key.
        """
        destroyed = (await tx.scalars(_ERASE, {"tenant": tx.tenant_id})).all()
        if destroyed:
            tx.emit("secrets.erased", tx.tenant_id, {"keys": len(destroyed)})
        self.keys.forget(tx.tenant_id)
        return len(destroyed)


class PlatformSealer:
    """Seals what belongs to no tenant: signing keys, one-time-password secrets of people.

    `context` says where the value lies (table, column, primary key); it opens with the same bytes only.
    """

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    async def seal(self, data: bytes, *, context: bytes) -> bytes:
        """`data` for the place that `context` names."""
        key = await self._keys.active(PLATFORM)
        return seal_with(key.key, key.id, data, _platform_place(context))

    async def unseal(self, sealed: bytes, *, context: bytes) -> bytes:
        """What was sealed with this context."""
        key = await self._keys.by_id(PLATFORM, key_id_of(sealed))
        return unseal_with(key.key, sealed, _platform_place(context))

    async def opened(self) -> "OpenedSealer":
        """The same without `await`, for code that cannot wait (inside `run_sync`). Ask anew for each use."""
        active = await self._keys.active(PLATFORM)
        ids = [stored.id for stored in await store.open_keys(self._keys.pool, PLATFORM)]
        return OpenedSealer(active, [await self._keys.by_id(PLATFORM, key_id) for key_id in ids])


class OpenedSealer:
    """The platform's keys of one moment, in memory. It knows no key that was made later: do not keep it."""

    def __init__(self, active: DataKey, keys: Iterable[DataKey]) -> None:
        self._active = active
        self._keys = {key.id: key for key in (*keys, active)}

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """`plaintext` for the place that `associated` names."""
        return seal_with(self._active.key, self._active.id, plaintext, _platform_place(associated))

    def unseal(self, sealed: bytes, associated: bytes) -> bytes:
        """What was sealed with these associated data."""
        key = self._keys.get(key_id_of(sealed))
        if key is None:
            raise UnsealError("this value was sealed under a key that was made later, or is gone")
        return unseal_with(key.key, sealed, _platform_place(associated))


def context_of(tenant_id: UUID, key_id: UUID) -> Context:
    """What a wrapped data key is bound to: it unwraps in no other tenant's row, nor under another id."""
    owner = "platform" if tenant_id == PLATFORM else str(tenant_id)
    return {"mandi:purpose": "data-key", "mandi:owner": owner, "mandi:key": str(key_id)}


def _platform_place(context: bytes) -> bytes:
    return bind(b"platform", context)


def _id_of(tenant: Tx | UUID) -> UUID:
    return tenant.tenant_id if isinstance(tenant, Tx) else tenant
