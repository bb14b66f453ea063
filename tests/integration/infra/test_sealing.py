"""Secrets are sealed under data keys of their tenant: made once, kept in memory for a minute, gone when destroyed."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from sqlmodel import select

from app.infra.crypto.envelope import UnsealError, key_id_of
from app.infra.crypto.local import FILE, LocalKeys
from app.infra.crypto.rotation import rotate_tenant
from app.infra.crypto.sealer import CACHE_SECONDS, DataKeys, ErasedError, PlatformSealer, Sealer
from app.infra.crypto.store import as_tenant
from app.infra.crypto.tables import PLATFORM
from app.infra.database import Database
from app.infra.events.tables import EventRow
from app.infra.process import App
from app.infra.settings import Settings
from app.kernel.ids import uuid7
from tests.factories.keys import Watched

ROW = UUID(int=1)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(app_settings: Settings) -> Watched:
    return Watched(LocalKeys(app_settings.data_dir / FILE, environment="local"))


@pytest_asyncio.fixture
async def sealer(database: Database, keeper: Watched, clock: Clock) -> Sealer:
    return Sealer(DataKeys(database.pool, keeper, monotonic=clock))


async def states(database: Database, tenant_id: UUID) -> list[tuple[int, str]]:
    async with as_tenant(database.pool, tenant_id) as connection:
        rows = await connection.fetch("select version, state from tenant_keys order by version")
    return [(row["version"], row["state"]) for row in rows]


async def test_a_value_opens_at_its_place_and_nowhere_else(sealer: Sealer, database: Database) -> None:
    mine, other = uuid7(), uuid7()
    sealed = await sealer.seal(mine, "endpoints", "secret", ROW, b"hello")
    await sealer.seal(other, "endpoints", "secret", ROW, b"theirs")
    assert b"hello" not in sealed
    async with database.tx(mine) as tx:
        assert await sealer.unseal(tx, "endpoints", "secret", ROW, sealed) == b"hello"
    for place in (
        (other, "endpoints", "secret", ROW),
        (mine, "keys", "secret", ROW),
        (mine, "endpoints", "former", ROW),
        (mine, "endpoints", "secret", UUID(int=2)),
    ):
        with pytest.raises(UnsealError):
            await sealer.unseal(*place, sealed)


async def test_a_data_key_that_is_moved_to_another_tenant_does_not_unwrap(sealer: Sealer, database: Database) -> None:
    mine, other = uuid7(), uuid7()
    sealed = await sealer.seal(mine, "t", "c", ROW, b"x")
    async with as_tenant(database.pool, mine) as connection:
        row = await connection.fetchrow("select id, wrapped, kek_id from tenant_keys")
    assert row is not None
    async with as_tenant(database.pool, other) as connection:
        await connection.execute(
            "insert into tenant_keys (tenant_id, id, version, wrapped, kek_id, state) values ($1, $2, 1, $3, $4, $5)",
            other, row["id"], row["wrapped"], row["kek_id"], "active",
        )  # fmt: skip
    with pytest.raises(UnsealError, match="another row"):
        await sealer.unseal(other, "t", "c", ROW, sealed)
    async with database.tx(other) as tx:  # rotations of other tests would stumble over it
        await sealer.erase(tx)


async def test_the_first_secrets_of_a_tenant_share_one_key_however_many_come_at_once(
    sealer: Sealer, database: Database, keeper: Watched
) -> None:
    tenant_id = uuid7()
    keeper.pause = asyncio.Event()
    asked = [asyncio.create_task(sealer.seal(tenant_id, "t", "c", ROW, b"x")) for _ in range(8)]
    while keeper.wrapped < 8:  # all of them saw no key, and made one
        await asyncio.sleep(0.01)
    keeper.pause.set()
    sealed = await asyncio.gather(*asked)
    assert len({key_id_of(one) for one in sealed}) == 1
    assert await states(database, tenant_id) == [(1, "active")]
    assert [await sealer.unseal(tenant_id, "t", "c", ROW, one) for one in sealed] == [b"x"] * 8


async def test_no_connection_is_held_while_a_keeper_takes_its_time(
    sealer: Sealer, database: Database, keeper: Watched, database_urls: dict[str, str]
) -> None:
    keeper.pause = asyncio.Event()
    asked = asyncio.create_task(sealer.seal(uuid7(), "t", "c", ROW, b"x"))
    while keeper.wrapped < 1:
        await asyncio.sleep(0.01)
    admin = await asyncpg.connect(database_urls["admin"])
    held = await admin.fetchval(
        "select count(*) from pg_stat_activity where usename = 'mandi_app' and state like 'idle in transaction%'"
    )
    await admin.close()
    keeper.pause.set()
    await asked
    assert held == 0


async def test_an_unwrapped_key_is_kept_for_a_minute(sealer: Sealer, keeper: Watched, clock: Clock) -> None:
    tenant_id = uuid7()
    sealed = await sealer.seal(tenant_id, "t", "c", ROW, b"x")
    for seconds, unwrapped in ((0.0, 1), (CACHE_SECONDS - 1, 1), (CACHE_SECONDS, 2), (CACHE_SECONDS + 1, 2)):
        clock.now = seconds
        assert await sealer.unseal(tenant_id, "t", "c", ROW, sealed) == b"x"
        assert keeper.unwrapped == unwrapped


async def test_what_a_destroyed_key_sealed_is_gone_for_good(
    sealer: Sealer, database: Database, keeper: Watched, clock: Clock
) -> None:
    tenant_id, other = uuid7(), uuid7()
    sealed = await sealer.seal(tenant_id, "t", "c", ROW, b"x")
    kept = await sealer.seal(other, "t", "c", ROW, b"kept")
    elsewhere = Sealer(DataKeys(database.pool, keeper, monotonic=clock))  # another process
    assert await elsewhere.unseal(tenant_id, "t", "c", ROW, sealed) == b"x"
    async with database.tx(tenant_id) as tx:
        assert await sealer.erase(tx) == 1
    with pytest.raises(ErasedError):
        await sealer.unseal(tenant_id, "t", "c", ROW, sealed)
    clock.now += CACHE_SECONDS
    with pytest.raises(ErasedError):
        await elsewhere.unseal(tenant_id, "t", "c", ROW, sealed)
    async with as_tenant(database.pool, tenant_id) as connection:
        assert await connection.fetchval("select wrapped from tenant_keys") is None
    assert await sealer.unseal(other, "t", "c", ROW, kept) == b"kept"


async def test_an_erasure_that_is_rolled_back_erases_nothing(sealer: Sealer, database: Database) -> None:
    tenant_id = uuid7()
    sealed = await sealer.seal(tenant_id, "t", "c", ROW, b"x")
    with pytest.raises(RuntimeError):
        async with database.tx(tenant_id) as tx:
            await sealer.erase(tx)
            raise RuntimeError("undo")
    assert await sealer.unseal(tenant_id, "t", "c", ROW, sealed) == b"x"


async def test_a_tenant_whose_keys_were_destroyed_begins_with_a_new_one(sealer: Sealer, database: Database) -> None:
    tenant_id = uuid7()
    await sealer.seal(tenant_id, "t", "c", ROW, b"x")
    async with database.tx(tenant_id) as tx:
        await sealer.erase(tx)
    again = await sealer.seal(tenant_id, "t", "c", ROW, b"y")
    assert await states(database, tenant_id) == [(1, "destroyed"), (2, "active")]
    assert await sealer.unseal(tenant_id, "t", "c", ROW, again) == b"y"
    async with database.tx(tenant_id) as tx:
        (event,) = (await tx.scalars(select(EventRow))).all()
    assert (event.type, event.data) == ("secrets.erased", {"keys": 1})


async def test_the_platform_seals_what_belongs_to_no_tenant(sealer: Sealer) -> None:
    platform: PlatformSealer = sealer.platform
    sealed = await platform.seal(b"signing key", context=b"signing_keys.private.k1")
    assert await platform.unseal(sealed, context=b"signing_keys.private.k1") == b"signing key"
    with pytest.raises(UnsealError):
        await platform.unseal(sealed, context=b"signing_keys.private.k2")
    with pytest.raises(UnsealError):
        await sealer.unseal(PLATFORM, "signing_keys", "private", ROW, sealed)
    with pytest.raises(UnsealError):
        await sealer.unseal(uuid7(), "signing_keys", "private", ROW, sealed)


async def test_code_that_cannot_wait_uses_the_platforms_keys_of_one_moment(sealer: Sealer, database: Database) -> None:
    before = await sealer.platform.seal(b"x", context=b"ad")
    await rotate_tenant(database, sealer.keys, PLATFORM)
    opened = await sealer.platform.opened()
    sealed = opened.seal(b"y", b"ad")
    assert (opened.unseal(before, b"ad"), opened.unseal(sealed, b"ad")) == (b"x", b"y")
    assert await sealer.platform.unseal(sealed, context=b"ad") == b"y"
    for value, associated in ((sealed, b"other"), (await sealer.seal(uuid7(), "t", "c", ROW, b"z"), b"ad")):
        with pytest.raises(UnsealError):
            opened.unseal(value, associated)


async def test_dispatch_sees_whose_keys_there_are_but_no_key(database: Database, sealer: Sealer) -> None:
    tenant_id = uuid7()
    await sealer.seal(tenant_id, "t", "c", ROW, b"x")
    found = await database.dispatch.fetchval("select count(*) from tenant_keys where tenant_id = $1", tenant_id)
    assert found == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.dispatch.fetchval("select wrapped from tenant_keys")


async def test_every_process_has_a_sealer(app: App) -> None:
    tenant_id = uuid7()
    sealed = await app.sealer.seal(tenant_id, "t", "c", ROW, b"x")
    assert await app.sealer.unseal(tenant_id, "t", "c", ROW, sealed) == b"x"
    assert (app.settings.data_dir / FILE).stat().st_mode & 0o777 == 0o600
