"""429 for orders that take risk while the tenant's work is late; never for what takes risk away."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.bootstrap import App
from app.infra.database import Database
from app.infra.work.backlog import Backlog
from app.kernel.errors import DomainError
from app.kernel.ids import uuid7
from app.kernel.orders import OrderStatus, OrderType, Product, Side, Validity
from app.trading.orders.service import PlacedOrder, PlaceOrder, place_order
from tests.factories.tenants import TenantWithKey, make_tenant
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.test_orders_api import _body

BOUND = timedelta(hours=1)
QUEUE = "test-backlog"
"""Of tests whose rows nobody can run."""


@pytest_asyncio.fixture
async def tenant_id(database: Database) -> UUID:
    return (await make_tenant(database)).tenant_id


async def delay(database: Database, tenant_id: UUID, by: timedelta) -> None:
    """As if the tenant's ready work had waited so much longer."""
    await database.dispatch.execute(
        "update work_items set available_at = available_at - $2::interval where tenant_id = $1 and state = 'ready'",
        tenant_id,
        by,
    )


async def lease(database: Database, tenant_id: UUID, lane: UUID) -> None:
    await database.dispatch.execute(
        "insert into work_leases (tenant_id, queue, lane, lease_until, fence, holder) "
        "values ($1, 'test-backlog', $2, clock_timestamp() + interval '30 seconds', 1, 'test')",
        tenant_id,
        lane,
    )


async def read(database: Database, bound: timedelta = BOUND, *, queue: str = QUEUE) -> Backlog:
    backlog = Backlog(database.dispatch, {queue: bound})
    await backlog.read()
    return backlog


async def work(database: Database, tenant_id: UUID, lane: UUID | None = None, **options: Any) -> None:
    async with database.tx(tenant_id) as tx:
        tx.work(QUEUE, "note", lane or uuid7(), {}, **options)


async def test_who_waits_longer_than_the_bound_is_late_and_nobody_else(database: Database, tenant_id: UUID) -> None:
    other = (await make_tenant(database)).tenant_id
    for tenant in (tenant_id, other):
        await work(database, tenant)
    await delay(database, tenant_id, BOUND)
    backlog = await read(database)
    assert (backlog.late(QUEUE, tenant_id), backlog.late(QUEUE, other)) == (True, False)
    assert not backlog.late("default", tenant_id)
    assert not (await read(database, 2 * BOUND)).late(QUEUE, tenant_id)


async def test_what_is_due_later_or_done_or_dead_is_not_late(database: Database, tenant_id: UUID) -> None:
    await work(database, tenant_id, available_at=datetime.now(UTC) + timedelta(days=1))
    assert not (await read(database, timedelta(0))).late(QUEUE, tenant_id)
    await delay(database, tenant_id, timedelta(days=2))
    assert (await read(database)).late(QUEUE, tenant_id)
    for state in ("done", "dead"):
        await database.dispatch.execute("update work_items set state = $2 where tenant_id = $1", tenant_id, state)
        assert not (await read(database)).late(QUEUE, tenant_id)


async def test_a_lane_that_somebody_runs_makes_nobody_late(database: Database, tenant_id: UUID) -> None:
    lane = uuid7()
    await work(database, tenant_id, lane)
    await delay(database, tenant_id, BOUND)
    await lease(database, tenant_id, lane)
    assert not (await read(database)).late(QUEUE, tenant_id)
    await database.dispatch.execute(
        "update work_leases set lease_until = '-infinity' where tenant_id = $1 and lane = $2", tenant_id, lane
    )
    assert (await read(database)).late(QUEUE, tenant_id)


async def test_what_waits_behind_an_item_that_failed_makes_nobody_late(database: Database, tenant_id: UUID) -> None:
    lane = uuid7()
    await work(database, tenant_id, lane)
    await database.dispatch.execute(
        "update work_items set attempts = 1, last_error = 'broken', available_at = available_at + interval '1 minute' "
        "where tenant_id = $1",
        tenant_id,
    )
    await work(database, tenant_id, lane)
    await database.dispatch.execute(
        "update work_items set available_at = available_at - $2::interval where tenant_id = $1 and attempts = 0",
        tenant_id,
        BOUND,
    )
    assert not (await read(database)).late(QUEUE, tenant_id)
    await work(database, tenant_id, lane, priority=0)  # a cancel waits for nobody
    await database.dispatch.execute(
        "update work_items set available_at = available_at - $2::interval where tenant_id = $1 and priority = 0",
        tenant_id,
        BOUND,
    )
    assert (await read(database)).late(QUEUE, tenant_id)


