"""The guard of a broker, in front of the fake live one: what reaches the broker, and what is said of what does not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY

from app.bootstrap import open_brokers
from app.infra.work.runner import ITEM_TIMEOUT, Retry
from app.kernel.orders import Side
from app.trading.brokers.domain import FAILURES, TRIAL_SECONDS, WINDOW, Call, State
from app.trading.brokers.ports import Accepted, Broker, BrokerOrder, Change, Outcome, Report, Throttled, Unknown
from app.trading.brokers.service import AT_ONCE, CALL_SECONDS, WAIT_SECONDS, GuardedBroker, guarded
from app.trading.orders.service.executing import cancel, submit
from app.trading.paper.service import PaperBroker
from tests.contract.conftest import LiveStage, PaperStage, intend, send, until
from tests.contract.fakelive.venue import Fault
from tests.factories.live_accounts import open_live_account
from tests.integration.trading.conftest import AT
from tests.integration.trading.scripted import item


@dataclass
class Clock:
    """The machine's, put forward by the test."""

    forward: float = 0.0

    def __call__(self) -> float:
        return monotonic() + self.forward


class Held:
    """A broker that takes no order until it is let go."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.let_go = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def submit(self, order: BrokerOrder) -> Outcome:
        await self.let_go.wait()
        return await self._broker.submit(order)


def guard(stage: LiveStage, broker: Any = None, **knobs: Any) -> GuardedBroker:
    return GuardedBroker("live", broker or stage.broker, stage.desk.app.database.pool, **knobs)


async def orders(stage: LiveStage, number: int, **changes: Any) -> list[BrokerOrder]:
    return [await intend(stage.desk, **changes) for _ in range(number)]


async def fail(stage: LiveStage, broker: GuardedBroker, number: int = FAILURES) -> None:
    """So many questions that the broker does not answer."""
    (order,) = await orders(stage, 1)
    for _ in range(number):
        stage.exchange.fail("read", Fault.DROP_BEFORE)
        assert isinstance(await broker.find(order), Unknown)


def test_two_calls_and_their_waiting_fit_into_the_time_of_an_item() -> None:
    assert 2 * (CALL_SECONDS + WAIT_SECONDS) < ITEM_TIMEOUT


def test_the_paper_venue_is_called_without_a_guard(paper_stage: PaperStage) -> None:
    assert type(open_brokers(paper_stage.desk.app)["paper"]) is PaperBroker
    assert guarded({"paper": paper_stage.broker}, paper_stage.desk.app.database.pool)["paper"] is paper_stage.broker


async def test_an_answer_after_the_deadline_is_unknown_and_the_order_is_there_once(live_stage: LiveStage) -> None:
    broker, (order,) = guard(live_stage, call_seconds=0.1), await orders(live_stage, 1)
    live_stage.exchange.fail("place", Fault.LATE)
    assert await broker.submit(order) == Unknown("the broker did not answer within 0.1 s")
    assert len(live_stage.exchange.tagged(order.tag)) == 1


async def test_entries_that_hang_hold_up_neither_cancel_nor_exit_nor_question(live_stage: LiveStage) -> None:
    resting = await send(live_stage.broker, await intend(live_stage.desk))
    broker = guard(live_stage, at_once={**AT_ONCE, Call.ENTRY: 2}, wait_seconds=0.05)
    first, second, third = await orders(live_stage, 3)
    live_stage.exchange.fail("place", Fault.LATE, Fault.LATE)
    hanging = [asyncio.ensure_future(broker.submit(order)) for order in (first, second)]

    async def both_arrived() -> bool:
        return len(live_stage.exchange.met) == 2

    await until(both_arrived)
    assert isinstance(await broker.submit(third), Throttled)
    assert live_stage.exchange.tagged(third.tag) == []
    assert isinstance(await broker.cancel(resting), Accepted)
    assert isinstance(await broker.find(resting), Report)
    assert isinstance(await broker.submit(await sell(live_stage)), Accepted)
    assert not any(one.done() for one in hanging)
    assert all(isinstance(answer, Unknown) for answer in await asyncio.gather(*hanging))
    assert isinstance(await broker.submit(third), Accepted)


async def sell(stage: LiveStage) -> BrokerOrder:
    """An exit of an order that is held."""
    return replace(await intend(stage.desk), side=Side.SELL, reduces=True)


async def test_racing_orders_never_pass_the_brokers_rate_and_a_cancel_comes_between(live_stage: LiveStage) -> None:
    resting = await send(live_stage.broker, await intend(live_stage.desk))
    broker, racing = guard(live_stage), await orders(live_stage, 20)
    answers = asyncio.gather(*(broker.submit(order) for order in racing))

    async def some_arrived() -> bool:
        return len(live_stage.exchange.orders) > 8

    await until(some_arrived)
    assert isinstance(await broker.cancel(resting), Accepted)
    sent = [order for order, answer in zip(racing, await answers, strict=True) if isinstance(answer, Accepted)]
    assert all(isinstance(answer, Accepted | Throttled) for answer in await answers)
    assert len(live_stage.exchange.orders) == len(sent) + 1, "what was throttled never left"
    arrived = sorted(live_stage.at_broker(order).at for order in sent)
    rate = live_stage.broker.capabilities.orders_per_second
    assert all((last - first).total_seconds() >= 1.0 for first, last in _apart(arrived, rate - 2))


def _apart(times: Sequence[Any], number: int) -> list[tuple[Any, Any]]:
    return list(zip(times, times[number:], strict=False))


async def test_accounts_do_not_share_a_pace(live_stage: LiveStage) -> None:
    broker, mine = guard(live_stage, wait_seconds=0.0), await orders(live_stage, 9)
    answers = [await broker.submit(order) for order in mine]
    assert [type(answer) for answer in answers] == [Accepted] * 8 + [Throttled]
    desk = live_stage.desk
    other = await open_live_account(desk.app.database, desk.tenant_id, feed=desk.feed, cash_minor=1, now=AT)
    assert not isinstance(await broker.submit(replace(mine[-1], account_id=other)), Throttled)


async def test_processes_share_an_accounts_pace(live_stage: LiveStage) -> None:
    """An account's lane moves from worker to worker, as often as there is an order."""
    workers, mine = [guard(live_stage, wait_seconds=0.0) for _ in range(3)], await orders(live_stage, 12)
    answers = [await workers[number % 3].submit(order) for number, order in enumerate(mine)]
    assert [type(answer) for answer in answers] == [Accepted] * 8 + [Throttled] * 4
    assert len(live_stage.exchange.orders) == 8


