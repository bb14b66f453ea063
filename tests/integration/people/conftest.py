"""People over the real database and Valkey, their mail in a list, and the gateway that serves their pages."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.infra.process import App
from app.infra.settings import Settings
from app.platform.people.service import Hasher, MailSender, People, Throttle
from tests.factories.endings import Heard
from tests.factories.people import Browser, Mailbox


class CountingHasher(Hasher):
    """A hasher that counts what it is asked."""

    hashed = 0
    verified = 0

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return await super().hash(password)

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        self.verified += 1
        return await super().verify(password, stored)


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest_asyncio.fixture
async def people(app: App, app_settings: Settings, hasher: CountingHasher) -> AsyncIterator[People]:
    opened = People(
        database=app.database,
        hasher=hasher,
        throttle=Throttle(app_settings.redis_url.get_secret_value()),
        sealer=app.sealer.platform,
        endings=Heard(),
        device_key=bytes(32),
        letter_key=bytes(32),
    )
    yield opened
    await opened.close()


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def sender(people: People, mailbox: Mailbox) -> MailSender:
    return MailSender(people, mailbox, public_url="http://gateway/", clock=lambda: datetime.now(UTC))


@pytest.fixture
def browser(gateway_app: FastAPI) -> Browser:
    return Browser(gateway_app)
