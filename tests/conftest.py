"""The servers of a test process: one PostgreSQL and one Valkey for each xdist worker, started by whoever asks first.

Every test makes fresh tenants and cleans nothing. All run on one event loop: what connects is opened once, since new
connections know no statement yet and cost more than most tests. The gateway is opened for each module, because of what
it does in the background. Whoever closes or changes one of these makes his own.
"""

import asyncio
import io
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from hypothesis import settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.infra.database import Database
    from app.infra.process import App
    from app.infra.settings import Settings
    from app.local.valkey import EmbeddedValkey

# No test is timed: the first call of a kernel compiles it.
settings.register_profile("mandi", deadline=None)
settings.load_profile("mandi")


@pytest.fixture(scope="session")
def database_urls() -> Iterator[dict[str, str]]:
    """URLs by login role of a freshly migrated database; `admin` is the administrator's."""
    from app.infra import migrate, roles
    from app.local.postgres import temporary_postgres

    with temporary_postgres() as server:
        passwords = {role: secrets.token_urlsafe(8) for role in roles.LOGIN_ROLES}
        asyncio.run(roles.ensure_roles(server.dsn, passwords))
        urls = {role: roles.role_url(server.dsn, role, password) for role, password in passwords.items()}
        migrate.migrate(urls["mandi_migrate"])
        yield urls | {"admin": server.dsn}


@pytest.fixture(scope="session")
def valkey() -> "Iterator[EmbeddedValkey]":
    """A running server; `.url` reaches it."""
    from app.local.valkey import temporary_valkey

    with temporary_valkey() as server:
        yield server


@pytest.fixture(scope="session")
def app_settings(
    database_urls: dict[str, str], valkey: "EmbeddedValkey", tmp_path_factory: pytest.TempPathFactory
) -> "Settings":
    """Settings of a process that serves this worker's database and Valkey."""
    from app.infra.settings import Settings

    return Settings.model_validate(
        {
            "APP_DATABASE_URL": database_urls["mandi_app"],
            "DISPATCH_DATABASE_URL": database_urls["mandi_dispatch"],
            "REFERENCE_DATABASE_URL": database_urls["mandi_reference"],
            "MIGRATE_DATABASE_URL": database_urls["mandi_migrate"],
            "REDIS_URL": valkey.url,
            "MANDI_DATA_DIR": tmp_path_factory.mktemp("data"),
            "MANDI_ENVIRONMENT": "local",
            "MANDI_ISSUER": "https://issuer.example",
            "ORDER_BACKLOG_SECONDS": "86400",  # no worker runs beside most tests
        }
    )


@pytest_asyncio.fixture(scope="session")
async def database(app_settings: "Settings") -> "AsyncIterator[Database]":
    """The pools of one process; pokes go nowhere."""
    from app.bootstrap import import_tables
    from app.infra.database import open_database

    import_tables()
    opened = await open_database(app_settings, on_commit=lambda queue, shard: None)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="session")
async def app(app_settings: "Settings") -> "AsyncIterator[App]":
    """Everything that a process works with."""
    from app.bootstrap import bootstrap

    async with bootstrap(app_settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def built(app_settings: "Settings") -> "FastAPI":
    """The gateway's application, built once: building it costs more than most tests. Who adds routes makes his own."""
    from app.main import create_app

    return create_app(app_settings)


@pytest_asyncio.fixture(scope="module")
async def gateway_app(built: "FastAPI") -> "AsyncIterator[FastAPI]":
    """The gateway, opened for this module."""
    from asgi_lifespan import LifespanManager

    async with LifespanManager(built, startup_timeout=30, shutdown_timeout=30):
        yield built


@pytest.fixture
def logged() -> "Iterator[io.StringIO]":
    """What the process logs, at every level; afterwards logging is as it was."""
    import structlog

    from app.infra.logs import bind, configure_logging

    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = list(root.handlers), root.level
    configure_logging("gateway", level="DEBUG", stream=stream)
    yield stream
    bind({})
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def pytest_configure(config: pytest.Config) -> None:
    """Compile the engine's kernels before any test is timed; a worker's controller has done so.

    A shell that starts us in the background lets Ctrl-C be ignored, by us and by whatever the tests start: not here.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        from app.engine import warm

        warm()