async def test_only_cancels_are_sent_while_nobody_can_tell_whose_turn_it_is(live_stage: LiveStage) -> None:
    (order,), resting = await orders(live_stage, 1), await send(live_stage.broker, await intend(live_stage.desk))
    pool = await asyncpg.create_pool(live_stage.desk.app.settings.app_database_url.get_secret_value(), min_size=1)
    broker = GuardedBroker("live", live_stage.broker, pool)
    await pool.close()
    assert await broker.submit(order) == Throttled(WAIT_SECONDS)
    assert await broker.modify(resting, Change(quantity=11)) == Throttled(WAIT_SECONDS)
    assert isinstance(await broker.submit(await sell(live_stage)), Throttled)
    assert isinstance(await broker.cancel(resting), Accepted)
    assert len(live_stage.exchange.orders) == len(live_stage.exchange.tagged(resting.tag)) == 1


async def test_a_process_that_stood_still_while_it_waited_sends_nothing(live_stage: LiveStage) -> None:
    clock = Clock()
    broker, waiting = guard(live_stage, clock=clock), await orders(live_stage, 9)
    for order in waiting[:8]:
        assert isinstance(await broker.submit(order), Accepted)
    last = asyncio.ensure_future(broker.submit(waiting[8]))
    await asyncio.sleep(0)
    clock.forward = 60.0
    assert isinstance(await last, Throttled)
    assert live_stage.exchange.tagged(waiting[8].tag) == []


async def test_a_broker_that_fails_gets_no_order_and_half_open_one_of_many(live_stage: LiveStage) -> None:
    clock, held = Clock(), Held(live_stage.broker)
    broker = guard(live_stage, held, clock=clock)
    await fail(live_stage, broker)
    assert broker.state.value == State.OPEN.value
    assert REGISTRY.get_sample_value("broker_state", {"broker": "live", "state": "open"}) == 1.0
    racing = await orders(live_stage, 6)
    assert all(isinstance(answer, Throttled) for answer in [await broker.submit(order) for order in racing])
    assert live_stage.exchange.orders == {}
    clock.forward = 60.0
    answers = [asyncio.ensure_future(broker.submit(order)) for order in racing]

    async def all_but_one_are_answered() -> bool:
        return sum(answer.done() for answer in answers) == 5

    await until(all_but_one_are_answered)
    held.let_go.set()
    said = sorted(type(answer).__name__ for answer in await asyncio.gather(*answers))
    assert said == ["Accepted", *["Throttled"] * 5]
    assert len(live_stage.exchange.orders) == 1
    assert broker.state.value == State.CLOSED.value
    assert REGISTRY.get_sample_value("broker_state", {"broker": "live", "state": "open"}) == 0.0
    await asyncio.sleep(WINDOW.total_seconds())  # those that were not let through had taken their turn
    assert all(isinstance(answer, Accepted) for answer in await asyncio.gather(*map(broker.submit, racing[:5])))


async def test_an_answered_question_opens_the_way_and_a_failed_order_closes_it(live_stage: LiveStage) -> None:
    clock = Clock()
    broker, (order,) = guard(live_stage, clock=clock), await orders(live_stage, 1)
    await fail(live_stage, broker)
    await broker.find(order)
    assert broker.state.value == State.HALF_OPEN.value
    clock.forward = TRIAL_SECONDS
    live_stage.exchange.fail("place", Fault.HTML_BEFORE)
    assert isinstance(await broker.submit(order), Unknown)
    assert broker.state.value == State.OPEN.value


