"""A market that stands still at one price, a tenant with a funded account, and the worker's and matcher's own code."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text

from app.bootstrap import App, open_brokers
from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books, check
from app.infra.together import Together
from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.ids import uuid7
from app.kernel.money import Money
from app.kernel.orders import OrderType, Product, Side, Validity
from app.market.instruments.service import find_instrument
from app.platform.tenancy.service import create_tenant
from app.trading.brokers.ports import Broker
from app.trading.orders.service import Desk, PlacedOrder, PlaceOrder, handlers, open_desk, place_order
from app.trading.orders.service.matching import match_entries
from app.trading.portfolio.service import settle_due
from tests.factories.live_accounts import BROKER, open_live_account
from tests.factories.reference import seeded
from tests.factories.tenants import TenantWithKey, make_tenant

AT = datetime(2003, 1, 2, 21, 0, tzinfo=UTC)
PRICE = 200_000  # 20.00


@dataclass
class Venue:
    """One feed of its own with one account on it. Prices are what the test publishes."""

    app: App
    tenant_id: UUID
    account_id: UUID
    instrument_id: UUID
    feed: str
    place: int = 0
    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def order(self, **changes: Any) -> PlacedOrder:
        """Place a market order to buy 10, changed as asked, now or `at` another time.

        `apart`: as another process would, which waits for no turn of this one's; `together`: as whose it is.
        """
        at = changes.pop("at", None) or datetime.now(UTC)
        together = changes.pop("together", None)
        if changes.pop("apart", False):
            together = Together(self.app.database.pool)
        asked: dict[str, Any] = {
            "account_id": self.account_id,
            "instrument_id": self.instrument_id,
            "side": Side.BUY,
            "order_type": OrderType.MARKET,
            "quantity": 10,
            "limit_price": None,
            "product": Product.DELIVERY,
            "validity": Validity.DAY,
            "client_order_id": uuid4().hex,
        }
        async with self.app.database.tx(self.tenant_id) as tx:
            if together is not None:
                tx._together = together
            return await place_order(tx, PlaceOrder(**asked | changes), now=at)

    async def work(self) -> int:
        """Run the tenant's lanes as a worker does."""
        shard = shard_of(self.tenant_id)
        await self.forget_others()
        return await drain(self.app.database.dispatch, handlers(self.desk()), "execution", shard, holder="test")

    async def forget_others(self) -> None:
        """Remove what earlier tests left to do: a drain of the shard would work on it, too, with this test's broker."""
        left = "delete from work_items where queue = 'execution' and tenant_id <> $1"
        await self.app.database.dispatch.execute(left, self.tenant_id)

    def desk(self, broker: Broker | None = None) -> Desk:
        """The desk of a worker; with `broker` instead of the paper venue."""
        return open_desk(self.app, open_brokers(self.app) if broker is None else {"paper": broker, BROKER: broker})

    async def show(self, *prices: int, close: bool = False, first: bool = False, days: int = 1) -> None:
        """Publish prices (and the session's end) and let the matcher commit what they cause."""
        entries: list[dict[str, str]] = [
            {
                "type": "price",
                "instrument_id": str(self.instrument_id),
                "price": str(price),
                "volume": "100",
                "at": (AT + timedelta(days=days)).isoformat(),
                "first": "1" if first else "0",
            }
            for price in prices
        ]
        if close:
            entries.append({"type": "session_close", "venue": "XNAS", "at": (AT + timedelta(days=1)).isoformat()})
        await asyncio.sleep(0.002)  # the stream's clock may be a moment behind that of an order placed just before
        batch = [(str(await self.app.stream.xadd(f"feed:{self.feed}", cast(Any, entry))), entry) for entry in entries]
        after = self.sent[-1][0] if self.sent else "0-0"
        self.sent += batch
        await match_entries(self.app, self.feed, batch, after=after)

    async def settle(self, *, days: int) -> None:
        """Move the feed's clock, and let the settler do what is due."""
        at = AT + timedelta(days=days)
        await self.app.database.reference.execute("update feed_state set market_at = $2 where feed = $1", self.feed, at)
        await settle_due(self.app)

    async def securities(self) -> dict[str, Any]:
        """The account's units of the instrument: settled, and waiting for settlement."""
        sql = """
            select ledger_securities(:account, :instrument) as settled, coalesce((select sum(quantity)::bigint
                from settlements where state = 'pending' and instrument_id = :instrument), 0) as waiting
        """
        return (await self.rows(sql, account=self.account_id, instrument=self.instrument_id))[0]

    async def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.app.database.tx(self.tenant_id) as tx:
            return [dict(row) for row in (await tx.execute(text(sql), parameters)).mappings()]

    async def status(self, order_id: UUID) -> str:
        return str((await self.rows("select status from orders where id = :id", id=order_id))[0]["status"])

    async def is_sound(self) -> None:
        """The ledger balances, positions are what the fills sum to, nothing is held for orders that have ended."""
        async with self.app.database.tx(self.tenant_id) as tx:
            assert all(not row.problems for row in await check(tx))
        broken = await self.rows(
            """
            select p.quantity, f.net from positions p full join (
                select o.account_id, coalesce(o.deployment_id, o.account_id) as book_id, o.instrument_id, o.product,
                       sum(case f.side when 'buy' then f.quantity else -f.quantity end) as net
                from fills f join orders o on o.id = f.order_id group by 1, 2, 3, 4) f
                using (account_id, book_id, instrument_id, product) where p.quantity is distinct from f.net
            """
        )
        assert broken == []
        blocked = await self.rows(
            """
            select a.account_id, a.margin, a.financed, p.margin as of_positions, p.cost from ledger_accounts a
            join lateral (
                select coalesce(sum(margin_minor), 0) as margin, coalesce(sum(cost_minor), 0) as cost
                from positions where account_id = a.account_id and product = 'intraday') p on true
            where a.kind = 'client_cash'
            """
        )
        assert [one for one in blocked if (one["margin"], one["financed"]) != (one["of_positions"], one["cost"])] == []
        both = await self.rows(
            """
            select p.account_id, p.instrument_id, sum(p.quantity) as held,
                   ledger_securities(p.account_id, p.instrument_id) + coalesce((
                       select sum(s.quantity) from settlements s
                       where s.account_id = p.account_id and s.instrument_id = p.instrument_id
                         and s.state = 'pending'), 0) as booked
            from positions p group by 1, 2
            """
        )
        assert [row for row in both if row["held"] != row["booked"]] == []
        unsettled = await self.rows(
            """
            select a.account_id from ledger_accounts a left join settlements s
              on s.account_id = a.account_id and s.state = 'pending' where a.kind = 'client_cash' group by 1
            having min(a.receivable) <> coalesce(sum(s.receivable_minor), 0)
                or min(a.payable) <> coalesce(sum(s.payable_minor), 0)
            """
        )
        assert unsettled == []
        held = await self.rows("select sum(pending_out) as held from ledger_accounts where kind = 'client_cash'")
        asked = await self.rows(
            "select coalesce(sum(remaining), 0) as held from ledger_holds h where exists (select 1 from orders o "
            "where o.id = h.id and o.status in ('accepted', 'submitting', 'open', 'partially_filled', 'unknown'))"
        )
        assert held[0]["held"] == asked[0]["held"]


