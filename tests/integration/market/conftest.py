"""A database with the market's tables and seed, made once; pools and a Valkey for each test."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import SQLModel

from app.infra import migrate, roles
from app.infra.redis import open_redis
from app.infra.rls import ROLES
from app.local.postgres import temporary_postgres
from app.local.valkey import EmbeddedValkey, temporary_valkey
from app.market.data import tables as data_tables
from app.market.data.service import seed_reference
from app.market.instruments import tables as instrument_tables

MARKET = {
    str(model.__tablename__)
    for module in (instrument_tables, data_tables)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, SQLModel) and model.__module__ == module.__name__
}
Urls = dict[str, str]


async def _build(admin: str, data_dir: Path) -> Urls:
    passwords = {role: secrets.token_urlsafe(8) for role in roles.LOGIN_ROLES}
    await roles.ensure_roles(admin, passwords)
    urls = {role: roles.role_url(admin, role, password) for role, password in passwords.items()}
    owner = await asyncpg.connect(urls["mandi_migrate"])
    for table in SQLModel.metadata.sorted_tables:
        if table.name not in MARKET:
            continue
        await owner.execute(str(CreateTable(table).compile(dialect=postgresql.dialect())))  # type: ignore[no-untyped-call]
        for index in table.indexes:
            await owner.execute(str(CreateIndex(index).compile(dialect=postgresql.dialect())))  # type: ignore[no-untyped-call]
        for role, privileges in table.info.items():
            await owner.execute(f"GRANT {privileges} ON {table.name} TO {ROLES[role]}")
    for path in migrate.sql_files():
        if "/market/" in path.as_posix():
            await owner.execute(path.read_text())
    await owner.execute(migrate._GRANT_EXECUTE)
    await owner.close()
    reference = await asyncpg.create_pool(urls["mandi_reference"], min_size=1, max_size=2)
    await seed_reference(reference, data_dir)
    await reference.close()
    return urls


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def market_urls(data_dir: Path) -> Iterator[Urls]:
    with temporary_postgres() as server:
        yield asyncio.run(_build(server.dsn, data_dir))


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    with temporary_valkey() as server:
        yield server


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
