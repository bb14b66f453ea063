"""Keys rotate while everything can be opened; kill -9 in the middle leaves what the next run completes."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from sqlmodel import select

from app.infra.crypto.envelope import key_id_of
from app.infra.crypto.rotation import SealedColumn, rotate_key_encryption, rotate_tenant, sealed_columns
from app.infra.crypto.sealer import DataKeys, Sealer
from app.infra.crypto.store import as_tenant, tenants_under_others
from app.infra.crypto.tables import PLATFORM
from app.infra.events.tables import EventRow
from app.infra.process import App
from app.infra.settings import Settings
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id, uuid7

pytestmark = pytest.mark.timeout(300)
ROW = UUID(int=1)
_ROTATE_TABLE = """
import asyncio
from app.bootstrap import bootstrap
from app.infra.crypto.rotation import SealedColumn, rotate_tenant
from app.infra.settings import load_settings
from uuid import UUID

async def main():
    async with bootstrap(load_settings()) as app:
        await rotate_tenant(
            app.database, app.sealer.keys, UUID("{tenant}"), columns=[SealedColumn("{table}", "secret")]
        )

asyncio.run(main())
"""


_WAITING = "wait_event_type = 'Lock' and query like $1"


@dataclass
class Vault:
    """A table of sealed values outside of the schema that migrations own."""

    app: App
    admin: asyncpg.Connection
    onlooker: asyncpg.Connection
    column: SealedColumn

    async def fill(self, tenant_id: UUID, count: int) -> list[UUID]:
        """`count` rows, each sealing its own id as text, in the order of their ids."""
        ids = sorted(uuid7() for _ in range(count))
        for row_id in ids:
            sealed = await self.app.sealer.seal(tenant_id, self.column.table, "secret", row_id, str(row_id).encode())
            async with as_tenant(self.app.database.pool, tenant_id) as connection:
                await connection.execute(
                    f"insert into {self.column.table} values ($1, $2, $3)", tenant_id, row_id, sealed
                )
        return ids

    async def sealed(self, tenant_id: UUID) -> dict[UUID, bytes]:
        rows = await self.admin.fetch(f"select id, secret from {self.column.table} where tenant_id = $1", tenant_id)
        return {row["id"]: row["secret"] for row in rows}

    async def opens(self, tenant_id: UUID) -> None:
        """Every value can be opened by a process that has just started."""
        keys = self.app.sealer.keys
        fresh = Sealer(DataKeys(keys.pool, keys.keeper))
        for row_id, sealed in (await self.sealed(tenant_id)).items():
            opened = await fresh.unseal(tenant_id, self.column.table, "secret", row_id, sealed)
            assert opened == str(row_id).encode()

    async def states(self, tenant_id: UUID) -> list[str]:
        rows = await self.admin.fetch("select state from tenant_keys where tenant_id = $1 order by version", tenant_id)
        return [row["state"] for row in rows]


@pytest_asyncio.fixture
async def vault(app: App, database_urls: dict[str, str]) -> AsyncIterator[Vault]:
    url = database_urls["admin"].rpartition("/")[0] + "/mandi"
    admin, onlooker = await asyncpg.connect(url), await asyncpg.connect(url)
    schema = f"vault_{uuid7().hex}"
    await admin.execute(
        f"create schema {schema}; grant usage on schema {schema} to mandi_app;"
        f"create table {schema}.secrets (tenant_id uuid, id uuid, secret bytea, primary key (tenant_id, id));"
        f"grant select, insert, update on {schema}.secrets to mandi_app"
    )
    yield Vault(app, admin, onlooker, SealedColumn(f"{schema}.secrets", "secret"))
    await admin.execute(f"drop schema {schema} cascade")
    await admin.close()
    await onlooker.close()


def environment(settings: Settings) -> dict[str, str]:
    """What a process of its own needs to work on the test's database."""
    urls = {
        "APP_DATABASE_URL": settings.app_database_url,
        "DISPATCH_DATABASE_URL": settings.dispatch_database_url,
        "REFERENCE_DATABASE_URL": settings.reference_database_url,
        "REDIS_URL": settings.redis_url,
    }
    plain = {name: url.get_secret_value() for name, url in urls.items()}
    return os.environ | plain | {"MANDI_DATA_DIR": str(settings.data_dir), "MANDI_ENVIRONMENT": "local"}


