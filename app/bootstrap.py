"""The only wiring: settings become pools, clients and a clock. Shared by gateway, workers, daemon and CLI."""

import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.infra.crypto.local import FILE, LocalKeys, NoKeys
from app.infra.crypto.ports import KeyKeeper
from app.infra.crypto.sealer import DataKeys, Sealer
from app.infra.database import open_database
from app.infra.process import App
from app.infra.redis import open_redis
from app.infra.settings import Settings
from app.infra.work.relay import Poker

__all__ = ["App", "bootstrap", "import_tables", "utc_clock"]


def utc_clock() -> datetime:
    """The wall clock, aware UTC."""
    return datetime.now(UTC)


def import_tables() -> None:
    """Import every `tables` module: an INSERT by a process that missed one fails on its foreign keys."""
    root = Path(__file__).parent
    for module in pkgutil.walk_packages([str(root)], "app."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)


def key_keeper(settings: Settings, clock: Callable[[], datetime]) -> KeyKeeper:
    """Who keeps the key-encryption keys: the service that is configured, else a file of the local stack, else nobody.

    Raises `SettingsError` when the service's settings are incomplete.
    """
    if settings.kms_key_arn is not None:
        from app.adapters.kms.config import kms_config
        from app.adapters.kms.keys import KmsKeys

        return KmsKeys(kms_config(settings), clock)
    if settings.environment == "local":
        return LocalKeys(settings.data_dir / FILE, environment=settings.environment)
    return NoKeys()


@asynccontextmanager
async def bootstrap(settings: Settings, *, clock: Callable[[], datetime] = utc_clock) -> AsyncIterator[App]:
    """Open everything, in order; close it in reverse. Raises when the database's roles are unsafe."""
    import_tables()
    keeper = key_keeper(settings, clock)
    redis = open_redis(settings.redis_url.get_secret_value())
    stream = open_redis(settings.stream_url)
    poker = Poker(redis)
    try:
        database = await open_database(settings, on_commit=poker.poke)
        try:
            sealer = Sealer(DataKeys(database.pool, keeper))
            yield App(settings, database, redis, stream, poker, clock, sealer)
        finally:
            await poker.close()
            await database.close()
    finally:
        await stream.aclose()
        await redis.aclose()
