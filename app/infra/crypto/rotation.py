"""Decides how keys change: key-encryption keys by wrapping data keys anew, data keys by sealing values anew.

Both go in small steps that are each committed and each checked against what was read, so a killed rotation is
continued by the next run, two at once do no harm, and everything can be opened at any moment.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg
from sqlmodel import SQLModel

from app.infra.crypto import store
from app.infra.crypto.envelope import UnsealError, key_id_of, place_of, seal_with, unseal_with
from app.infra.crypto.sealer import DataKey, DataKeys, ErasedError, context_of
from app.infra.crypto.tables import PLATFORM, SEALED
from app.infra.database import Database
from app.kernel.errors import conflict

BATCH = 200
_FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values in a table with the primary key (tenant_id, id). Names come from our own models."""

    table: str
    column: str

    @property
    def read(self) -> str:
        return (
            f"SELECT id, {self.column} AS sealed FROM {self.table} "  # noqa: S608  # names of our own models
            f"WHERE tenant_id = $1 AND id > $2 AND {self.column} IS NOT NULL ORDER BY id LIMIT $3"
        )

    @property
    def write(self) -> str:
        return (
            f"UPDATE {self.table} SET {self.column} = $3 "  # noqa: S608  # names of our own models
            f"WHERE tenant_id = $1 AND id = $2 AND {self.column} = $4"
        )


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a run did. `began` is False when it continued what an earlier run, or a new setting, had begun.

    `failed` are tenants of whom a data key could not be unwrapped: the next run tries them again.
    """

    began: bool
    changed: int
    failed: tuple[UUID, ...] = ()


def sealed_columns() -> list[SealedColumn]:
    """Every column that a tenant's model marks as sealed (`tables.sealed_column`)."""
    return [
        SealedColumn(table.name, column.name)
        for table in SQLModel.metadata.sorted_tables
        for column in table.columns
        if SEALED in column.info and "tenant_id" in table.columns
    ]


async def rotate_key_encryption(database: Database, keys: DataKeys) -> Rotation:
    """Wrap every data key under the keeper's current key; begin a new one first, unless some still wait for this one.

    Sealed values are not touched, and key-encryption keys never leave their keeper.
    """
    current = await keys.keeper.current()
    continued = await _rewrap_waiting(database, keys, current)
    if continued.changed:
        return continued
    return replace(await _rewrap_waiting(database, keys, await keys.keeper.rotate()), began=True)


async def _rewrap_waiting(database: Database, keys: DataKeys, current: str) -> Rotation:
    changed, failed = 0, []
    for tenant_id in await store.tenants_under_others(database.dispatch, current):
        try:
            changed += await _rewrap_all(keys, tenant_id, current)
        except UnsealError:
            failed.append(tenant_id)
    return Rotation(False, changed, tuple(failed))


async def _rewrap_all(keys: DataKeys, tenant_id: UUID, current: str) -> int:
    changed = 0
    for stored in await store.open_keys(keys.pool, tenant_id):
        old = stored.wrapped
        if old is not None and old.kek_id != current:
            context = context_of(tenant_id, stored.id)
            new = await keys.keeper.wrap(await keys.keeper.unwrap(old, context), context)
            changed += await store.rewrap(keys.pool, tenant_id, stored.id, old=old, new=new)
    return changed


async def rotate_tenant(
    database: Database, keys: DataKeys, tenant_id: UUID, *, columns: Sequence[SealedColumn] | None = None
) -> Rotation:
    """A new data key for the tenant; then its sealed columns, in batches, under that key.

    Values that other processes seal meanwhile already use the new key; those under an older one can be opened
    throughout. `columns` are all that models mark, by default. Of `PLATFORM` only the key changes: its values are
    bound to what their owners say, and move when they are next written. Raises `no_data_key`.
    """
    began = await _begin(keys, tenant_id)
    changed = 0
    if tenant_id != PLATFORM:
        for column in sealed_columns() if columns is None else columns:
            changed += await _sweep(database.pool, keys, tenant_id, column)
    await store.retire(database.pool, tenant_id)
    async with database.tx(tenant_id) as tx:
        tx.emit("secrets.rotated", tenant_id, {"values": changed})
    return Rotation(began, changed)


async def _begin(keys: DataKeys, tenant_id: UUID) -> bool:
    """Whether a new key took the active one's place; False when an earlier rotation still has values to move."""
    old = await store.active_key(keys.pool, tenant_id)
    if old is None:
        raise conflict("no_data_key", "This tenant has no data key: nothing is sealed for it. Check the id.")
    stored = await store.open_keys(keys.pool, tenant_id)
    if any(key.state == "retiring" for key in stored):
        return False
    new, wrapped = await keys.make(tenant_id)
    return await store.supersede(keys.pool, tenant_id, old.id, new, wrapped)


async def _sweep(pool: asyncpg.Pool, keys: DataKeys, tenant_id: UUID, column: SealedColumn) -> int:
    active = await keys.active(tenant_id)
    changed, after = 0, _FIRST
    while True:
        async with store.as_tenant(pool, tenant_id) as connection:
            rows = await connection.fetch(column.read, tenant_id, after, BATCH)
        if not rows:
            return changed
        after = rows[-1]["id"]
        resealed = [one async for one in _resealed(keys, tenant_id, column, active, rows)]
        async with store.as_tenant(pool, tenant_id) as connection:
            for row_id, sealed, old in resealed:
                done = await connection.execute(column.write, tenant_id, row_id, sealed, old)
                changed += done == "UPDATE 1"  # 0: rewritten meanwhile, so under the new key by itself


async def _resealed(
    keys: DataKeys, tenant_id: UUID, column: SealedColumn, active: DataKey, rows: Iterable[asyncpg.Record]
) -> AsyncIterator[tuple[UUID, bytes, bytes]]:
    for row in rows:
        key_id = key_id_of(row["sealed"])
        if key_id != active.id:
            place = place_of(tenant_id, column.table, column.column, row["id"])
            try:
                key = await keys.by_id(tenant_id, key_id)
            except ErasedError:
                continue  # erased on purpose: there is nothing to move
            plaintext = unseal_with(key.key, row["sealed"], place)
            yield row["id"], seal_with(active.key, active.id, plaintext, place), row["sealed"]