async def open_venue(app: App) -> Venue:
    """An account with 10,000.00 USD that trades AAPL, last seen at 20.00."""
    await seeded(app.database, app.settings)
    instrument = await find_instrument(app.database.pool, "AAPL", "XNAS", now=AT)
    feed = f"test-{uuid4().hex[:8]}"
    await app.database.reference.execute(
        "insert into feed_state (feed, interval, watermark, market_at, bars_published, last_stream_id, speed, status) "
        "values ($1, '1d', $2, $2, 0, '0-0', 0, 'running')",
        feed,
        AT,
    )
    await app.database.reference.execute(
        "insert into last_prices (feed, instrument_id, price, market_at, session_date) values ($1, $2, $3, $4, $5)",
        feed,
        instrument.id,
        PRICE,
        AT,
        date(2003, 1, 2),
    )
    tenant_id = await create_tenant(app.database, slug=f"t{uuid7().hex[-12:]}", name="T")
    async with app.database.tx(tenant_id) as tx:
        asked = NewAccount(name="a", currency="USD", opening_balance=Money(1_000_000, "USD"), feed=feed, slippage_bps=0)
        account = await create_account(tx, asked, books=Books(), now=AT)
    return Venue(app, tenant_id, account.id, instrument.id, feed)


@pytest_asyncio.fixture
async def venue(app: App) -> AsyncIterator[Venue]:
    """An account with 10,000.00 USD that trades AAPL, last seen at 20.00."""
    opened = await open_venue(app)
    yield opened
    with contextlib.suppress(asyncio.CancelledError):
        await app.stream.delete(f"feed:{opened.feed}")


@pytest_asyncio.fixture
async def live(venue: Venue) -> Venue:
    """The same with a live account, whose orders go to the broker that the test brings."""
    opened = await open_live_account(venue.app.database, venue.tenant_id, feed=venue.feed, cash_minor=1_000_000, now=AT)
    return replace(venue, account_id=opened)


@pytest_asyncio.fixture
async def api(gateway_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=gateway_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest_asyncio.fixture
async def tenant(app: App) -> TenantWithKey:
    """A tenant with every scope; the replay feed shows AAPL at 20.00 on 2003-01-02."""
    reference = app.database.reference
    await seeded(app.database, app.settings)
    instrument = await find_instrument(app.database.pool, "AAPL", "XNAS", now=AT)
    await reference.execute(
        "insert into feed_state (feed, interval, watermark, market_at, bars_published, last_stream_id, speed, status) "
        "values ('replay', '1d', $1, $1, 0, '0-0', 0, 'running') on conflict (feed) do nothing",
        AT,
    )
    await reference.execute(
        "insert into last_prices (feed, instrument_id, price, market_at, session_date) "
        "values ('replay', $1, $2, $3, $4) on conflict (feed, instrument_id) do nothing",
        instrument.id,
        PRICE,
        AT,
        date(2003, 1, 2),
    )
    return await make_tenant(app.database, now=datetime.now(UTC))
