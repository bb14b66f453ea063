"""Fresh tenants and accounts for each test."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from app.bootstrap import import_tables
from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books as LedgerBooks
from app.custody.ledger.service import LedgerCheck, check
from app.infra.database import Database, Tx, open_database
from app.infra.settings import Settings
from app.kernel.ids import uuid7
from app.kernel.money import Money
from app.platform.tenancy import tables as tenancy_tables

Urls = dict[str, str]
NOW = datetime(2003, 1, 2, 14, 30, tzinfo=UTC)


@pytest.fixture(scope="session")
def custody_server(database_urls: Urls) -> tuple[str, Urls]:
    return database_urls["admin"], database_urls


@pytest.fixture(scope="session")
def custody_urls(database_urls: Urls) -> Urls:
    import_tables()
    return database_urls


@pytest_asyncio.fixture
async def database(custody_urls: Urls) -> AsyncIterator[Database]:
    settings = Settings.model_validate(
        {
            "APP_DATABASE_URL": custody_urls["mandi_app"],
            "DISPATCH_DATABASE_URL": custody_urls["mandi_dispatch"],
            "REFERENCE_DATABASE_URL": custody_urls["mandi_reference"],
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "MANDI_DATA_DIR": "/nonexistent",
            "DATABASE_POOL_SIZE": 16,
        }
    )
    opened = await open_database(settings, on_commit=lambda queue, shard: None)
    yield opened
    await opened.close()


@dataclass(frozen=True, slots=True)
class Books:
    """One tenant with its database, and short ways to its ledger."""

    database: Database
    tenant_id: UUID

    def tx(self) -> AbstractAsyncContextManager[Tx]:
        return self.database.tx(self.tenant_id)

    async def open(self, opening: int = 100_000, *, currency: str = "USD", account_id: UUID | None = None) -> UUID:
        """A funded paper account."""
        async with self.tx() as tx:
            asked = NewAccount(name="a", currency=currency, opening_balance=Money(opening, currency))
            made = await create_account(tx, asked, books=LedgerBooks(), now=NOW, account_id=account_id)
        return made.id

    async def call(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """One statement as the application's role, in a transaction of the tenant's own."""
        async with self.database.pool.acquire() as connection, connection.transaction():
            await connection.execute("select set_config('app.tenant_id', $1, true)", str(self.tenant_id))
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows

    async def value(self, sql: str, *arguments: object) -> Any:
        return (await self.call(sql, *arguments))[0][0]

    async def hold(self, order: UUID, account: UUID, amount: int) -> int:
        return int(await self.value("select ledger_hold($1, $2, $3)", order, account, amount))

    async def void(self, order: UUID) -> int:
        return int(await self.value("select ledger_void($1)", order))

    async def settle(
        self,
        account: UUID,
        cash: int,
        charges: int,
        *,
        fill: UUID | None = None,
        order: UUID | None = None,
        release: int | None = None,
        currency: str = "USD",
    ) -> asyncpg.Record:
        """A fill whose charges are all brokerage."""
        sql = "select * from ledger_settle_fill($1, $2, $3, $4, $5, $6, $7, $8, '{}')"
        heads = json.dumps({"brokerage": charges} if charges else {})
        found = await self.call(sql, fill or uuid7(), account, currency, cash, heads, order, release, NOW)
        return found[0]

    async def mature(self, account: UUID, cash: int, charges: int, *, settlement: UUID | None = None) -> bool:
        """The settlement of such a fill, without securities."""
        sql = "select ledger_settle_trades($1, $2, $3, $4, $5, null, 0, $6, '{}')"
        net = cash - charges
        done: bool = await self.value(sql, settlement or uuid7(), account, max(net, 0), max(-net, 0), cash, NOW)
        return done

    async def instrument(self) -> UUID:
        """A share that nobody holds yet."""
        made = uuid7()
        sql = (
            "insert into instruments (id, isin, symbol, venue, segment, name, currency, price_exp, qty_exp, source) "
            "values ($1, $2, $2, 'XNAS', 'EQ', 'a', 'USD', 4, 0, 'test')"
        )
        await self.database.reference.execute(sql, made, made.hex[-12:])
        return made

    async def available(self, account: UUID) -> int:
        return int(await self.value("select (select posted - held from ledger_cash($1))", account))

    async def check(self) -> dict[str, LedgerCheck]:
        """The proof by currency; fails the test when anything is wrong."""
        async with self.tx() as tx:
            found = {row.currency: row for row in await check(tx)}
        assert {currency: row.problems for currency, row in found.items() if row.problems} == {}
        return found


async def make_tenant(database: Database) -> Books:
    tenant_id = uuid7()
    async with database.tx(tenant_id) as tx:
        tx.add(tenancy_tables.Tenant(tenant_id=tenant_id, id=tenant_id, slug="t", name="T"))
    return Books(database, tenant_id)


@pytest_asyncio.fixture
async def books(database: Database) -> Books:
    return await make_tenant(database)
