"""Getting out although something comes late: an entry fills before its cancel, a cancel is not heard for minutes, or a
position is larger than what may be sold at once."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
import pytest_asyncio

from app.infra.work.runner import drain
from app.infra.work.tables import shard_of
from app.kernel.orders import OrderType, Product, Side
from app.trading.brokers.ports import Broker, BrokerAccount, BrokerOrder, NotFound, Outcome, Unknown
from app.trading.orders.service import Which, exit_all, handlers
from app.trading.orders.service.calendar import run_feed
from app.trading.orders.service.executing import resolve_unknown
from app.trading.orders.service.leaving import PATIENCE
from app.trading.orders.service.reconciling import Book, read_book
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.groups import bracket
from tests.integration.trading.memory_broker import MemoryBroker
from tests.integration.trading.scripted import item
from tests.integration.trading.test_halts import deployed
from tests.integration.trading.test_slices import frozen as frozen

CUT_OFF = datetime.fromisoformat("2003-01-03T20:50:00Z")
BUY: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE}
SELL: dict[str, Any] = {"side": Side.SELL, "order_type": OrderType.LIMIT, "limit_price": PRICE + 1_000}


@dataclass
class Troubled(MemoryBroker):
    """`shut`: it answers nothing; `deaf`: it takes an order, and neither says so nor shows it."""

    shut: bool = False
    deaf: bool = False

    async def submit(self, order: BrokerOrder) -> Outcome:
        answer = await super().submit(order)
        return Unknown("no answer") if self.deaf else answer

    async def cancel(self, order: BrokerOrder) -> Outcome:
        return Unknown("no answer") if self.shut or self.deaf else await super().cancel(order)

    async def find(self, order: BrokerOrder) -> Any:
        if self.shut:
            return Unknown("no answer")
        return NotFound() if self.deaf else await super().find(order)


@dataclass
class Scene:
    """A live account at a broker in trouble."""

    live: Venue
    broker: Troubled

    async def leave(self) -> tuple[list[UUID], list[UUID]]:
        async with self.live.app.database.tx(self.live.tenant_id) as tx:
            return await exit_all(tx, Which(account_id=self.live.account_id), now=datetime.now(UTC))

    async def turn(self, kind: str | None = None) -> None:
        """As a worker: what waits for another attempt, of one kind or all, waits no longer."""
        dispatch = self.live.app.database.dispatch
        await self.live.forget_others()
        await dispatch.execute(
            "update work_items set available_at = clock_timestamp() where state = 'ready' and tenant_id = $1 "
            "and kind = coalesce($2, kind)",
            self.live.tenant_id,
            kind,
        )
        desk = self.live.desk(cast(Broker, self.broker))
        for _ in range(2):  # the second one does what comes after an exit that waits
            await drain(dispatch, handlers(desk), "execution", shard_of(self.live.tenant_id), holder="test")

    async def exhaust(self) -> None:
        """The exit tries for longer than it waits for cancels."""
        for _ in range(PATIENCE + 3):
            await self.turn("position.exit")

    async def exiting(self) -> bool:
        return await self.live.rows("select 1 from work_items where kind = 'position.exit' and state = 'ready'") != []

    async def trade(self, order_id: UUID, quantity: int = 10) -> None:
        self.broker.trade(await self.tag(order_id), quantity)

    async def tag(self, order_id: UUID) -> str:
        return str((await self.live.rows("select broker_tag from orders where id = :id", id=order_id))[0]["broker_tag"])

    async def hear(self) -> None:
        account = BrokerAccount(self.live.tenant_id, self.live.account_id)
        desk = self.live.desk(cast(Broker, self.broker))
        assert await read_book(desk, Book(account, cast(Broker, self.broker)), differences=False) is None

    async def hold(self, **changes: Any) -> None:
        """10 units."""
        bought = await self.live.order(**BUY | changes)
        await self.turn()
        await self.trade(bought.id)
        await self.hear()
        assert await self.held() == 10

    async def held(self) -> int:
        return sum(row["quantity"] for row in await self.live.rows("select quantity from positions"))

    async def turns(self) -> None:
        """As many as it takes for what a turn leaves to do."""
        for _ in range(3):
            await self.turn()

    async def left(self, reason: str = "exit_all") -> None:
        """Exactly one exit was placed, for 10; it trades, and nothing is left to do."""
        exits = "select id, side, quantity from orders where intent_reason = :reason and status <> 'cancelled'"
        (exit_,) = await self.live.rows(exits, reason=reason)
        assert (exit_["side"], exit_["quantity"]) == ("sell", 10)
        assert not await self.exiting()
        await self.trade(exit_["id"])
        await self.hear()
        await self.turn()
        assert (await self.held(), self.broker.resting) == (0, [])
        await self.live.is_sound()


@pytest_asyncio.fixture
async def scene(live: Venue) -> Scene:
    return Scene(live, Troubled())


async def test_an_entry_that_fills_before_its_cancel_is_closed_too(scene: Scene) -> None:
    entry = await scene.live.order(**BUY)
    await scene.turn()
    assert await scene.leave() == ([entry.id], [])
    await scene.trade(entry.id)
    await scene.turns()
    assert await scene.live.status(entry.id) == "filled"
    await scene.left()


async def test_an_entry_that_is_taken_back_in_time_leaves_nothing_to_close(scene: Scene) -> None:
    entry = await scene.live.order(**BUY)
    await scene.turn()
    await scene.leave()
    for _ in range(2):
        await scene.turn()
    assert await scene.live.status(entry.id) == "cancelled"
    assert not await scene.exiting()
    assert await scene.live.rows("select 1 from orders where intent_reason is not null") == []


@pytest.mark.parametrize("grouped", [False, True])
async def test_an_entry_of_unknown_fate_is_closed_when_it_turns_out_to_be_filled(scene: Scene, grouped: bool) -> None:
    """Long after the exit stopped waiting; and what would protect it is taken back first."""
    scene.broker.deaf = True
    entry = await (bracket(scene.live) if grouped else scene.live.order(**BUY))
    await scene.turn()
    assert await scene.live.status(entry.id) == "unknown"
    await scene.leave()
    await scene.exhaust()
    assert await scene.exiting()
    await scene.trade(entry.id)
    scene.broker.deaf = False
    await scene.turns()
    assert await scene.live.status(entry.id) == "filled"
    await scene.left()


async def test_an_intraday_entry_that_fills_before_its_cancel_is_squared_off(scene: Scene) -> None:
    live = scene.live
    entry = await live.order(**BUY, product=Product.INTRADAY)
    await scene.turn()
    reference = live.app.database.reference
    await reference.execute("update feed_state set market_at = $2 where feed = $1", live.feed, CUT_OFF)
    await run_feed(live.app, live.feed, CUT_OFF)
    await scene.trade(entry.id)
    await scene.turns()
    assert await live.status(entry.id) == "filled"
    await scene.left("square_off")


async def test_a_stop_whose_cancel_is_not_heard_does_not_make_the_exit_give_up(scene: Scene) -> None:
    await scene.hold()
    stop = await scene.live.order(**SELL)
    await scene.turn()
    scene.broker.shut = True
    await scene.leave()
    await scene.turn()
    await scene.exhaust()
    assert await scene.exiting()
    assert await scene.live.rows("select 1 from orders where intent_reason = 'exit_all'") == []
    scene.broker.shut = False
    await scene.turns()
    assert await scene.live.status(stop.id) == "cancelled"
    await scene.left()


async def test_what_somebody_sells_himself_after_he_asked_to_leave_is_his(scene: Scene) -> None:
    await scene.hold()
    await scene.leave()
    selling = await scene.live.order(**SELL)
    await scene.turns()
    assert not await scene.exiting()
    assert await scene.live.status(selling.id) == "open"
    assert await scene.live.rows("select 1 from orders where intent_reason = 'exit_all'") == []


async def test_what_a_lost_order_would_have_sold_is_sold(scene: Scene) -> None:
    await scene.hold()
    scene.broker.deaf = True
    selling = await scene.live.order(**SELL)
    await scene.turn()
    await scene.leave()
    await scene.exhaust()
    assert await scene.exiting()
    desk = replace(scene.live.desk(cast(Broker, scene.broker)), deadline=timedelta(0))
    await resolve_unknown(desk, item(scene.live, selling.id, "order.resolve"))
    assert await scene.live.status(selling.id) == "lost"
    scene.broker.book.clear()
    scene.broker.deaf = False
    await scene.turn("position.exit")
    await scene.turn()
    await scene.left()


async def test_an_exit_that_is_being_taken_back_covers_nothing(scene: Scene) -> None:
    """Asked for twice: the second exit waits until the order of the first has ended, however long that takes."""
    await scene.hold()
    await scene.leave()
    await scene.turn()
    assert not await scene.exiting()
    scene.broker.shut = True
    await scene.leave()
    await scene.turn()
    await scene.exhaust()
    assert await scene.exiting()
    scene.broker.shut = False
    await scene.turns()
    await scene.left()


async def test_each_book_is_closed_by_an_exit_of_its_own(venue: Venue) -> None:
    books = [None, await deployed(venue)]
    for book in books:
        await venue.order(deployment_id=book)
    await venue.work()
    await venue.show(PRICE)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await exit_all(tx, Which(account_id=venue.account_id), now=datetime.now(UTC))
    await venue.work()  # once: each at its first attempt
    exits = await venue.rows("select deployment_id, quantity from orders where intent_reason = 'exit_all'")
    assert {row["deployment_id"]: row["quantity"] for row in exits} == dict.fromkeys(books, 10)
    await venue.work()
    await venue.show(PRICE)
    assert await venue.rows("select 1 from positions where quantity <> 0") == []


async def test_what_is_more_than_ten_orders_of_the_freeze_quantity_is_sold_piece_by_piece(frozen: Venue) -> None:
    """Lots of 5, at most 18 in one order: 15 each, so 150 at once."""
    for quantity in (150, 105):
        await frozen.order(quantity=quantity)
        await frozen.work()
    await frozen.show(PRICE)
    async with frozen.app.database.tx(frozen.tenant_id) as tx:
        await exit_all(tx, Which(account_id=frozen.account_id), now=datetime.now(UTC))
    dispatch = frozen.app.database.dispatch
    for _ in range(3):
        await dispatch.execute("update work_items set available_at = now() where tenant_id = $1", frozen.tenant_id)
        await frozen.work()
    sold = "select quantity from orders where intent_reason = 'exit_all' and leg = 'whole' order by id"
    assert [row["quantity"] for row in await frozen.rows(sold)] == [150, 105]
    assert await frozen.rows("select 1 from work_items where kind = 'position.exit' and state = 'ready'") == []
    await frozen.show(PRICE)
    assert await frozen.rows("select 1 from positions where quantity <> 0") == []
    await frozen.is_sound()


async def test_what_is_free_is_sold_while_a_stop_of_the_rest_is_not_heard(scene: Scene) -> None:
    await scene.hold()
    stop = await scene.live.order(**SELL, quantity=4)
    await scene.turn()
    await scene.leave()
    scene.broker.shut = True
    await scene.turn()
    await scene.exhaust()
    sold = "select id, quantity from orders where intent_reason = 'exit_all' order by id"
    assert [row["quantity"] for row in await scene.live.rows(sold)] == [6]
    assert await scene.exiting()
    scene.broker.shut = False
    await scene.turns()
    assert await scene.live.status(stop.id) == "cancelled"
    exits = await scene.live.rows(sold)
    assert [row["quantity"] for row in exits] == [6, 4]
    for row in exits:
        await scene.trade(row["id"], row["quantity"])
    await scene.hear()
    assert (await scene.held(), await scene.exiting()) == (0, False)
    await scene.live.is_sound()


async def test_a_cut_off_that_is_done_again_asks_once_for_what_an_entry_may_open(scene: Scene) -> None:
    live = scene.live
    scene.broker.deaf = True
    entry = await live.order(**BUY, product=Product.INTRADAY)
    await scene.turn()
    dispatch, reference = live.app.database.dispatch, live.app.database.reference
    await reference.execute("update feed_state set market_at = $2 where feed = $1", live.feed, CUT_OFF)
    for _ in range(2):
        await run_feed(live.app, live.feed, CUT_OFF)
        again = "update calendar_jobs set state = 'pending', done_at = null, claimed_until = null where feed = $1"
        await dispatch.execute(again, live.feed)
    asked = await live.rows("select kind from work_items where priority = 0 and state = 'ready' order by kind")
    assert [row["kind"] for row in asked] == ["order.cancel", "position.exit"]
    await scene.exhaust()
    assert await scene.exiting()
    await scene.trade(entry.id)
    scene.broker.deaf = False
    await scene.turns()
    assert await live.status(entry.id) == "filled"
    await scene.left("square_off")
