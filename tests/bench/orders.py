"""The order path: accepted orders at 1, 16 and 32 callers, accept → filled on paper at 20 and 200 orders per second,
how fast a backlog is filled, how fast a kill switch holds (`halt`), a broker that is slow (`slow_broker`), and the
postings of all that (`ledger`).

The bare limit is `limit_app` (POST + one INSERT commit) on the same servers in the same run, rounds taken in turn: its
median milliseconds at one caller, its requests per second at more. For the fill latencies the limit is that POST's
median at one caller: an order cannot be filled faster than stored. For the backlog it is what issue and ARCHITECTURE
ask for, 2,000 fills a second.
Prices come at 200 a second for each of five instruments: a seeded random walk, published as the feed publishes.
"""

import asyncio
import random
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text

from app.bootstrap import App, bootstrap
from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.infra.settings import load_settings
from app.infra.work.tables import shard_of
from app.kernel.ids import encode_id
from app.kernel.money import Money
from app.market.data.service import seed_reference
from app.market.instruments.service import find_instrument
from app.platform.identity.service import create_key
from app.platform.plans.service import assign_plan
from app.platform.tenancy.domain import PERMISSIONS
from app.platform.tenancy.service import create_tenant
from app.trading.risk.service import TENANT, set_limit
from tests.bench import ledger
from tests.bench.halt import HALTS, Halting, halt_p99
from tests.bench.limit_app import KEY as LIMIT_KEY
from tests.bench.load import Answer, Connection, closed_loop
from tests.bench.measure import Figure, figure
from tests.bench.servers import databases, environment, process, server
from tests.bench.slow_broker import slow_broker
from tests.bench.ticks import tick

TENANTS, ACCOUNTS = 200, 5
ROUNDS, ROUND_SECONDS = 3, 2.0
RATES, RATE_SECONDS = (20, 200), 10.0
BACKLOG, DRAIN_PER_S = 1_500, 2_000.0
TICKS_PER_SECOND = 200
SYMBOLS = (("AAPL", "XNAS"), ("MSFT", "XNAS"), ("GOOG", "XNAS"), ("FB", "XNAS"), ("IBM", "XNYS"))
START = datetime(2013, 1, 3, 15, 0, tzinfo=UTC)
PRICE = 500_000


@dataclass(frozen=True, slots=True)
class Trader:
    """A tenant with its key and accounts."""

    tenant_id: UUID
    authorization: str
    accounts: list[str]


