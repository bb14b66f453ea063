"""A stretch of trading, drawn from a seed: callers, workers, matcher and listener, each of whom may fail at any call.

Time is the test's: leases end, delays are over and brokers' deadlines pass when it says so.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast
from uuid import UUID

import asyncpg
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from app.infra.process import App
from app.infra.work.relay import sent_key, wake
from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.errors import DomainError
from app.kernel.orders import OrderStatus, OrderType, Product, Side, Validity
from app.trading.brokers.ports import Accepted, BrokerAccount, BrokerOrder, Outcome, Report, VenueStatus
from app.trading.orders.service import Desk, PlaceOrder, handlers, place_order, request_cancel
from app.trading.orders.service.matching import match_entries
from app.trading.orders.service.reconciling import Book, read_book
from app.trading.paper.service import PaperBroker, checkpoint
from tests.chaos.faults import PROCESS, FaultyBroker, Process, Stall
from tests.factories.live_accounts import BROKER
from tests.integration.trading.conftest import AT, PRICE, Venue
from tests.integration.trading.memory_broker import MemoryBroker, There

TICK = 100
DEADLINE = timedelta(seconds=180)
QUIET_ROUNDS = 30
STANDS = ("broker.submit", "broker.cancel", "orders_rest_each", "orders_begin", "paper_accept_all", "work_next")
MATCHING = "orders_record_fills_each"
OUTSIDE = (OSError, RedisError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncio.CancelledError)
"""What a process may end with that nobody answers."""

ENDED = {
    OrderStatus.DENIED,
    OrderStatus.FILLED,
    OrderStatus.CANCELLED,
    OrderStatus.REJECTED,
    OrderStatus.EXPIRED,
    OrderStatus.LOST,
}


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
class Intent:
    """What a caller wants, and repeats under the same client order id until he is answered."""

    desk: Venue
    command: PlaceOrder
    order_id: UUID | None = None
    denied: bool = False
    cancelling: bool = False
    """He has asked for it to be taken back, and repeats that too until he is answered."""

    cancel_heard: bool = False


@dataclass
class Life:
    """One seed's trading on some desks. `app` is what fails; the desks' own never does."""

    app: App
    desks: list[Venue]
    seed: int
    broker: UnsureBroker = field(default_factory=UnsureBroker)
    forgetful: bool = False
    """A flaw: whoever repeats an order gives it a new client order id."""

    random: Random = field(init=False)
    now: datetime = field(init=False)
    intents: list[Intent] = field(default_factory=list)
    workers: int = 0

    def __post_init__(self) -> None:
        self.random, self.now = Random(self.seed), datetime.now(UTC)
        self.faulty_broker = FaultyBroker(self.broker, cast(Any, self.app.redis)._faults)

    def start(self, body: Coroutine[Any, Any, Any], stall: Stall | None = None) -> asyncio.Task[Any]:
        process = Process(stall)
        token = PROCESS.set(process)
        process.task = asyncio.create_task(body)
        PROCESS.reset(token)
        return process.task

    async def end(self, task: asyncio.Task[Any]) -> None:
        """Until the process has ended. What it ends with is its own affair, but for a mistake."""
        with suppress(*OUTSIDE):
            await task

    async def run(self) -> None:
        steps: list[Callable[[], Awaitable[None]]] = [
            self.places,
            self.works,
            self.matches,
            self.places,
            self.works,
            self.matches,
            self.repeats,
            self.cancels,
            self.overtakes,
            self.trades,
            self.listens,
            self.waits,
        ]
        await self.places()
        await self.places()
        for _ in range(self.random.randint(6, 12)):
            await self.random.choice(steps)()

    async def tour(self) -> None:
        """Everything once."""
        for desk in self.desks:
            for name in (*STANDS, MATCHING):
                await self.places(desk)
                await self.overtakes(desk, Stall(name, after=False))
            await self.places(desk, limit=PRICE - 5 * TICK)
            await self.places(desk, limit=PRICE - 5 * TICK)
            await self.works()
            await self.cancels(self.intents[-1])
            await self.works()
        await self.matches()
        await self.trades()
        await self.listens()

    async def places(self, desk: Venue | None = None, *, limit: int | None = None) -> None:
        random = self.random
        desk = desk or random.choice(self.desks)
        sells = limit is None and random.random() < 0.2
        if limit is None and not sells:
            limit = random.choice((None, PRICE, PRICE - TICK))
        command = PlaceOrder(
            account_id=desk.account_id,
            instrument_id=desk.instrument_id,
            side=Side.SELL if sells else Side.BUY,
            order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            quantity=random.randint(1, 10),
            limit_price=limit,
            product=Product.DELIVERY,
            validity=Validity.DAY,
            client_order_id=f"{self.seed}-{len(self.intents)}",
        )
        self.intents.append(Intent(desk, command))
        await self.end(self.start(self._place(self.intents[-1])))

    async def _place(self, intent: Intent) -> None:
        if self.forgetful:
            again = f"{intent.command.client_order_id}-{self.random.random()}"
            intent.command = replace(intent.command, client_order_id=again)
        async with self.app.database.tx(intent.desk.tenant_id) as tx:
            placed = await place_order(tx, intent.command, now=self.now)
        intent.order_id, intent.denied = placed.id, placed.status is OrderStatus.DENIED

    async def repeats(self) -> None:
        for intent in self.intents:
            if intent.order_id is None:
                await self.end(self.start(self._place(intent)))
            elif intent.cancelling and not intent.cancel_heard:
                await self.end(self.start(self._cancel(intent)))

    async def cancels(self, chosen: Intent | None = None) -> None:
        placed = [intent for intent in self.intents if intent.order_id and not intent.denied]
        if placed:
            intent = chosen or self.random.choice(placed)
            intent.cancelling = True
            await self.end(self.start(self._cancel(intent)))

    async def _cancel(self, intent: Intent) -> None:
        assert intent.order_id is not None
        try:
            async with self.app.database.tx(intent.desk.tenant_id) as tx:
                await request_cancel(tx, intent.order_id, now=self.now)
        except DomainError as error:
            assert error.code == "order_not_cancellable"
        intent.cancel_heard = True

    async def works(self) -> None:
        """The relay wakes a worker, who may end before he has begun."""
        sent: list[int] = []
        await self.end(self.start(self._relay(sent)))
        for shard in sent:
            await self.end(self.start(self._drain(shard)))

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
        matching = stall.name == MATCHING
        first = self.start(self._match(desk) if matching else self._drain(shard_of(desk.tenant_id)), stall)
        await asyncio.wait({first, asyncio.ensure_future(stall.reached.wait())}, return_when="FIRST_COMPLETED")
        stall.reached.set()
        await self.waits()
        second = self._match(desk) if matching else self._drain(shard_of(desk.tenant_id))
        other = self.start(second)
        if not matching:
            await self.end(other)
        stall.over.set()
        await self.end(first)
        await self.end(other)

    async def shows(self, *prices: int) -> None:
        """The feed is somebody else's: it publishes whatever happens here."""
        for desk in self.desks:
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

    async def matches(self) -> None:
        await self.shows(PRICE + TICK * self.random.randint(-2, 2))
        for desk in {desk.feed: desk for desk in self.desks}.values():
            await self.end(self.start(self._match(desk)))

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
                await self.end(self.start(self._listen(desk)))

    async def _listen(self, desk: Venue) -> None:
        worker = Desk(self.app.database, {}, lambda: self.now, DEADLINE)
        book = Book(BrokerAccount(desk.tenant_id, desk.account_id), cast(Any, self.faulty_broker))
        await read_book(worker, book, differences=self.random.random() < 0.5)

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

    async def settle(self) -> None:
        """Nothing fails any more; everybody goes on until there is nothing left to do."""
        for turn in range(QUIET_ROUNDS):
            await self.waits(seconds=200 if turn < QUIET_ROUNDS - 5 else 90_000)
            await self.repeats()
            await self.works()
            await self.shows(PRICE - 9 * TICK)
            for desk in {desk.feed: desk for desk in self.desks}.values():
                await self.end(self.start(self._match(desk)))
            await self.trades(everything=True)
            await self.listens()
            if not await self.unfinished():
                return
        raise AssertionError(f"never quiet: {await self.unfinished()}")

    async def unfinished(self) -> list[Any]:
        """What still waits: callers, orders and rows of work."""
        waits: list[Any] = [intent for intent in self.intents if intent.order_id is None]
        for desk in {desk.tenant_id: desk for desk in self.desks}.values():
            waits += await desk.rows(
                "select id, client_order_id, broker, status from orders where client_order_id like :mine "
                "and status <> all (:ended)",
                mine=f"{self.seed}-%",
                ended=[status.value for status in ENDED],
            )
            waits += await desk.rows("select kind, payload, last_error from work_items where state = 'ready'")
        return waits


def ended_there(status: VenueStatus) -> str:
    return {VenueStatus.FILLED: "filled", VenueStatus.CANCELLED: "cancelled"}[status]
