"""A stretch of trading, drawn from a seed: callers, workers, matcher and listener, each of whom may fail at any call.

Time is the test's: leases end, delays are over and brokers' deadlines pass when it says so.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast
from uuid import UUID

from app.infra.process import App
from app.infra.work.relay import sent_key, wake
from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.orders import OrderClass, OrderStatus, OrderType, Side
from app.trading.brokers.ports import Accepted, BrokerAccount, BrokerOrder, Outcome, Report
from app.trading.orders.service import Desk, handlers
from app.trading.orders.service.matching import match_entries
from app.trading.orders.service.reconciling import Book, read_book
from app.trading.paper.service import PaperBroker, checkpoint
from tests.chaos.callers import TICK, Callers, Door
from tests.chaos.faults import FaultyBroker, Stall, end, overtaken, start
from tests.factories.live_accounts import BROKER
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.memory_broker import MemoryBroker, There

DEADLINE = timedelta(seconds=180)
LAST_ROUNDS = 3
QUIET_ROUNDS = 30
STANDS = ("broker.submit", "broker.cancel", "orders_rest_each", "orders_begin", "paper_accept", "work_next")
MATCHING = "orders_record_fills_each"
NEAR = range(-2, 3)
"""Ticks from the price at which orders are placed, where the tape usually is. Targets and stops lie ten away."""

ROUND = (-9, 11, -11)
"""Ticks at which, in turn, what rests is filled: entries, targets, stops."""

BELOW: dict[str, Any] = {"side": Side.BUY, "order_type": OrderType.LIMIT, "limit_price": PRICE - 5 * TICK}
ENDED = {
    OrderStatus.DENIED,
    OrderStatus.FILLED,
    OrderStatus.CANCELLED,
    OrderStatus.REJECTED,
    OrderStatus.EXPIRED,
    OrderStatus.LOST,
}

_UNFINISHED = """
    select to_jsonb(o) as waits from (select id, client_order_id, broker, status, status_reason from orders
                                      where status <> all (:ended)) o
    union all
    select to_jsonb(w) from (select kind, payload, attempts, last_error from work_items where state = 'ready') w