@dataclass(frozen=True, slots=True)
class Market:
    """What the bench trades, and as whom. One order after the other is another tenant's."""

    traders: list[Trader]
    instruments: list[UUID]

    def orders(self, *, limit: bool = False) -> Callable[[Connection], Awaitable[Answer]]:
        """Posts the next of many market orders for one unit; `limit`: to the bare application, as its caller."""
        numbers = count()

        def post(connection: Connection) -> Awaitable[Answer]:
            number = next(numbers)
            trader = self.traders[number % len(self.traders)]
            body = {
                "account_id": trader.accounts[number // len(self.traders) % len(trader.accounts)],
                "instrument_id": encode_id("ins", self.instruments[number % len(self.instruments)]),
                "side": "buy",
                "order_type": "market",
                "quantity": "1",
                "validity": "gtc",
            }
            return connection.post("/v1/orders", body, authorization=LIMIT_KEY if limit else trader.authorization)

        return post


def run() -> list[Figure]:
    """The figures. Starts its own servers and processes and ends them."""
    with databases() as settings:
        found = asyncio.run(_measure(settings))
    return found + ledger.run()


async def _measure(settings: dict[str, str]) -> list[Figure]:
    async with bootstrap(load_settings()) as app:
        market = await _seed(app)
        await _limit_table(settings["MIGRATE_DATABASE_URL"])
        environ = environment(settings)
        with server("app.main:app", environ) as url, server("tests.bench.limit_app:app", environ) as limit_url:
            ours, limit = await _single(url, market.orders()), await _single(limit_url, market.orders(limit=True))
            found = [figure("order-c1", ours, limit, "ms")]
            for callers in (16, 32):
                found.append(figure(f"order-c{callers}", *await _throughput(url, limit_url, market, callers), "1/s"))
            await _place(url, market, BACKLOG)
            with (
                process(["-m", "workers", "worker"], environ),
                process(["-m", "workers", "daemon", "--roles", "relay,matcher,follower"], environ),
            ):
                found.append(figure("drain", await _drained(app, market), DRAIN_PER_S, "1/s"))
                for rate in RATES:
                    fills = await _fills(app, url, market, rate)
                    p50, p99 = statistics.median(fills), statistics.quantiles(fills, n=100)[98]
                    found += [
                        figure(f"fill-{rate}-p50", p50, limit, "ms"),
                        figure(f"fill-{rate}-p99", p99, limit, "ms"),
                    ]
                found.append(await halt_p99(app, url, await _halting(app, market), market.orders()))
            one = market.traders[0].tenant_id
            beside = Market(
                [it for it in market.traders if shard_of(it.tenant_id) == shard_of(one)], market.instruments
            )
            found.append(await slow_broker(app, environ, one, lambda: _fills(app, url, beside, 100, 5.0)))
    return found


async def _seed(app: App) -> Market:
    now = datetime.now(UTC)
    await seed_reference(app.database.reference, app.settings.data_dir)
    traders = [await _trader(app, number, now) for number in range(TENANTS)]
    instruments = [(await find_instrument(app.database.pool, s, v, now=START)).id for s, v in SYMBOLS]
    reference = app.database.reference
    await reference.execute(
        "insert into feed_state (feed, interval, watermark, market_at, bars_published, last_stream_id, speed, status) "
        "values ('replay', '1d', $1, $1, 0, '0-0', 0, 'running')",
        START,
    )
    for instrument in instruments:
        await reference.execute(
            "insert into last_prices (feed, instrument_id, price, market_at, session_date) "
            "values ('replay', $1, $2, $3, $4)",
            instrument,
            PRICE,
            START,
            date(2013, 1, 3),
        )
    return Market(traders, instruments)


async def _halting(app: App, market: Market) -> list[Halting]:
    """Tenants beside the market's, which goes on trading."""
    now = datetime.now(UTC)
    traders = [await _trader(app, TENANTS + number, now) for number in range(HALTS)]
    return [Halting(it.tenant_id, it.authorization, Market([it], market.instruments).orders()) for it in traders]


async def _trader(app: App, number: int, now: datetime) -> Trader:
    tenant_id = await create_tenant(app.database, slug=f"bench-{number}", name="Bench")
    accounts = []
    async with app.database.tx(tenant_id) as tx:
        await assign_plan(tx, "broker", reason="the largest rates", now=now)
        key = await create_key(tx, name="bench", scopes=sorted(PERMISSIONS), cell=app.settings.cell, now=now)
        await set_limit(tx, TENANT, "max_open_orders", {"limit": 1_000_000})
        for place in range(ACCOUNTS):
            asked = NewAccount(name=f"a{place}", currency="USD", opening_balance=Money(10**11, "USD"))
            account = await create_account(tx, asked, books=Books(), now=now)
            accounts.append(encode_id("acc", account.id))
    return Trader(tenant_id, f"Bearer {key.secret}", accounts)


async def _limit_table(url: str) -> None:
    owner = await asyncpg.connect(url)
    await owner.execute(
        "create table limit_orders (id bigint generated always as identity primary key, body jsonb not null)"
    )
    await owner.close()


async def _throughput(url: str, limit_url: str, market: Market, callers: int) -> tuple[float, float]:
    ours, limits = [], []
    order, bare = market.orders(), market.orders(limit=True)
    for round_ in range(ROUNDS + 1):
        seconds = ROUND_SECONDS if round_ else 0.5  # the first warms connections and plans up
        one = await closed_loop(url, LIMIT_KEY, order, status=201, connections=callers, seconds=seconds)
        other = await closed_loop(limit_url, LIMIT_KEY, bare, status=201, connections=callers, seconds=seconds)
        if round_:
            ours.append(one)
            limits.append(other)
    return statistics.median(ours), statistics.median(limits)


async def _single(url: str, order: Callable[[Connection], Awaitable[Answer]]) -> float:
    """Median milliseconds of a POST at one caller."""
    connection = await Connection(url, LIMIT_KEY).open()
    for _ in range(300):  # warms connections and plans up; a tenant's first call also reads its key and its terms
        await order(connection)
    answers = [await order(connection) for _ in range(300)]
    connection.close()
    return statistics.median(answer.seconds for answer in answers) * 1000


async def _place(url: str, market: Market, orders: int) -> None:
    """Accept orders that nobody works on yet; those of the measurements before are part of the backlog."""
    order = market.orders()
    connections = [await Connection(url, LIMIT_KEY).open() for _ in range(8)]

    async def placing(connection: Connection) -> None:
        for _ in range(orders // len(connections)):
            await _accepted(order(connection))

    await asyncio.gather(*(placing(connection) for connection in connections))


async def _drained(app: App, market: Market) -> float:
    """Fills per second of the backlog, from its first fill to its last."""
    stop = asyncio.Event()
    ticks = asyncio.create_task(_tick(app, market, stop))
    try:
        await _until_idle(app, market)
    finally:
        stop.set()
        await ticks
    rows = await _of_all(
        app, market, "select count(*) as fills, min(recorded_at) as first, max(recorded_at) as last from fills"
    )
    filled = [row for row in rows if row.fills]
    seconds = (max(row.last for row in filled) - min(row.first for row in filled)).total_seconds()
    return float(sum(row.fills for row in filled) / seconds)


async def _of_all(app: App, market: Market, sql: str, **values: Any) -> list[Any]:
    """What `sql` answers for each tenant."""
    found: list[Any] = []
    for trader in market.traders:
        async with app.database.tx(trader.tenant_id) as tx:
            found += (await tx.execute(text(sql), values)).all()
    return found


async def _fills(app: App, url: str, market: Market, rate: int, seconds: float = RATE_SECONDS) -> list[float]:
    """Milliseconds from the order's commit to its fill's, at `rate` orders a second (Poisson arrivals)."""
    stop = asyncio.Event()
    ticks = asyncio.create_task(_tick(app, market, stop))
    try:
        await _until_idle(app, market)
        began = await app.database.pool.fetchval("select clock_timestamp()")
        randomness = random.Random(7)
        order = market.orders()
        connections = [await Connection(url, LIMIT_KEY).open() for _ in range(8)]
        pending = []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(randomness.expovariate(rate))
            pending.append(asyncio.create_task(_accepted(order(connections[number % 8]))))
        await asyncio.gather(*pending)
        await _until_idle(app, market)
        rows = await _of_all(
            app,
            market,
            "select extract(epoch from f.recorded_at - o.created_at) * 1000 as ms from fills f join orders o "
            "on o.tenant_id = f.tenant_id and o.id = f.order_id where o.created_at > :began",
            began=began,
        )
        return [float(row.ms) for row in rows]
    finally:
        stop.set()
        await ticks


async def _accepted(asked: Awaitable[Answer]) -> None:
    answer = await asked
    if answer.status != 201:
        raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")


async def _tick(app: App, market: Market, stop: asyncio.Event) -> None:
    await tick(
        app.settings.stream_url,
        market.instruments,
        start=START,
        price=PRICE,
        step=100,
        per_second=TICKS_PER_SECOND,
        stop=stop,
    )


async def _until_idle(app: App, market: Market) -> None:
    """Until nothing of these traders waits to be sent and nothing rests. Asked of all at once: to ask each in turn took
    more of the machine than much of what is measured."""
    working = (
        "select exists (select from work_items where queue = 'execution' and state = 'ready' and tenant_id = any ($1)) "
        "or exists (select from paper_orders where tenant_id = any ($1))"
    )
    traders = [trader.tenant_id for trader in market.traders]
    for _ in range(3_000):
        if not await app.database.dispatch.fetchval(working, traders):
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("orders were still working after five minutes")