async def test_nobody_is_late_while_the_backlog_cannot_be_read(database: Database, tenant_id: UUID) -> None:
    await work(database, tenant_id)
    await delay(database, tenant_id, BOUND)

    class Away:
        def __init__(self) -> None:
            self.away, self.reads = False, 0

        async def fetch(self, *asked: object) -> list[asyncpg.Record]:
            self.reads += 1
            if self.away:
                raise OSError("away")
            found: list[asyncpg.Record] = await database.dispatch.fetch(*asked)
            return found

    dispatch, stop = Away(), asyncio.Event()
    backlog = Backlog(dispatch, {QUEUE: BOUND})
    running = asyncio.ensure_future(backlog.run(stop))
    await _until(lambda: backlog.late(QUEUE, tenant_id))
    dispatch.away = True
    await _until(lambda: not backlog.late(QUEUE, tenant_id))
    dispatch.away = False
    await _until(lambda: backlog.late(QUEUE, tenant_id))
    stop.set()
    await running


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


async def test_an_exit_passes_where_an_entry_is_refused_and_a_denial_is_told(venue: Venue) -> None:
    database = venue.app.database
    await venue.order()
    await venue.work()
    await venue.show(PRICE)
    await venue.order(order_type=OrderType.LIMIT, limit_price=PRICE)
    await delay(database, venue.tenant_id, BOUND)
    backlog = await read(database, queue="execution")

    async def place(side: Side, quantity: int, client_order_id: str = "") -> PlacedOrder:
        command = PlaceOrder(
            venue.account_id, venue.instrument_id, side, OrderType.MARKET, quantity, None, Product.DELIVERY,
            Validity.DAY, client_order_id or uuid4().hex,
        )  # fmt: skip
        async with database.tx(venue.tenant_id) as tx:
            return await place_order(tx, command, now=datetime.now(UTC), backlog=backlog)

    with pytest.raises(DomainError) as refused:
        await place(Side.BUY, 1, "late")
    assert (refused.value.code, refused.value.retry_after_s) == ("backlog_late", 1800)
    assert await venue.rows("select 1 from orders where client_order_id = 'late'") == []
    assert (await place(Side.BUY, 10_000_000)).status is OrderStatus.DENIED
    assert (await place(Side.SELL, 10, "exit")).status is OrderStatus.ACCEPTED
    assert (await place(Side.SELL, 10, "exit")).replayed
    assert (await place(Side.SELL, 10)).status is OrderStatus.DENIED, "it is being sold already"


async def test_over_the_api_only_what_takes_risk_is_told_to_come_back(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    body = await _body(api, tenant)
    key = {"Idempotency-Key": uuid4().hex}
    placed = (await api.post("/v1/orders", headers=tenant.headers | key, json=body)).json()
    await delay(app.database, tenant.tenant_id, timedelta(days=2))

    async def late() -> httpx.Response:
        return await api.post("/v1/orders", headers=tenant.headers, json=body)

    refused = await _answer(late, 429)
    assert refused.json()["code"] == "backlog_late"
    assert refused.json()["retryable"] is True
    assert int(refused.headers["retry-after"]) > 0
    again = await api.post("/v1/orders", headers=tenant.headers | key, json=body)
    assert (again.status_code, again.json()["id"]) == (200, placed["id"])
    dry = await api.post("/v1/orders", headers=tenant.headers, json=body, params={"dry_run": True})
    assert dry.status_code == 200
    account = {"account_id": body["account_id"]}
    for path, sent, status in (
        (f"/v1/orders/{placed['id']}/cancel", None, 202),
        ("/v1/orders/cancel_all", account, 202),
        ("/v1/positions/exit_all", account, 202),
    ):
        answer = await api.post(path, headers=tenant.headers, json=sent)
        assert answer.status_code == status, answer.text
    other = await make_tenant(app.database)
    assert (await api.post("/v1/orders", headers=other.headers, json=await _body(api, other))).status_code == 201
    await app.database.dispatch.execute("update work_items set state = 'done' where tenant_id = $1", tenant.tenant_id)
    await _answer(late, 201)


async def _answer(call: Callable[[], Awaitable[httpx.Response]], status: int) -> httpx.Response:
    """The first answer of this status: the gateway looks four times a second."""
    async with asyncio.timeout(20):
        while (answer := await call()).status_code != status:
            await asyncio.sleep(0.05)
        return answer


async def test_backtests_and_sweeps_wait_for_those_before_them(
    api: httpx.AsyncClient, app: App, tenant: TenantWithKey
) -> None:
    gateway = Backlog(app.database.dispatch, {"backtests": BOUND})
    async with app.database.tx(tenant.tenant_id) as tx:
        tx.work("backtests", "note", uuid7(), {})
    await delay(app.database, tenant.tenant_id, timedelta(days=2))
    await gateway.read()
    with pytest.raises(DomainError, match="Wait for Retry-After"):
        gateway.refuse("backtests", tenant.tenant_id)