async def test_a_cancel_reaches_a_broker_that_failed_a_moment_ago(live_stage: LiveStage) -> None:
    resting = await send(live_stage.broker, await intend(live_stage.desk))
    broker = guard(live_stage)
    await fail(live_stage, broker)
    assert isinstance(await broker.cancel(resting), Accepted)


async def test_half_open_an_order_is_taken_back_in_one_go(live_stage: LiveStage) -> None:
    desk, broker = live_stage.desk, guard(live_stage)
    placed = await desk.order()
    await submit(desk.desk(broker), item(desk, placed.id))
    await fail(live_stage, broker)
    await cancel(desk.desk(broker), item(desk, placed.id, "order.cancel"))
    assert await desk.status(placed.id) == "cancelled"
    assert broker.state.value == State.HALF_OPEN.value


async def test_a_cancel_that_is_not_answered_opens_no_way_and_the_question_after_it_tells(
    live_stage: LiveStage,
) -> None:
    resting = await send(live_stage.broker, await intend(live_stage.desk))
    broker = guard(live_stage)
    await fail(live_stage, broker)
    live_stage.exchange.fail("cancel", Fault.DROP_AFTER)
    assert isinstance(await broker.cancel(resting), Unknown)
    assert broker.state.value == State.OPEN.value
    assert isinstance(await broker.find(resting), Report)
    assert broker.state.value == State.HALF_OPEN.value


async def test_whoever_asks_is_answered_once_one_was_and_a_question_that_fails_ends_it(live_stage: LiveStage) -> None:
    broker, asked = guard(live_stage), await orders(live_stage, 1)
    await fail(live_stage, broker)
    for _ in range(10):
        assert not isinstance(await broker.orders(asked[0].account), Throttled)
    live_stage.exchange.fail("read", Fault.DROP_BEFORE)
    assert isinstance(await broker.orders(asked[0].account), Unknown)
    assert broker.state.value == State.OPEN.value
    assert isinstance(await broker.orders(asked[0].account), Throttled)


async def test_refusals_and_hidden_orders_are_no_failures(live_stage: LiveStage) -> None:
    broker = guard(live_stage, wait_seconds=2.0)
    hidden = await intend(live_stage.desk)
    live_stage.exchange.fail("place", Fault.HIDE)
    assert isinstance(await broker.submit(hidden), Unknown)
    for fault in (Fault.BUSY, Fault.NO_SESSION, Fault.REFUSE) * 2:
        live_stage.exchange.fail("place", fault)
        await broker.submit(await intend(live_stage.desk))
    for _ in range(2 * FAILURES):
        assert isinstance(await broker.cancel(hidden), Unknown)
    assert broker.state.value == State.CLOSED.value


async def test_who_gives_a_trial_up_leaves_the_next_one_free(live_stage: LiveStage) -> None:
    clock = Clock()
    broker, (order,) = guard(live_stage, clock=clock), await orders(live_stage, 1)
    await fail(live_stage, broker)
    live_stage.exchange.fail("read", Fault.LATE)
    trial = asyncio.ensure_future(broker.find(order))

    async def arrived() -> bool:
        return live_stage.exchange.met[-1] is Fault.LATE

    await until(arrived)
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    clock.forward = TRIAL_SECONDS
    assert not isinstance(await broker.find(order), Throttled)


async def test_an_order_waits_accepted_while_its_broker_fails_and_is_sent_once(live_stage: LiveStage) -> None:
    clock = Clock()
    broker, desk = guard(live_stage, clock=clock), live_stage.desk
    await fail(live_stage, broker)
    placed = await desk.order()
    work = item(desk, placed.id)
    with pytest.raises(Retry) as waits:
        await submit(desk.desk(broker), work)
    assert waits.value.seconds > 0
    assert await desk.status(placed.id) == "accepted"
    clock.forward = 60.0
    await submit(desk.desk(broker), work)
    assert await desk.status(placed.id) == "open"
    assert len(live_stage.exchange.orders) == 1


async def test_a_cancel_that_was_throttled_is_not_lost(live_stage: LiveStage) -> None:
    desk, broker = live_stage.desk, guard(live_stage, at_once={**AT_ONCE, Call.CANCEL: 1}, wait_seconds=0.05)
    placed = await desk.order()
    await submit(desk.desk(broker), item(desk, placed.id))
    other = await send(live_stage.broker, await intend(desk))
    live_stage.exchange.fail("cancel", Fault.LATE)
    hanging = asyncio.ensure_future(broker.cancel(other))

    async def arrived() -> bool:
        return Fault.LATE in live_stage.exchange.met

    await until(arrived)
    with pytest.raises(Retry):
        await cancel(desk.desk(broker), item(desk, placed.id, "order.cancel"))
    assert await desk.status(placed.id) == "open"
    await hanging
    await cancel(desk.desk(broker), item(desk, placed.id, "order.cancel"))
    assert await desk.status(placed.id) == "cancelled"
