"""Decides how data keys are read and written: in short transactions of their own, on the plain pool.

Never in the caller's: unwrapping may ask a key management service, and no transaction stays open across the network.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from app.infra.crypto.ports import Wrapped

_ACTIVE = "SELECT id, state, wrapped, kek_id FROM tenant_keys WHERE tenant_id = $1 AND state = 'active'"
_BY_ID = "SELECT id, state, wrapped, kek_id FROM tenant_keys WHERE tenant_id = $1 AND id = $2"
_OPEN = "SELECT id, state, wrapped, kek_id FROM tenant_keys WHERE tenant_id = $1 AND state <> 'destroyed'"
_INSERT = """
INSERT INTO tenant_keys (tenant_id, id, version, wrapped, kek_id, state)
SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, 'active' FROM tenant_keys WHERE tenant_id = $1
ON CONFLICT DO NOTHING
"""
_SUPERSEDE = "UPDATE tenant_keys SET state = 'retiring' WHERE tenant_id = $1 AND id = $2 AND state = 'active'"
_RETIRE = "UPDATE tenant_keys SET state = 'retired' WHERE tenant_id = $1 AND state = 'retiring'"
_REWRAP = "UPDATE tenant_keys SET wrapped = $3, kek_id = $4 WHERE tenant_id = $1 AND id = $2 AND wrapped = $5"
_UNDER_OTHERS = "SELECT DISTINCT tenant_id FROM tenant_keys WHERE kek_id <> $1 AND state <> 'destroyed' ORDER BY 1"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of `tenant_keys`. `wrapped` is None once it is destroyed."""

    id: UUID
    state: str
    wrapped: Wrapped | None


@asynccontextmanager
async def as_tenant(pool: asyncpg.Pool, tenant_id: UUID) -> AsyncIterator[asyncpg.Connection]:
    """One transaction of the plain pool that sees the tenant's rows."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(tenant_id))
        yield connection


async def active_key(pool: asyncpg.Pool, tenant_id: UUID) -> StoredKey | None:
    """The key that seals now; None before the tenant's first secret."""
    async with as_tenant(pool, tenant_id) as connection:
        return _stored(await connection.fetchrow(_ACTIVE, tenant_id))


async def key_by_id(pool: asyncpg.Pool, tenant_id: UUID, key_id: UUID) -> StoredKey | None:
    """The tenant's key with this id, in any state."""
    async with as_tenant(pool, tenant_id) as connection:
        return _stored(await connection.fetchrow(_BY_ID, tenant_id, key_id))


async def open_keys(pool: asyncpg.Pool, tenant_id: UUID) -> list[StoredKey]:
    """Every key of the tenant that is not destroyed."""
    async with as_tenant(pool, tenant_id) as connection:
        return [key for row in await connection.fetch(_OPEN, tenant_id) if (key := _stored(row)) is not None]


async def insert_active(pool: asyncpg.Pool, tenant_id: UUID, key_id: UUID, wrapped: Wrapped) -> None:
    """Store a first key. Somebody else's that came first stays, and this one is dropped."""
    async with as_tenant(pool, tenant_id) as connection:
        await connection.execute(_INSERT, tenant_id, key_id, wrapped.data, wrapped.kek_id)


async def supersede(pool: asyncpg.Pool, tenant_id: UUID, old: UUID, new: UUID, wrapped: Wrapped) -> bool:
    """Put `new` in the place of the active key `old`; False when `old` is no longer active, and nothing changed."""
    async with as_tenant(pool, tenant_id) as connection:
        if await connection.execute(_SUPERSEDE, tenant_id, old) != "UPDATE 1":
            return False
        await connection.execute(_INSERT, tenant_id, new, wrapped.data, wrapped.kek_id)
        return True


async def retire(pool: asyncpg.Pool, tenant_id: UUID) -> None:
    """Note that nothing in the swept columns rests on the retiring keys any more."""
    async with as_tenant(pool, tenant_id) as connection:
        await connection.execute(_RETIRE, tenant_id)


async def rewrap(pool: asyncpg.Pool, tenant_id: UUID, key_id: UUID, *, old: Wrapped, new: Wrapped) -> bool:
    """Replace the wrapping, unless somebody did or destroyed the key meanwhile."""
    async with as_tenant(pool, tenant_id) as connection:
        done: str = await connection.execute(_REWRAP, tenant_id, key_id, new.data, new.kek_id, old.data)
    return done == "UPDATE 1"


async def tenants_under_others(dispatch: asyncpg.Pool, kek_id: str) -> list[UUID]:
    """Whose keys are wrapped by another key-encryption key than `kek_id`, of all tenants and the platform."""
    return [row["tenant_id"] for row in await dispatch.fetch(_UNDER_OTHERS, kek_id)]


def _stored(row: asyncpg.Record | None) -> StoredKey | None:
    if row is None:
        return None
    wrapped = None if row["wrapped"] is None else Wrapped(row["wrapped"], row["kek_id"])
    return StoredKey(row["id"], row["state"], wrapped)
