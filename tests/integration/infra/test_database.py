"""A transaction is one tenant's and all or nothing; a process refuses a role that sees past row-level security."""

import asyncio
from contextlib import nullcontext
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from app.infra.database import Database, Tx, open_database, open_pool
from app.infra.events.tables import EventRow
from app.infra.roles import UnsafeRoleError
from app.infra.settings import Settings
from app.infra.work.tables import WorkItem
from app.kernel.ids import uuid7
from app.local.postgres import temporary_postgres

EVENTS = select(EventRow)


async def test_a_transaction_that_raises_writes_nothing_and_wakes_nobody(app_settings: Settings) -> None:
    woken: list[tuple[str, int]] = []
    database = await open_database(app_settings, on_commit=lambda queue, shard: woken.append((queue, shard)))
    tenant = uuid7()
    with pytest.raises(RuntimeError, match="undo"):
        async with database.tx(tenant) as tx:
            tx.emit("test.happened", uuid7(), {})
            tx.work("test-undone", "note", uuid7(), {})
            await tx.flush()
            raise RuntimeError("undo")
    async with database.tx(tenant) as tx:
        assert (await tx.scalars(EVENTS)).all() == []
        assert (await tx.scalars(select(WorkItem))).all() == []
    assert woken == []
    await database.close()


async def test_a_commit_that_fails_raises_and_wakes_nobody(app_settings: Settings) -> None:
    woken: list[tuple[str, int]] = []
    database = await open_database(app_settings, on_commit=lambda queue, shard: woken.append((queue, shard)))
    tenant, event = uuid7(), uuid7()
    for expected in (nullcontext(), pytest.raises(IntegrityError)):
        with expected:
            async with database.tx(tenant) as tx:
                tx.add(EventRow(tenant_id=tenant, id=event, type="t", subject_id=event, data={}))
                tx.work("test-once", "note", uuid7(), {})
    assert len(woken) == 1
    assert await database.dispatch.fetchval("select count(*) from work_items where tenant_id = $1", tenant) == 1
    await database.close()


@pytest.mark.timeout(120)
async def test_a_process_that_starts_while_the_server_does_waits_for_it(app_settings: Settings) -> None:
    with temporary_postgres() as server:
        url = SecretStr(server.dsn)
        settings = app_settings.model_copy(
            update={f"{role}_database_url": url for role in ("app", "dispatch", "reference")}
        )
        server.stop()
        with pytest.raises(OSError):
            await open_database(settings, on_commit=lambda queue, shard: None)
        opening = asyncio.create_task(open_database(settings, on_commit=lambda queue, shard: None, patience_s=60))
        await asyncio.sleep(0.6)
        assert not opening.done()
        await asyncio.to_thread(server.start)
        with pytest.raises(UnsafeRoleError, match="superuser"):  # it reached the server, whose owner it is here
            await opening


async def test_a_row_gets_the_transactions_tenant_whatever_it_says(database: Database, tenant_id: UUID) -> None:
    other = uuid7()
    async with database.tx(tenant_id) as tx:
        tx.add(EventRow(tenant_id=other, type="t", subject_id=other, data={}))
    async with database.tx(other) as tx:
        assert (await tx.scalars(EVENTS)).all() == []


async def test_a_transaction_leaves_no_tenant_on_its_connection(database: Database, tenant_id: UUID) -> None:
    async with database.tx(tenant_id) as tx:
        await tx.scalars(EVENTS)
    assert await database.pool.fetchval("select count(*) from events") == 0


async def test_a_tx_offers_no_commit() -> None:
    assert not {"commit", "rollback", "begin"} & set(dir(Tx))


@pytest.mark.parametrize(("role", "why"), [("admin", "superuser"), ("mandi_migrate", "owner of")])
async def test_an_unsafe_role_is_refused(database_urls: dict[str, str], role: str, why: str) -> None:
    url = database_urls[role]
    if role == "admin":
        url = url.rpartition("/")[0] + "/mandi"
    with pytest.raises(UnsafeRoleError, match=why):
        await open_pool(url, size=1)


async def test_a_role_that_bypasses_row_level_security_is_refused(database_urls: dict[str, str]) -> None:
    admin = await asyncpg.connect(database_urls["admin"])
    name = f"sly_{uuid7().hex}"
    try:
        await admin.execute(f"create role {name} login password 'x' bypassrls")
        await admin.execute(f"grant connect on database mandi to {name}")
        url = database_urls["mandi_app"].split("@")[1]
        with pytest.raises(UnsafeRoleError, match="bypassrls"):
            await open_pool(f"postgresql://{name}:x@{url}", size=1)
    finally:
        await admin.execute(f"revoke connect on database mandi from {name}")
        await admin.execute(f"drop role {name}")
        await admin.close()


async def test_the_processes_own_roles_are_accepted(database_urls: dict[str, str]) -> None:
    for role in ("mandi_app", "mandi_dispatch", "mandi_reference"):
        pool = await open_pool(database_urls[role], size=1)
        await pool.close()


async def test_pools_recover_when_the_server_cuts_every_connection(
    database: Database, database_urls: dict[str, str], tenant_id: UUID
) -> None:
    async with database.tx(tenant_id) as tx:
        await tx.scalars(EVENTS)
    admin = await asyncpg.connect(database_urls["admin"])
    await admin.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'mandi' and usename like 'mandi_%'"
    )
    await admin.close()
    await asyncio.sleep(0.1)  # the end of a session is seen when the loop turns
    async with database.tx(tenant_id) as tx:
        await tx.scalars(EVENTS)
    for pool in (database.pool, database.dispatch, database.reference):
        assert await pool.fetchval("select 1") == 1


async def test_the_server_notices_soon_that_a_machine_is_gone(
    database: Database, database_urls: dict[str, str], tenant_id: UUID
) -> None:
    shown = "select string_agg(name || '=' || setting, ' ' order by name) from pg_settings where name in ({})"
    asked = shown.format("'tcp_keepalives_idle', 'tcp_user_timeout', 'idle_in_transaction_session_timeout'")
    expected = "idle_in_transaction_session_timeout=60000 tcp_keepalives_idle=5 tcp_user_timeout=15000"
    for pool in (database.pool, database.dispatch, database.reference):
        assert await pool.fetchval(asked) == expected
    async with database.tx(tenant_id) as tx:
        assert (await tx.execute(text(asked))).scalar_one() == expected
