"""The stages on which one suite of tests runs: the paper venue, and the fake live broker behind its HTTP adapter."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import pytest
import pytest_asyncio

from app.bootstrap import open_brokers
from app.kernel.orders import OrderType, Side, Validity
from app.trading.brokers.ports import Accepted, Broker, BrokerAccount, BrokerOrder, Outcome
from app.trading.brokers.service import GuardedBroker
from app.trading.orders.service.outcomes import broker_order
from tests.contract.adapter.broker import LiveBroker
from tests.contract.adapter.config import LiveConfig
from tests.contract.adapter.transport import LiveTransport
from tests.contract.fakelive.server import FakeServer, serving
from tests.contract.fakelive.venue import FakeVenue, VenueOrder
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.conftest import live as live
from tests.integration.trading.conftest import venue as venue


class Stage(Protocol):
    """A broker, and the hand that moves the market behind it."""

    broker: Broker
    desk: Venue

    async def reach(self, order: BrokerOrder) -> None:
        """The exchange has the order."""

    async def fill(self, order: BrokerOrder, quantity: int, price: str) -> None:
        """The exchange executes it."""

    async def restarted(self) -> Broker:
        """The broker as another process sees it."""


async def intend(desk: Venue, **changes: Any) -> BrokerOrder:
    """An order that is about to be sent: to buy 10 at 20.00 or better, changed as asked."""
    limit = {"order_type": OrderType.LIMIT, "limit_price": PRICE, "side": Side.BUY, "validity": Validity.DAY}
    placed = await desk.order(**limit | changes)
    begun = await desk.app.database.pool.fetchval("select orders_begin($1, $2, 1)", desk.tenant_id, placed.id)
    return broker_order(desk.tenant_id, json.loads(begun))


async def send(broker: Broker, order: BrokerOrder) -> BrokerOrder:
    """The order as it is known once the broker has taken it."""
    outcome: Outcome = await broker.submit(order)
    assert isinstance(outcome, Accepted), outcome
    return replace(order, venue_order_id=outcome.venue_order_id)


@dataclass
class PaperStage:
    """The paper venue: what it is shown fills what rests below it."""

    desk: Venue
    broker: Broker

    async def reach(self, order: BrokerOrder) -> None:
        """It is in the book at once."""

    async def fill(self, order: BrokerOrder, quantity: int, price: str) -> None:
        assert quantity == order.quantity  # an order fills whole
        await self.desk.show(round(float(price) * 10_000))

    async def restarted(self) -> Broker:
        return open_brokers(self.desk.app)["paper"]


@dataclass
class LiveStage:
    """The fake live broker on loopback."""

    desk: Venue
    broker: Broker
    server: FakeServer
    config: LiveConfig
    stack: AsyncExitStack
    tokens: dict[UUID, str] = field(default_factory=dict)

    @property
    def exchange(self) -> FakeVenue:
        return self.server.venue

    def at_broker(self, order: BrokerOrder) -> VenueOrder:
        """The one order that bears its tag."""
        (found,) = self.exchange.tagged(order.tag)
        return found

    async def reach(self, order: BrokerOrder) -> None:
        self.exchange.open(self.at_broker(order).order_id)

    async def fill(self, order: BrokerOrder, quantity: int, price: str) -> None:
        self.exchange.fill(self.at_broker(order).order_id, quantity, price)

    async def restarted(self) -> Broker:
        transport = LiveTransport(self.config)
        self.stack.push_async_callback(transport.close)
        return LiveBroker(transport)


@pytest_asyncio.fixture
async def live_stage(live: Venue) -> AsyncIterator[LiveStage]:
    """Served over HTTP and WebSocket, with one session, and an impatient adapter."""
    async with AsyncExitStack() as stack:
        exchange = FakeVenue(clock=lambda: datetime.now(UTC))
        server = await stack.enter_async_context(serving(exchange))
        tokens = {live.account_id: f"secret{live.account_id.hex}"}
        exchange.tokens[tokens[live.account_id]] = str(live.account_id)

        def session(account: BrokerAccount) -> str | None:
            return tokens.get(account.account_id)

        config = LiveConfig(server.http, server.websocket, "key", session, timeout_seconds=1.0, silence_seconds=1.0)
        transport = LiveTransport(config)
        stack.push_async_callback(transport.close)
        yield LiveStage(live, LiveBroker(transport), server, config, stack, tokens)


@pytest.fixture
def paper_stage(venue: Venue) -> PaperStage:
    return PaperStage(venue, open_brokers(venue.app)["paper"])


@pytest.fixture(params=["paper", "live", "guarded"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """Each broker in turn, the live one also behind its guard."""
    if request.param != "paper":
        found: LiveStage = request.getfixturevalue("live_stage")
        if request.param == "guarded":
            found.broker = GuardedBroker("live", found.broker, found.desk.app.database.pool)
        return found
    paper: PaperStage = request.getfixturevalue("paper_stage")
    return paper


async def until(true: Any, *, seconds: float = 10.0) -> None:
    """Wait for what another task brings about."""
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.02)
