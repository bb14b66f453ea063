"""A database with the market's tables and seed, made once; pools and a Valkey for each test."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.infra import migrate, roles
from app.infra.redis import open_redis
from app.local.postgres import temporary_postgres
from app.local.valkey import EmbeddedValkey
from app.market.data.service import seed_reference

Urls = dict[str, str]


async def _seed(url: str, data_dir: Path) -> None:
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as reference:
        await seed_reference(reference, data_dir)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def market_urls(data_dir: Path) -> Iterator[Urls]:
    """A server of its own: these tests write reference data, which others only read."""
    with temporary_postgres() as server:
        passwords = {role: secrets.token_urlsafe(8) for role in roles.LOGIN_ROLES}
        asyncio.run(roles.ensure_roles(server.dsn, passwords))
        urls = {role: roles.role_url(server.dsn, role, password) for role, password in passwords.items()}
        migrate.migrate(urls["mandi_migrate"])
        asyncio.run(_seed(urls["mandi_reference"], data_dir))
        yield urls


@pytest_asyncio.fixture
async def reference(market_urls: Urls) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(market_urls["mandi_reference"], min_size=1, max_size=4) as pool:
        yield pool


@pytest_asyncio.fixture
async def reader(market_urls: Urls) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(market_urls["mandi_app"], min_size=1, max_size=4) as pool:
        yield pool


@pytest_asyncio.fixture
async def stream(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    client = open_redis(valkey.url)
    yield client
    await client.aclose()
