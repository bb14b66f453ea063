"""A thousand seeds: every failure of a live broker and every death of a worker, at random, in virtual time.

Whatever happened, in the end the broker has one order for each that was sent, its fate and its fills are ours, and what
was to be taken back has ended.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID, uuid4

import pytest

from app.infra.work.runner import Item, Retry
from app.kernel.ids import broker_tag
from app.kernel.orders import OrderType
from app.trading.brokers.ports import Broker, BrokerAccount
from app.trading.orders.service import Desk
from app.trading.orders.service.executing import cancel, resolve_unknown, submit
from app.trading.orders.service.reconciling import Book, read_book
from tests.contract.adapter.broker import LiveBroker
from tests.contract.adapter.config import LiveConfig
from tests.contract.adapter.transport import LiveTransport
from tests.contract.fakelive.venue import AFTER, BEFORE, ENDED, FakeVenue, Fault
from tests.contract.fakelive.wire import Crash, Wire
from tests.factories.live_accounts import open_live_account
from tests.integration.trading.conftest import AT, PRICE, Venue

PLACE = (*BEFORE, *AFTER, *AFTER, Fault.BUSY, Fault.NO_SESSION, Fault.REFUSE, Fault.REJECT_LATER)
CANCEL = (*BEFORE, Fault.DROP_AFTER, Fault.LATE, Fault.HTML_AFTER, Fault.BUSY, Fault.FILL_FIRST, Fault.SLOW_CANCEL)
READ = (*BEFORE, Fault.HTML_AFTER, Fault.BUSY, Fault.NO_SESSION)
SEEDS = 1_000
PARTS = 8
_ENDS = {"COMPLETE": "filled", "CANCELLED": "cancelled", "REJECTED": "rejected"}


@dataclass
class Life:
    """One order, its account's broker, and everybody who has a hand in it."""

    desk: Venue
    seed: int
    random: Random = field(init=False)
    now: datetime = field(init=False)
    exchange: FakeVenue = field(init=False)
    broker: Broker = field(init=False)
    worker: Desk = field(init=False)
    order_id: UUID = field(init=False)
    mortal: bool = True
    resolved: int = 0
    cancelling: bool = False
    done: set[str] = field(default_factory=set)
    """Work that nobody will do again."""

    attempts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random, self.now = Random(self.seed), datetime.now(UTC)
        self.exchange = FakeVenue(clock=lambda: self.now)
        self.exchange.tokens["t"] = str(self.desk.account_id)
        wire = Wire(self.exchange, crashes=self.dies, random=self.random)
        config = LiveConfig("http://broker", "", "k", lambda _: "t")
        self.broker = LiveBroker(LiveTransport(config, wire=wire))
        desk = self.desk.desk()
        self.worker = Desk(desk.database, {"live": self.broker}, lambda: self.now, desk.deadline)

    def dies(self, method: str) -> bool:
        """Whether a worker dies of a call: most often of the one that matters most."""
        return self.mortal and self.random.random() < (0.3 if method == "POST" else 0.08)

    async def begin(self) -> None:
        placed = await self.desk.order(order_type=OrderType.LIMIT, limit_price=PRICE)
        self.order_id = placed.id
        for kind, faults, chance in (("place", PLACE, 0.7), ("cancel", CANCEL, 0.6), ("read", READ, 0.3)):
            for _ in range(3):
                if self.random.random() < chance:
                    self.exchange.fail(kind, self.random.choice(faults))

    async def run(self) -> None:
        steps: list[Callable[[], Awaitable[object]]] = [
            self.sends,
            self.resolves,
            self.cancels,
            self.listens,
            self.trades,
            self.waits,
        ]
        await (self.races if self.random.random() < 0.3 else self.sends)()
        for _ in range(self.random.randint(3, 9)):
            await self.random.choice(steps)()

    async def work(self, kind: str, run: Callable[[Desk, Item], Awaitable[None]]) -> bool:
        """Run a row of work once, as a worker that may die of it, unless it is done. Whether it is."""
        if kind in self.done:
            return True
        self.attempts[kind] += 1
        item = Item(
            self.desk.tenant_id,
            uuid4(),
            self.order_id,
            kind,
            {"order_id": str(self.order_id)},
            attempts=self.attempts[kind],
            fence=1,
        )
        try:
            await run(self.worker, item)
        except (Retry, Crash):
            return False
        self.done.add(kind)
        return True

    async def sends(self) -> bool:
        return await self.work("order.submit", submit)

    async def resolves(self) -> bool:
        """As often as its fate became unknown, and not once more."""
        rows = await self.desk.rows("select 1 from work_items where lane = :id", id=self.order_id)
        if self.resolved == len(rows):
            return True
        self.done.discard("order.resolve")
        done = await self.work("order.resolve", resolve_unknown)
        self.resolved += done
        return done

    async def cancels(self) -> bool:
        self.cancelling = True
        return await self.work("order.cancel", cancel)

    async def races(self) -> None:
        """Sender and canceller at once: a lane has a new holder while the old one still waits for its answer."""
        await asyncio.gather(self.sends(), self.cancels())

    async def listens(self) -> None:
        try:
            book = Book(BrokerAccount(self.desk.tenant_id, self.desk.account_id), self.broker)
            await read_book(self.worker, book, differences=self.random.random() < 0.5)
        except Crash:
            pass

    async def trades(self) -> None:
        for order in list(self.exchange.orders.values()):
            if order.status not in ENDED:
                left = order.quantity - order.filled
                self.exchange.open(order.order_id)
                price = self.random.choice(("20.00", "19.95", "19.90"))
                self.exchange.fill(order.order_id, self.random.randint(1, left), price)

    async def waits(self) -> None:
        self.now += timedelta(seconds=self.random.choice((1, 20, 60)))

    async def settle(self) -> None:
        """Nothing fails any more, the day ends, and everybody finishes what he began."""
        self.mortal = False
        self.exchange.faults.clear()
        self.now += timedelta(seconds=100)
        assert await self.sends()
        there = self.exchange.tagged(broker_tag(self.order_id))
        if self.cancelling:
            await self.cancels()
            assert all(order.status in (*ENDED, "CANCEL PENDING") for order in there), "a cancel is lost"
        for order in there:
            self.exchange.end(order.order_id)
        self.now += timedelta(seconds=200)
        while not await self.resolves():
            self.now += timedelta(seconds=200)
        await self.listens()
        assert not self.cancelling or await self.cancels() or not there

    async def check(self) -> str:
        """Ours is what the broker has. Answers how it ended."""
        ours = (
            await self.desk.rows(
                "select status, filled_quantity, hold_minor from orders where id = :id", id=self.order_id
            )
        )[0]
        fills = await self.desk.rows(
            "select venue_fill_id, quantity from fills where order_id = :id order by venue_fill_id", id=self.order_id
        )
        there = self.exchange.tagged(broker_tag(self.order_id))
        assert len(there) <= 1, "sent twice"
        if not there:
            assert ours["status"] in ("rejected", "cancelled", "lost"), ours
            assert not fills
        else:
            assert ours["status"] == _ENDS[there[0].status], (ours, there[0])
            assert ours["filled_quantity"] == there[0].filled
            assert [(one["venue_fill_id"], one["quantity"]) for one in fills] == [
                (trade["trade_id"], trade["quantity"]) for trade in there[0].trades
            ]
        return str(ours["status"])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
async def test_no_failure_loses_an_order_doubles_it_or_forgets_a_cancel(venue: Venue, part: int) -> None:
    account = await open_live_account(venue.app.database, venue.tenant_id, feed=venue.feed, cash_minor=10**12, now=AT)
    venue.account_id = account
    ends: Counter[str] = Counter()
    met: Counter[Fault] = Counter()
    for seed in range(part, SEEDS, PARTS):
        life = Life(venue, seed)
        await life.begin()
        try:
            await life.run()
            await life.settle()
            ends[await life.check()] += 1
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        met.update(life.exchange.met)
    await venue.app.database.dispatch.execute("delete from work_items where tenant_id = $1", venue.tenant_id)
    assert {"filled", "cancelled", "rejected", "lost"} <= set(ends), ends
    assert set(Fault) <= set(met), met
    await venue.is_sound()