"""


@dataclass
class UnsureBroker(MemoryBroker):
    """Takes whatever is sent, also twice, and counts it: it is a broker, so it knows no idempotency."""

    sure: bool = False
    sent: Counter[str] = field(default_factory=Counter)

    @property
    def capabilities(self) -> Any:
        return replace(super().capabilities, sure=self.sure)

    async def submit(self, order: BrokerOrder) -> Outcome:
        self.sent[order.tag] += 1
        self.book.setdefault(order.tag, There(order, order.quantity))
        return Accepted(order.tag)

    async def orders(self, account: BrokerAccount) -> Sequence[Report]:
        return [there.report() for there in self.book.values() if there.order.account == account]


@dataclass
class Life:
    """One seed's trading on some desks. `app` is what fails; the desks' own never does."""

    app: App
    desks: list[Venue]
    seed: int
    door: Door
    forgetful: bool = False
    sure: bool = False
    """A flaw: the broker says that it takes an order once, however often it is sent."""

    random: Random = field(init=False)
    now: datetime = field(init=False)
    broker: UnsureBroker = field(init=False)
    callers: Callers = field(init=False)
    workers: int = 0
    books: dict[UUID, Book] = field(default_factory=dict)
    """What listeners know. One that fails, or is started anew, knows nothing."""

    def __post_init__(self) -> None:
        self.random, self.now = (
            Random(f"life {self.seed}"),
            datetime.now(UTC),
        )  # what fails is drawn from the seed itself
        self.broker = UnsureBroker(modify_works=self.random.random() < 0.5, sure=self.sure)
        self.faulty_broker = FaultyBroker(self.broker, cast(Any, self.app.redis)._faults)
        self.door.serve(self.app, lambda: self.now)
        self.callers = Callers(
            self.app, self.desks, self.seed, self.random, lambda: self.now, self.door, self.forgetful
        )

    async def run(self) -> None:
        callers = self.callers
        steps: list[Callable[[], Awaitable[None]]] = [
            callers.places,
            callers.groups,
            callers.insists,
            callers.repeats,
            callers.cancels,
            callers.leaves,
            *(self.works, self.matches, self.trades) * 2,
            self.overtakes,
            self.goes_out,
            self.listens,
            self.waits,
        ]
        await callers.places()
        await callers.groups()
        for _ in range(self.random.randint(4, 9)):
            await self.random.choice(steps)()

    async def tour(self) -> None:
        """Everything once."""
        callers = self.callers
        for desk in self.desks:
            for name in (*STANDS, MATCHING):
                await callers.places(desk)
                await self.overtakes(desk, Stall(name, after=False))
            await callers.places(desk, **BELOW)
            await callers.places(desk, **BELOW)
            await callers.insists(desk)
            await self.works()
            await callers.cancels(callers.intents[-2])
            await self.works()
        await self.matches()
        await self.trades(everything=True)
        await self.listens()
        for desk in self.desks:
            for self.broker.modify_works in (True, False):
                await self.goes_out(desk)
            await callers.places(desk, OrderClass.OCO)
            await callers.leaves(desk)
        await self.works()

    async def goes_out(self, desk: Venue | None = None) -> None:
        """A bracket is bought, and a part of its stop is traded, so that its target is brought down."""
        desk = desk or self.random.choice([desk for desk in self.desks if desk.place == 1])
        await self.callers.places(desk, OrderClass.BRACKET, quantity=10)
        await self.works()
        for there in self.broker.resting:
            if there.order.trigger_price is None and there.order.side is Side.BUY:
                self.broker.trade(there.order.tag, there.quantity - there.filled)
        await self.listens()
        await self.works()
        for there in self.broker.resting:
            if there.order.trigger_price is not None and there.quantity - there.filled > 1:
                self.broker.trade(there.order.tag, 1)
        await self.listens()
        await self.works()

    async def works(self) -> None:
        """The relay wakes a worker, who may end before he has begun."""
        sent: list[int] = []
        await end(start(self._relay(sent)))
        for shard in sent:
            await end(start(self._drain(shard)))

    async def _relay(self, sent: list[int]) -> None:
        rows = await self.app.database.dispatch.fetch("select queue, shard, ready from work_waiting()")
        waiting = [(row["queue"], row["shard"], row["ready"]) for row in rows if row["queue"] == "execution"]
        if waiting:
            await wake(self.app.redis, lambda _, shards: sent.extend(shards), waiting)

    async def _drain(self, shard: int) -> None:
        self.workers += 1
        paper = PaperBroker(self.app.database.pool, self.app.stream)
        brokers: Any = {"paper": paper, BROKER: self.faulty_broker}
        desk = Desk(self.app.database, brokers, lambda: self.now, DEADLINE)
        await self.app.redis.delete(sent_key("execution", shard))
        await drain(
            self.app.database.dispatch, handlers(desk), "execution", shard, holder=f"{self.seed}-{self.workers}"
        )

    async def overtakes(self, desk: Venue | None = None, stall: Stall | None = None) -> None:
        """A worker, or the matcher, stands still; another one does its work; then it goes on."""
        desk = desk or self.random.choice(self.desks)
        stall = stall or Stall(self.random.choice((*STANDS, MATCHING)), after=self.random.random() < 0.5)
        if stall.name == MATCHING:
            await self._overtakes_matcher(desk, stall)
            return

        async def another() -> None:
            await self.waits()
            await end(start(self._drain(shard_of(desk.tenant_id))))

        await overtaken(start(self._drain(shard_of(desk.tenant_id)), stall), stall, another)

    async def _overtakes_matcher(self, desk: Venue, stall: Stall) -> None:
        """The two run into each other: both have read the same part of the tape."""
        others: list[asyncio.Task[Any]] = []

        async def another() -> None:
            await self.waits()
            others.append(start(self._match(desk)))

        await overtaken(start(self._match(desk), stall), stall, another)
        await end(others.pop())

    async def shows(self, *prices: int) -> None:
        """The feed is somebody else's: it publishes whatever happens here."""
        for desk in self.feeds:
            for price in prices:
                entry: dict[Any, Any] = {
                    "type": "price",
                    "instrument_id": str(desk.instrument_id),
                    "price": str(price),
                    "volume": "100",
                    "at": (AT + timedelta(days=1)).isoformat(),
                    "first": "0",
                }
                await desk.app.stream.xadd(f"feed:{desk.feed}", entry)

    @property
    def feeds(self) -> list[Venue]:
        """A desk of each feed."""
        return list({desk.feed: desk for desk in self.desks}.values())

    async def matches(self) -> None:
        far = self.random.random() < 0.2
        await self.shows(PRICE + TICK * self.random.choice(ROUND if far else NEAR))
        await self._all_match()

    async def _all_match(self) -> None:
        for desk in self.feeds:
            await end(start(self._match(desk)))

    async def _match(self, desk: Venue) -> None:
        after = await checkpoint(self.app.database.dispatch, desk.feed)
        entries: Any = await self.app.stream.xrange(f"feed:{desk.feed}", min=f"({after}", count=500)
        if entries:
            await match_entries(self.app, desk.feed, entries, after=after)

    async def trades(self, *, everything: bool = False) -> None:
        for there in self.broker.resting:
            left = there.quantity - there.filled
            if everything or self.random.random() < 0.7:
                self.broker.trade(there.order.tag, left if everything else self.random.randint(1, left))

    async def listens(self) -> None:
        for desk in self.desks:
            if desk.account_id in self.live:
                await end(start(self._listen(desk)))

    async def _listen(self, desk: Venue) -> None:
        worker = Desk(self.app.database, {}, lambda: self.now, DEADLINE)
        account = BrokerAccount(desk.tenant_id, desk.account_id)
        book = self.books.pop(desk.account_id, None) or Book(account, cast(Any, self.faulty_broker))
        await read_book(worker, book, differences=self.random.random() < 0.5)
        if self.random.random() < 0.7:
            self.books[desk.account_id] = book

    @property
    def live(self) -> set[UUID]:
        return {desk.account_id for desk in self.desks if desk.place == 1}

    async def waits(self, *, seconds: float = 20.0) -> None:
        """Time passes: what was to be tried later is due, leases are over, lost wake-ups may be sent again."""
        self.now += timedelta(seconds=seconds)
        tenants = list({desk.tenant_id for desk in self.desks})
        dispatch = self.desks[0].app.database.dispatch
        due = "update work_items set available_at = clock_timestamp() where tenant_id = any($1) and state = 'ready'"
        await dispatch.execute(due, tenants)
        await dispatch.execute("update work_leases set lease_until = '-infinity' where tenant_id = any($1)", tenants)
        await self.desks[0].app.redis.delete(*{sent_key("execution", shard_of(tenant)) for tenant in tenants})

    async def winds_down(self) -> None:
        """Nobody begins anything new."""
        for turn in range(LAST_ROUNDS):
            await self._goes_on(turn)
            await self.trades()
            await self.listens()

    async def settle(self) -> None:
        """Nothing fails any more; everybody goes on until there is nothing left to do."""
        for turn in range(QUIET_ROUNDS):
            await self._goes_on(turn, seconds=200 if turn < QUIET_ROUNDS - 5 else 90_000)
            await self.works()  # a row that must wait holds up nothing meanwhile
            for there in self.broker.resting:  # first what is no stop: both ways out would trade
                if there.order.trigger_price is None or turn % 2:
                    self.broker.trade(there.order.tag, there.quantity - there.filled)
            await self.listens()
            if not await self.unfinished():
                return
        raise AssertionError(f"never quiet: {await self.unfinished()}")

    async def _goes_on(self, turn: int, *, seconds: float = 20.0) -> None:
        await self.waits(seconds=seconds)
        await self.callers.repeats()
        await self.works()
        await self.shows(PRICE + TICK * ROUND[turn % len(ROUND)])
        await self._all_match()

    async def unfinished(self) -> list[Any]:
        """What still waits: callers, orders and rows of work."""
        waits = self.callers.unanswered
        ended = [status.value for status in ENDED]
        for desk in {desk.tenant_id: desk for desk in self.desks}.values():
            waits += await desk.rows(_UNFINISHED, ended=ended)
        return waits