async def begin(settings: Settings, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment(settings), cwd=Path(__file__).parents[3],
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def someone_waits(vault: Vault, table: str, process: Process | None = None) -> None:
    """Until an UPDATE of `table` waits for the lock that this test holds."""
    async with asyncio.timeout(100):  # a process that starts on a busy machine
        while not await vault.onlooker.fetchval(
            f"select count(*) from pg_stat_activity where {_WAITING}", f"UPDATE {table}%"
        ):
            assert process is None or process.returncode is None, await process.communicate()
            await asyncio.sleep(0.02)


async def killed_at(vault: Vault, process: Process, table: str) -> None:
    """Kill -9 the process once it stands at the locked row; end its database session, as the server soon would."""
    await someone_waits(vault, table, process)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    await vault.onlooker.execute(
        f"select pg_terminate_backend(pid) from pg_stat_activity where {_WAITING}", f"UPDATE {table}%"
    )


async def ran(settings: Settings, *arguments: str) -> str:
    process = await begin(settings, *arguments)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_a_new_key_encryption_key_wraps_data_keys_anew_and_touches_no_value(app: App, vault: Vault) -> None:
    tenants = [uuid7(), uuid7()]
    for tenant_id in tenants:
        await vault.fill(tenant_id, 2)
    platform = await app.sealer.platform.seal(b"p", context=b"ad")
    before = [await vault.sealed(tenant_id) for tenant_id in tenants]
    old = await app.sealer.keys.keeper.current()
    done = await rotate_key_encryption(app.database, app.sealer.keys)
    new = await app.sealer.keys.keeper.current()
    assert done.began and done.changed >= 3 and old != new
    assert not set(tenants) & set(await tenants_under_others(app.database.dispatch, new))
    assert [await vault.sealed(tenant_id) for tenant_id in tenants] == before
    for tenant_id in tenants:
        await vault.opens(tenant_id)
    fresh = Sealer(DataKeys(app.database.pool, app.sealer.keys.keeper))
    assert await fresh.platform.unseal(platform, context=b"ad") == b"p"


async def test_two_rotations_at_once_do_no_harm(app: App, vault: Vault) -> None:
    tenant_id = uuid7()
    await vault.fill(tenant_id, 3)
    await asyncio.gather(*(rotate_key_encryption(app.database, app.sealer.keys) for _ in range(3)))
    await asyncio.gather(
        *(rotate_tenant(app.database, app.sealer.keys, tenant_id, columns=[vault.column]) for _ in range(3))
    )
    await vault.opens(tenant_id)
    assert (await vault.states(tenant_id)).count("active") == 1


async def test_a_rotated_tenants_values_move_to_the_new_key(app: App, vault: Vault) -> None:
    tenant_id, other = uuid7(), uuid7()
    await vault.fill(tenant_id, 5)
    await vault.fill(other, 1)
    theirs = await vault.sealed(other)
    old = {key_id_of(sealed) for sealed in (await vault.sealed(tenant_id)).values()}
    done = await rotate_tenant(app.database, app.sealer.keys, tenant_id, columns=[vault.column])
    new = {key_id_of(sealed) for sealed in (await vault.sealed(tenant_id)).values()}
    assert (done.began, done.changed) == (True, 5)
    assert len(new) == 1 and not new & old
    assert await vault.states(tenant_id) == ["retired", "active"]
    assert await vault.sealed(other) == theirs
    await vault.opens(tenant_id)
    async with app.database.tx(tenant_id) as tx:
        (event,) = (await tx.scalars(select(EventRow))).all()
    assert (event.type, event.data) == ("secrets.rotated", {"values": 5})


async def test_what_nobody_swept_still_opens_after_a_rotation(app: App, vault: Vault) -> None:
    tenant_id = uuid7()
    await vault.fill(tenant_id, 1)
    sealed = await app.sealer.seal(tenant_id, "elsewhere", "c", ROW, b"x")
    for _ in range(2):
        await rotate_tenant(app.database, app.sealer.keys, tenant_id, columns=[])
    fresh = Sealer(DataKeys(app.database.pool, app.sealer.keys.keeper))
    assert await fresh.unseal(tenant_id, "elsewhere", "c", ROW, sealed) == b"x"
    await vault.opens(tenant_id)
    done = await rotate_tenant(app.database, app.sealer.keys, tenant_id, columns=[vault.column])
    assert done.changed == 1
    await vault.opens(tenant_id)


async def test_a_value_written_during_a_rotation_is_not_overwritten(app: App, vault: Vault) -> None:
    tenant_id = uuid7()
    (row_id,) = await vault.fill(tenant_id, 1)
    place = (tenant_id, vault.column.table, "secret", row_id)
    async with vault.admin.transaction():
        await vault.admin.execute(
            f"update {vault.column.table} set secret = $2 where id = $1", row_id, await app.sealer.seal(*place, b"new")
        )
        rotating = asyncio.create_task(rotate_tenant(app.database, app.sealer.keys, tenant_id, columns=[vault.column]))
        await someone_waits(vault, vault.column.table)
    assert (await rotating).changed == 0
    (sealed,) = (await vault.sealed(tenant_id)).values()
    assert await app.sealer.unseal(*place, sealed) == b"new"


async def test_values_of_a_destroyed_key_do_not_stop_a_rotation(app: App, vault: Vault) -> None:
    tenant_id = uuid7()
    await vault.fill(tenant_id, 2)
    async with app.database.tx(tenant_id) as tx:
        await app.sealer.erase(tx)
    await app.sealer.seal(tenant_id, "t", "c", ROW, b"x")
    done = await rotate_tenant(app.database, app.sealer.keys, tenant_id, columns=[vault.column])
    assert (done.began, done.changed) == (True, 0)


async def test_a_tenant_without_secrets_has_nothing_to_rotate(app: App) -> None:
    tenant_id = uuid7()
    with pytest.raises(DomainError, match="no data key"):
        await rotate_tenant(app.database, app.sealer.keys, tenant_id)


async def test_the_platforms_key_rotates_and_what_it_sealed_still_opens(app: App, app_settings: Settings) -> None:
    sealed = await app.sealer.platform.seal(b"p", context=b"ad")
    assert "a new data key" in await ran(app_settings, "-m", "app.cli", "secrets", "rotate-tenant", "platform")
    again = await app.sealer.platform.seal(b"p", context=b"ad")
    assert key_id_of(sealed) != key_id_of(again)
    assert [await app.sealer.platform.unseal(one, context=b"ad") for one in (sealed, again)] == [b"p", b"p"]
    assert PLATFORM not in await tenants_under_others(app.database.dispatch, await app.sealer.keys.keeper.current())


async def test_a_data_key_that_cannot_be_unwrapped_does_not_keep_the_others_back(
    app: App, vault: Vault, app_settings: Settings
) -> None:
    broken, sound = sorted([uuid7(), uuid7()])
    for tenant_id in (broken, sound):
        await vault.fill(tenant_id, 1)
    kept = await vault.admin.fetchval("select wrapped from tenant_keys where tenant_id = $1", broken)
    write = "update tenant_keys set wrapped = $2 where tenant_id = $1"
    await vault.admin.execute(write, broken, kept[:-1] + bytes([kept[-1] ^ 1]))
    process = await begin(app_settings, "-m", "app.cli", "secrets", "rotate-kek")
    _, err = await process.communicate()
    assert process.returncode == 1 and encode_id("ten", broken) in err.decode()
    current = await app.sealer.keys.keeper.current()
    assert await tenants_under_others(app.database.dispatch, current) == [broken]
    await vault.opens(sound)
    await vault.admin.execute(write, broken, kept)
    assert "continued" in await ran(app_settings, "-m", "app.cli", "secrets", "rotate-kek")
    await vault.opens(broken)


async def test_a_rotation_of_the_key_encryption_key_survives_kill_9(
    app: App, vault: Vault, app_settings: Settings
) -> None:
    tenants = sorted(uuid7() for _ in range(6))
    for tenant_id in tenants:
        await vault.fill(tenant_id, 1)
    await rotate_key_encryption(app.database, app.sealer.keys)
    keeper = app.sealer.keys.keeper
    before = await keeper.current()
    async with vault.admin.transaction():
        await vault.admin.execute("select 1 from tenant_keys where tenant_id = $1 for update", tenants[3])
        process = await begin(app_settings, "-m", "app.cli", "secrets", "rotate-kek")
        await killed_at(vault, process, "tenant_keys")
    current = await keeper.current()
    assert current != before
    waiting = await tenants_under_others(app.database.dispatch, current)
    assert [tenant_id in waiting for tenant_id in tenants] == [False] * 3 + [True] * 3
    for tenant_id in tenants:
        await vault.opens(tenant_id)
    said = await ran(app_settings, "-m", "app.cli", "secrets", "rotate-kek")
    assert "a rotation begun earlier was continued" in said
    assert await keeper.current() == current
    assert await tenants_under_others(app.database.dispatch, current) == []
    for tenant_id in tenants:
        await vault.opens(tenant_id)


async def test_a_tenants_rotation_survives_kill_9(app: App, vault: Vault, app_settings: Settings) -> None:
    tenant_id = uuid7()
    ids = await vault.fill(tenant_id, 250)  # more than a batch
    script = _ROTATE_TABLE.format(tenant=tenant_id, table=vault.column.table)
    async with vault.admin.transaction():
        await vault.admin.execute(f"select 1 from {vault.column.table} where id = $1 for update", ids[230])
        await killed_at(vault, await begin(app_settings, "-c", script), vault.column.table)
    sealed = await vault.sealed(tenant_id)
    assert len({key_id_of(sealed[row_id]) for row_id in ids[:200]}) == 1
    assert key_id_of(sealed[ids[0]]) != key_id_of(sealed[ids[249]])
    assert await vault.states(tenant_id) == ["retiring", "active"]
    await vault.opens(tenant_id)
    done = await rotate_tenant(app.database, app.sealer.keys, tenant_id, columns=[vault.column])
    assert (done.began, done.changed) == (False, 50)
    assert await vault.states(tenant_id) == ["retired", "active"]
    await vault.opens(tenant_id)


async def test_the_command_refuses_what_is_no_tenant(app_settings: Settings) -> None:
    for given, said in (("acc_1", "mandi: "), (encode_id("ten", uuid7()), "no data key")):
        process = await begin(app_settings, "-m", "app.cli", "secrets", "rotate-tenant", given)
        _, err = await process.communicate()
        assert process.returncode == 1 and said in err.decode(), err


async def test_every_marked_column_can_be_swept(app: App, database_urls: dict[str, str]) -> None:
    """The model marks it, the grant allows it, the primary key is (tenant_id, id)."""
    for column in sealed_columns():
        async with as_tenant(app.database.pool, uuid7()) as connection:
            assert await connection.fetch(column.read, uuid7(), ROW, 1) == []
            await connection.execute(column.write, uuid7(), ROW, b"a", b"b")
