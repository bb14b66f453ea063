"""A database of this folder's own: its data keys are wrapped by keepers that no other test has."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest_asyncio

from app.infra import migrate, roles
from app.infra.database import Database, open_database
from app.infra.settings import Settings


@pytest_asyncio.fixture
async def scratch_database(app_settings: Settings, database_urls: dict[str, str]) -> AsyncIterator[Database]:
    """The pools of one process on a second database of the worker's server, freshly migrated."""
    passwords = {
        role: url.split(":", 2)[2].rpartition("@")[0] for role, url in database_urls.items() if role != "admin"
    }
    name = f"scratch_{secrets.token_hex(4)}"
    await roles.ensure_roles(database_urls["admin"], passwords, database=name)
    await asyncio.to_thread(migrate.migrate, roles.with_database(database_urls["mandi_migrate"], name))
    urls = {
        variable: roles.with_database(database_urls[role], name)
        for variable, role in (
            ("APP_DATABASE_URL", "mandi_app"),
            ("DISPATCH_DATABASE_URL", "mandi_dispatch"),
            ("REFERENCE_DATABASE_URL", "mandi_reference"),
        )
    }
    settings = Settings.model_validate(
        urls
        | {
            "REDIS_URL": app_settings.redis_url.get_secret_value(),
            "MANDI_DATA_DIR": app_settings.data_dir,
            "MANDI_ENVIRONMENT": "local",
        }
    )
    database = await open_database(settings, on_commit=lambda queue, shard: None)
    yield database
    await database.close()
