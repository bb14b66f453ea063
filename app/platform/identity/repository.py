"""Decides how API keys are found: by their public id before the tenant is known, by row id after."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlmodel import select

from app.infra.database import Tx
from app.kernel.orders import Mode
from app.platform.identity.domain import StoredKey
from app.platform.identity.tables import ApiKey
from app.web.cursors import Cursor

_LOOKUP = "SELECT * FROM identity_api_key($1)"
_LOOKUPS = "SELECT asked.key_id, k.* FROM unnest($1::text[]) AS asked (key_id), identity_api_key(asked.key_id) k"
_USED = "SELECT identity_keys_used($1, $2, $3)"


async def find_key(pool: asyncpg.Pool, key_id: str) -> StoredKey | None:
    """The key with this public id, of whatever tenant."""
    row = await pool.fetchrow(_LOOKUP, key_id)
    return None if row is None else _stored(row)


async def find_keys(pool: asyncpg.Pool, key_ids: Sequence[str]) -> dict[str, StoredKey]:
    """The same of several, by public id, in one question."""
    return {row["key_id"]: _stored(row) for row in await pool.fetch(_LOOKUPS, list(key_ids))}


def _stored(row: asyncpg.Record) -> StoredKey:
    return StoredKey(
        tenant_id=row["tenant_id"],
        id=row["id"],
        secret_hash=row["secret_hash"],
        scopes=frozenset(row["scopes"]),
        mode=Mode(row["mode"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        user_id=row["user_id"],
    )


async def keys_in_force(tx: Tx) -> Sequence[ApiKey]:
    statement = select(ApiKey).where(cast(Any, ApiKey.tenant_id) == tx.tenant_id)
    return (await tx.scalars(statement.where(cast(Any, ApiKey.revoked_at).is_(None)))).all()


async def keys_used(pool: asyncpg.Pool, used: Mapping[tuple[UUID, UUID], datetime]) -> None:
    """Note when keys, by tenant and id, were used."""
    places = sorted(used)
    await pool.fetchval(_USED, [it[0] for it in places], [it[1] for it in places], [used[it] for it in places])


async def keys(tx: Tx, cursor: Cursor) -> Sequence[ApiKey]:
    """One row more than the page."""
    return (await tx.scalars(cursor.apply(select(ApiKey), cast(Any, ApiKey.id)))).all()
