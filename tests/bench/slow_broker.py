"""What a slow broker costs others: accept → filled on paper while eight accounts of another broker wait 7 s for every
answer, through Celery. Limit: the same without them, in the same worker, rounds taken in turn: the 99th percentile of
all rounds of each, since one round's hangs on how its few slowest went. The ratio must be 2 at most.

The slow accounts' tenant lies in the same shard as the others', so that the same wake-ups serve both. Their broker
stands behind its guard, as `open_brokers` would put it; `python -m tests.bench.slow_broker` is a worker that knows it.
"""

import asyncio
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from app.bootstrap import App, open_brokers
from app.infra.settings import load_settings
from app.infra.work.tables import shard_of
from app.kernel.orders import OrderType, Product, Side, Validity
from app.market.instruments.service import find_instrument
from app.platform.tenancy.service import create_tenant
from app.trading.brokers.ports import (
    Accepted,
    Broker,
    BrokerAccount,
    BrokerOrder,
    Capabilities,
    Change,
    NotFound,
    Outcome,
    Rejected,
    Report,
    Updates,
    VenuePosition,
)
from app.trading.brokers.service import guarded
from app.trading.orders.service import PlaceOrder, place_order
from app.trading.risk.service import TENANT, set_limit
from tests.bench.measure import Figure, figure
from tests.bench.servers import process
from tests.factories.live_accounts import open_live_account

NAME = "slow"
ACCOUNTS, ANSWER_SECONDS = 8, 7.0
ORDERS = 2
"""Of each slow account in a round: more than it can send while the others are measured."""

ROUNDS = 3


class SlowBroker:
    """Takes everything, after seven seconds."""

    capabilities = Capabilities(
        order_types=frozenset(OrderType),
        validities=frozenset(Validity),
        modify=False,
        changes_validity=False,
        native_iceberg=False,
        orders_per_second=10,
        updates=Updates.POLL,
        sure=False,
    )

    async def submit(self, order: BrokerOrder) -> Outcome:
        await asyncio.sleep(ANSWER_SECONDS)
        return Accepted(order.tag)

    async def modify(self, order: BrokerOrder, change: Change) -> Outcome:
        await asyncio.sleep(ANSWER_SECONDS)
        return Rejected("it takes no changes")

    async def cancel(self, order: BrokerOrder) -> Outcome:
        await asyncio.sleep(ANSWER_SECONDS)
        return Accepted(order.tag)

    async def find(self, order: BrokerOrder) -> Report | NotFound:
        await asyncio.sleep(ANSWER_SECONDS)
        return NotFound()

    async def orders(self, account: BrokerAccount) -> Sequence[Report]:
        await asyncio.sleep(ANSWER_SECONDS)
        return []

    async def positions(self, account: BrokerAccount) -> Sequence[VenuePosition]:
        await asyncio.sleep(ANSWER_SECONDS)
        return []

    async def updates(self, account: BrokerAccount) -> AsyncIterator[str | None]:
        return
        yield


async def slow_broker(
    app: App, environ: dict[str, str], others: UUID, fills: Callable[[], Awaitable[list[float]]]
) -> Figure:
    """The figure. `fills` measures the tenant `others` for some seconds: milliseconds from accept to fill, order by
    order."""
    slow = await _slow_tenant(app, shard_of(others))
    instrument_id = (await find_instrument(app.database.pool, "AAPL", "XNAS", now=datetime.now(UTC))).id
    accounts = [await _account(app, slow) for _ in range(ACCOUNTS)]
    ours: list[float] = []
    limit: list[float] = []
    with (
        process(["-m", "tests.bench.slow_broker"], environ),
        process(["-m", "workers", "daemon", "--roles", "relay,matcher,follower"], environ),
    ):
        await fills()  # connections and plans warm up
        for _ in range(ROUNDS):
            limit += await fills()
            for account_id in accounts * ORDERS:
                await _place(app, slow, account_id, instrument_id)
            await _until(app, slow, "submitting", ACCOUNTS)
            ours += await fills()
            waiting = await _waiting(app, slow)
            if waiting["submitting"] < ACCOUNTS:
                raise RuntimeError(f"the slow broker answered while others were measured: {waiting}")
            await _until(app, slow, "submitting", 0)
    return figure("slow-broker", _p99(ours), _p99(limit), "ms")


def _p99(milliseconds: list[float]) -> float:
    return statistics.quantiles(milliseconds, n=100)[98]


async def _slow_tenant(app: App, shard: int) -> UUID:
    """In the shard `shard`: a new tenant's is any of 16."""
    while True:
        tenant_id = await create_tenant(app.database, slug=f"slow-{uuid4().hex[:8]}", name="Slow")
        if shard_of(tenant_id) == shard:
            async with app.database.tx(tenant_id) as tx:
                await set_limit(tx, TENANT, "max_open_orders", {"limit": 1_000_000})
            return tenant_id


async def _account(app: App, tenant_id: UUID) -> UUID:
    now = datetime.now(UTC)
    return await open_live_account(app.database, tenant_id, feed="replay", cash_minor=10**11, now=now, broker=NAME)


async def _place(app: App, tenant_id: UUID, account_id: UUID, instrument_id: UUID) -> None:
    command = PlaceOrder(
        account_id, instrument_id, Side.BUY, OrderType.MARKET, 1, None, Product.DELIVERY, Validity.GTC, uuid4().hex
    )
    async with app.database.tx(tenant_id) as tx:
        placed = await place_order(tx, command, now=datetime.now(UTC))
    if placed.reasons:
        raise RuntimeError(f"the slow account's order was denied: {placed.reasons}")


async def _until(app: App, tenant_id: UUID, status: str, orders: int) -> None:
    """Until so many of the tenant's orders have the status; where it is none, nothing waits to be sent either."""
    for _ in range(600):
        waiting = await _waiting(app, tenant_id)
        if waiting[status] == orders and (orders or not waiting["accepted"]):
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the slow broker's orders did not come to {orders} {status}: {waiting}")


async def _waiting(app: App, tenant_id: UUID) -> Counter[str]:
    """How many of the tenant's orders wait to be sent (`accepted`) and for their broker's answer (`submitting`)."""
    sql = "select status from orders where tenant_id = $1"
    async with app.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(tenant_id))
        return Counter(row["status"] for row in await connection.fetch(sql, tenant_id))


def _with_slow_broker(app: App) -> dict[str, Broker]:
    return {**open_brokers(app), **guarded({NAME: SlowBroker()}, app.database.pool)}


def _work() -> int:
    import workers.trading
    from workers.main import run_worker

    wiring: Any = workers.trading
    wiring.open_brokers = _with_slow_broker  # the only place that knows brokers; there is no adapter yet
    return run_worker(load_settings())


if __name__ == "__main__":
    sys.exit(_work())
