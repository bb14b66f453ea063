"""The only wiring: settings become pools, clients and a clock. Shared by gateway, workers, daemon and CLI."""

import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from app.infra.crypto.local import FILE, LocalKeys, NoKeys
from app.infra.crypto.ports import KeyKeeper
from app.infra.crypto.sealer import DataKeys, Sealer
from app.infra.database import open_database
from app.infra.keys import deployment_secret, derive_key
from app.infra.process import App
from app.infra.redis import open_redis
from app.infra.settings import Settings, SettingsError
from app.infra.work.relay import Poker
from app.platform.people.service import Endings, Hasher, Mailer, MailSender, People, Throttle
from app.trading.brokers.ports import Broker
from app.trading.brokers.service import guarded, know_brokers
from app.trading.paper.service import PaperBroker

__all__ = ["App", "PeopleProcess", "bootstrap", "import_tables", "open_brokers", "open_people", "utc_clock"]


def utc_clock() -> datetime:
    """The wall clock, aware UTC."""
    return datetime.now(UTC)


@cache
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


SERVERS_PATIENCE_S = 20.0
"""A server that starts while the database restarts waits for it so long: who ends instead is started again later and
later, by a supervisor that gives up at some time."""


@asynccontextmanager
async def bootstrap(
    settings: Settings, *, clock: Callable[[], datetime] = utc_clock, patience_s: float = 0.0
) -> AsyncIterator[App]:
    """Open everything, in order; close it in reverse. Raises when the database's roles are unsafe, or when it is away
    for longer than `patience_s` seconds."""
    import_tables()
    know_brokers({"paper": PaperBroker.capabilities})
    keeper = key_keeper(settings, clock)
    redis = open_redis(settings.redis_url.get_secret_value())
    stream = open_redis(settings.stream_url)
    poker = Poker(redis)
    try:
        database = await open_database(settings, on_commit=poker.poke, patience_s=patience_s)
        try:
            sealer = Sealer(DataKeys(database.pool, keeper))
            yield App(settings, database, redis, stream, poker, clock, sealer)
        finally:
            await poker.close()
            await database.close()
    finally:
        await stream.aclose()
        await redis.aclose()


def open_brokers(process: App) -> Mapping[str, Broker]:
    """Who executes, by the name that an account bears: for workers and the listener, since nobody else sends."""
    pool = process.database.pool
    return guarded({"paper": PaperBroker(pool, process.stream)}, pool)


@dataclass(frozen=True, slots=True)
class PeopleProcess:
    """Services about people, the sender of their mail, and the key that signs forms."""

    people: People
    sender: MailSender
    form_key: bytes = field(repr=False)


@asynccontextmanager
async def open_people(process: App, endings: Endings) -> AsyncIterator[PeopleProcess]:
    """Open what sign-up and login need: for the gateway alone. Raises `SettingsError` for an unsafe production."""
    settings = process.settings
    if settings.environment == "production" and not settings.public_url.startswith("https://"):
        raise SettingsError("MANDI_PUBLIC_URL: must start with https:// in production")
    mailer = _mailer_of(process)
    secret = deployment_secret(settings)
    people = People(
        database=process.database,
        hasher=Hasher(),
        throttle=Throttle(settings.redis_url.get_secret_value()),
        sealer=process.sealer.platform,
        endings=endings,
        device_key=derive_key(secret, "people/devices"),
        letter_key=derive_key(secret, "people/letters"),
    )
    sender = MailSender(people, mailer, public_url=settings.public_url, clock=process.clock)
    try:
        yield PeopleProcess(people, sender, derive_key(secret, "web/forms"))
    finally:
        await people.close()


def _mailer_of(process: App) -> Mailer:
    """SMTP where a server is named; else, on a local stack only, files. Imported here: workers send no mail."""
    from app.adapters.mailbox.mailer import MailboxMailer
    from app.adapters.smtp.config import read_config
    from app.adapters.smtp.mailer import SmtpMailer

    settings = process.settings
    production = settings.environment == "production"
    if settings.smtp_url is not None:
        url = settings.smtp_url.get_secret_value()
        return SmtpMailer(read_config(url, sender=settings.mail_from, require_tls=production), clock=process.clock)
    if production:
        raise SettingsError("SMTP_URL: is required in production: people confirm their addresses by mail")
    return MailboxMailer(settings.data_dir, clock=process.clock)
