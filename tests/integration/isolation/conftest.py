"""A server of its own: these tests plant flaws and invent reference data, which no other test may meet."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import asyncpg
import pytest
import pytest_asyncio

from app.bootstrap import import_tables
from app.infra import roles
from app.infra.migrate import migrate
from app.infra.settings import Settings
from app.local.postgres import temporary_postgres
from tests.integration.isolation.pair import Pair, seed


@dataclass(frozen=True, slots=True)
class Server:
    """Where the superuser and each login role connect to."""

    admin_url: str
    urls: dict[str, str]


@pytest.fixture(scope="session")
def scratch_server() -> Iterator[Server]:
    """A freshly migrated database."""
    import_tables()
    with temporary_postgres() as server:
        passwords = {role: secrets.token_urlsafe(8) for role in roles.LOGIN_ROLES}
        asyncio.run(roles.ensure_roles(server.dsn, passwords))
        urls = {role: roles.role_url(server.dsn, role, password) for role, password in passwords.items()}
        migrate(urls["mandi_migrate"])
        yield Server(roles.with_database(server.dsn, "mandi"), urls)


@pytest.fixture(scope="session")
def scratch_settings(scratch_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a process on that database. Its Redis does not exist: isolation may not depend on it."""
    return Settings.model_validate(
        {
            "APP_DATABASE_URL": scratch_server.urls["mandi_app"],
            "DISPATCH_DATABASE_URL": scratch_server.urls["mandi_dispatch"],
            "REFERENCE_DATABASE_URL": scratch_server.urls["mandi_reference"],
            "MIGRATE_DATABASE_URL": scratch_server.urls["mandi_migrate"],
            "REDIS_URL": "redis://127.0.0.1:1",
            "MANDI_DATA_DIR": tmp_path_factory.mktemp("isolation"),
            "MANDI_ENVIRONMENT": "local",
        }
    )


@pytest.fixture(scope="session")
def pair(scratch_settings: Settings) -> Pair:
    """Two tenants with a row in every table. Tests undo what they try on them."""

    async def make() -> Pair:
        assert scratch_settings.migrate_database_url is not None
        connection = await asyncpg.connect(scratch_settings.migrate_database_url.get_secret_value())
        try:
            return await seed(connection)
        finally:
            await connection.close()

    return asyncio.run(make())


@pytest_asyncio.fixture
async def admin(scratch_server: Server) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the superuser, who plants flaws and takes roles."""
    connection = await asyncpg.connect(scratch_server.admin_url)
    yield connection
    await connection.close()


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was tried. Crossings are counted by the tests that fail: there is no line for part of the suite."""
    counted: dict[str, list[int]] = {}
    for report in terminalreporter.stats.get("passed", ()):
        if "integration/isolation/" in report.nodeid and report.when == "call":
            for name, value in report.user_properties:
                counted.setdefault(name, []).append(value)
    if terminalreporter.stats.get("failed") or not {"tables", "routes", "functions", "flaws planted"} <= counted.keys():
        return
    terminalreporter.write_line(
        f"isolation: tables {max(counted['tables'])}, routes {max(counted['routes'])},"
        f" functions {max(counted['functions'])},"
        f" roles {max(counted['roles']) + sum(counted['callers'])}"
        f" ({max(counted['roles'])} of the database, {sum(counted['callers'])} of the API),"
        f" attempts {sum(counted['attempts']) + sum(counted['requests'])}, crossings 0;"
        f" flaws planted {sum(counted['flaws planted'])}, found {sum(counted['flaws found'])}"
    )
