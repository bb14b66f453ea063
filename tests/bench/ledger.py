"""The ledger: postings per second of transfers among many accounts, and of fills that all share one fee account.

The bare limit is a transaction that inserts two rows and commits, on the same PostgreSQL at the same 16 connections,
rounds taken in turn; its two rows count as two postings. A transfer has two postings, a fill with one charge three.
"""

import asyncio
import itertools
import random
import statistics
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from app.custody.ledger.domain import SHARDS
from app.custody.ledger.service import check
from app.infra.database import Database, open_database
from app.infra.settings import load_settings
from app.kernel.ids import uuid7
from app.platform.tenancy.service import create_tenant
from tests.bench.measure import Figure, figure
from tests.bench.servers import databases

ACCOUNTS, CONNECTIONS = 200, 16
ROUNDS, ROUND_SECONDS = 3, 2.0
OPENING = 10**12
AT = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
_TENANT = "select set_config('app.tenant_id', $1, true)"
_TRANSFER = "select ledger_post($1, 'transfer', $2, 'f', $3, $4, $5, '{}')"
_FILL = "select ledger_settle_fill($1, $2, 'INR', -100, $3, null, null, $4, '{}')"
_BARE = "insert into bare_postings (account, amount) values ($1, $2), ($3, $4)"

Work = Callable[[asyncpg.Connection], Awaitable[object]]


def run() -> list[Figure]:
    """The figures. Starts its own PostgreSQL and ends it."""
    with databases() as settings:
        return asyncio.run(_measure(settings))


async def _measure(environ: dict[str, str]) -> list[Figure]:
    owner = await asyncpg.connect(environ["MIGRATE_DATABASE_URL"])
    await owner.execute(
        "create table bare_postings (id bigint generated always as identity primary key, account uuid, amount bigint)"
    )
    await owner.execute("grant insert on bare_postings to mandi_app")
    await owner.close()
    database = await open_database(load_settings(), on_commit=lambda queue, shard: None)
    try:
        tenant_id = await create_tenant(database, slug="bench", name="Bench")
        accounts = await _open(database, tenant_id)
        figures = await _rounds(environ["APP_DATABASE_URL"], tenant_id, accounts)
        async with database.tx(tenant_id) as tx:
            assert all(not row.problems for row in await check(tx))
        return figures
    finally:
        await database.close()


async def _open(database: Database, tenant_id: UUID) -> list[tuple[UUID, UUID]]:
    """Trading accounts of one shard, each with its ledger account of cash."""
    opened = []
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute(_TENANT, str(tenant_id))
        for _ in range(ACCOUNTS):
            account = UUID(int=uuid7().int // SHARDS * SHARDS)
            await connection.execute(
                "insert into accounts (tenant_id, id, name, mode, currency, broker, feed, charge_schedule, "
                "slippage_bps, status, version) "
                "values ($1, $2, 'a', 'test', 'INR', 'paper', 'replay', 'zero', 0, 'active', 0)",
                tenant_id,
                account,
            )
            cash = await connection.fetchval("select ledger_open_books($1, 'INR')", account)
            bank = await connection.fetchval("select id from ledger_accounts where kind = 'omnibus_bank'")
            legs = ([cash, bank], [OPENING, -OPENING])
            await connection.execute(_TRANSFER, uuid7(), str(uuid7()), AT, *legs)
            opened.append((account, cash))
    return opened


async def _rounds(url: str, tenant_id: UUID, accounts: list[tuple[UUID, UUID]]) -> list[Figure]:
    chance = random.Random(7)
    turns = itertools.count()

    async def transfer(connection: asyncpg.Connection) -> None:
        (_, one), (_, other) = chance.sample(accounts, 2)
        await connection.execute(_TRANSFER, uuid7(), f"t{next(turns)}", AT, [one, other], [-1, 1])

    async def fill(connection: asyncpg.Connection) -> None:
        await connection.execute(_FILL, uuid7(), chance.choice(accounts)[0], '{"brokerage": 1}', AT)

    async def bare(connection: asyncpg.Connection) -> None:
        await connection.execute(_BARE, chance.choice(accounts)[0], -1, chance.choice(accounts)[0], 1)

    connections = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]
    found: dict[str, list[float]] = {"ledger": [], "ledger-hot": [], "bare": []}
    works: list[tuple[str, Work, int]] = [("ledger", transfer, 2), ("ledger-hot", fill, 3), ("bare", bare, 2)]
    try:
        for number in range(ROUNDS + 1):
            for name, work, postings in works:
                rate = await _closed_loop(connections, tenant_id, work, ROUND_SECONDS if number else 0.5)
                if number:  # the first warms connections and plans up
                    found[name].append(rate * postings)
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
    limit = statistics.median(found["bare"])
    return [figure(name, statistics.median(found[name]), limit, "1/s") for name in ("ledger", "ledger-hot")]


async def _closed_loop(connections: list[asyncpg.Connection], tenant_id: UUID, work: Work, seconds: float) -> float:
    """Committed transactions per second: each connection begins the next when its last is committed."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds

    async def one(connection: asyncpg.Connection) -> int:
        done = 0
        while loop.time() < ends:
            async with connection.transaction():
                await connection.execute(_TENANT, str(tenant_id))
                await work(connection)
            done += 1
        return done

    return sum(await asyncio.gather(*(one(connection) for connection in connections))) / seconds
