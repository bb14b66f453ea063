"""The schema: made by the migrations, the same as the models say, and made again without harm."""

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from app.bootstrap import import_tables
from app.infra import migrate, roles
from app.infra.database import sqlalchemy_url
from tests.integration.isolation.catalogue import findings
from tests.integration.isolation.pair import seed


@pytest.fixture
def owner_url(database_urls: dict[str, str]) -> Iterator[str]:
    """A second database on the worker's server, empty, owned by `mandi_migrate`; the roles get new passwords there.

    Roles are the server's, so their passwords are put back by keeping the ones in use.
    """
    passwords = {
        role: url.split(":", 2)[2].rpartition("@")[0] for role, url in database_urls.items() if role != "admin"
    }
    name = f"scratch_{secrets.token_hex(4)}"
    asyncio.run(roles.ensure_roles(database_urls["admin"], passwords, database=name))
    yield roles.with_database(database_urls["mandi_migrate"], name)


def _differences(connection: Connection) -> list[Any]:
    import_tables()
    context = MigrationContext.configure(connection, opts={"compare_type": _other_type, "include_object": _ours})
    return list(compare_metadata(context, SQLModel.metadata))


def _other_type(_context: Any, _inspected: Any, _column: Any, there: Any, here: Any) -> bool | None:
    """Text is stored as `text`, whatever SQLModel calls a `str`."""
    return False if isinstance(there, Text) and isinstance(here, AutoString) else None


def _ours(_object: Any, name: str | None, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    return not (kind == "table" and name is not None and name.startswith("events_p"))


async def _compare(url: str) -> list[Any]:
    engine = create_async_engine(sqlalchemy_url(url))
    async with engine.connect() as connection:
        found = await connection.run_sync(_differences)
    await engine.dispose()
    return found


def test_the_migrated_database_is_what_the_models_say(database_urls: dict[str, str]) -> None:
    assert asyncio.run(_compare(database_urls["mandi_migrate"])) == []


def test_migrating_twice_changes_nothing(database_urls: dict[str, str]) -> None:
    migrate.migrate(database_urls["mandi_migrate"])
    assert asyncio.run(_compare(database_urls["mandi_migrate"])) == []


async def _seed(url: str) -> list[str]:
    """Two tenants with a row in every table that there is now; the tables."""
    connection = await asyncpg.connect(url)
    try:
        return [table.name for table in (await seed(connection)).tables]
    finally:
        await connection.close()


async def _isolation_findings(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return await findings(connection, SQLModel.metadata)
    finally:
        await connection.close()


def test_every_version_goes_down_and_up_with_rows_in_every_table(owner_url: str) -> None:
    """Each version is left downwards and entered upwards with rows of its own; policies and grants come back, too."""
    import_tables()
    migrate.migrate(owner_url)
    config = migrate.alembic_config(owner_url)
    versions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    filled = asyncio.run(_seed(owner_url))
    assert set(filled) == set(SQLModel.metadata.tables)
    for version in versions[1:]:
        command.downgrade(config, version)
        assert asyncio.run(_seed(owner_url))
    for version in reversed(versions[:-1]):
        command.upgrade(config, version)
        assert asyncio.run(_seed(owner_url))
    migrate.migrate(owner_url)
    assert asyncio.run(_compare(owner_url)) == []
    assert asyncio.run(_isolation_findings(owner_url)) == []
    command.downgrade(config, "base")
    assert [change for change in asyncio.run(_compare(owner_url)) if change[0] == "remove_table"] == []
    migrate.migrate(owner_url)
    assert asyncio.run(_compare(owner_url)) == []


async def _as_tenant(url: str, *statements: str) -> list[Any]:
    """Run statements as the owner within one tenant; what the last one answers."""
    tenant = "018f0000-0000-7000-8000-000000000001"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("select set_config('app.tenant_id', $1, false)", tenant)
        for statement in statements[:-1]:
            await connection.execute(statement.replace(":tenant", f"'{tenant}'"))
        return [tuple(row) for row in await connection.fetch(statements[-1])]
    finally:
        await connection.close()


def test_roles_removed_members_and_closing_tenants_survive_going_down_and_up(owner_url: str) -> None:
    migrate.migrate(owner_url)
    asyncio.run(
        _as_tenant(
            owner_url,
            "insert into tenants (tenant_id, id, slug, name, status) values (:tenant, :tenant, 't', 'T', 'closing')",
            "insert into roles (tenant_id, id, name, permissions) values (:tenant, :tenant, 'desk', '{orders:read}')",
            "insert into members (tenant_id, id, email, role, role_id, status) values"
            " (:tenant, gen_random_uuid(), 'a@example.com', 'custom', :tenant, 'active'),"
            " (:tenant, gen_random_uuid(), 'b@example.com', 'trader', null, 'removed')",
            "select 1",
        )
    )
    config = migrate.alembic_config(owner_url)
    before = ScriptDirectory.from_config(config).get_revision("0006").down_revision
    command.downgrade(config, str(before))
    read = "select m.email, m.role, m.status, t.status from members m join tenants t using (tenant_id) order by 1"
    assert asyncio.run(_as_tenant(owner_url, read)) == [
        ("a@example.com", "read_only", "active", "suspended"),
        ("b@example.com", "trader", "suspended", "suspended"),
    ]
    migrate.migrate(owner_url)
    assert asyncio.run(_compare(owner_url)) == []
