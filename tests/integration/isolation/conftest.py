"""A server of its own: these tests plant flaws and invent reference data, which no other test may meet."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from app.bootstrap import import_tables
from app.infra import roles
from app.infra.migrate import migrate
from app.infra.settings import Settings
from app.local.postgres import temporary_postgres


@pytest.fixture(scope="session")
def scratch_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a freshly migrated database. Its Redis does not exist: isolation may not depend on it."""
    import_tables()
    data_dir: Path = tmp_path_factory.mktemp("isolation")
    with temporary_postgres() as server:
        passwords = {role: secrets.token_urlsafe(8) for role in roles.LOGIN_ROLES}
        asyncio.run(roles.ensure_roles(server.dsn, passwords))
        urls = {role: roles.role_url(server.dsn, role, password) for role, password in passwords.items()}
        migrate(urls["mandi_migrate"])
        yield Settings.model_validate(
            {
                "APP_DATABASE_URL": urls["mandi_app"],
                "DISPATCH_DATABASE_URL": urls["mandi_dispatch"],
                "REFERENCE_DATABASE_URL": urls["mandi_reference"],
                "MIGRATE_DATABASE_URL": urls["mandi_migrate"],
                "REDIS_URL": "redis://127.0.0.1:1",
                "MANDI_DATA_DIR": data_dir,
                "MANDI_ENVIRONMENT": "local",
            }
        )


@pytest_asyncio.fixture
async def owner(scratch_settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection as `mandi_migrate`, who owns the tables and is still held by row-level security."""
    assert scratch_settings.migrate_database_url is not None
    connection = await asyncpg.connect(scratch_settings.migrate_database_url.get_secret_value())
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def attacker(scratch_settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection as `mandi_app`, as every request has."""
    connection = await asyncpg.connect(scratch_settings.app_database_url.get_secret_value())
    yield connection
    await connection.close()
