"""Decides how API keys are found: by their public id before the tenant is known, by row id after."""

from collections.abc import Sequence
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
_USED = "SELECT identity_keys_used($1, $2, $3)"


async def find_key(pool: asyncpg.Pool, key_id: str) -> StoredKey | None:
    """The key with this public id, of whatever tenant."""
    row = await pool.fetchrow(_LOOKUP, key_id)
    if row is None:
        return None
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


async def keys_used(pool: asyncpg.Pool, tenant_id: UUID, ids: Sequence[UUID], at: datetime) -> None:
    """Note that the tenant's keys were used at `at`."""
    await pool.fetchval(_USED, tenant_id, list(ids), at)


async def keys(tx: Tx, cursor: Cursor) -> Sequence[ApiKey]:
    """One row more than the page."""
    return (await tx.scalars(cursor.apply(select(ApiKey), cast(Any, ApiKey.id)))).all()
