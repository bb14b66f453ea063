"""How the adapter hears every failure of a live broker, over real sockets; and what the port says of it."""

import asyncio
from dataclasses import replace

import pytest

from app.trading.brokers.ports import (
    Accepted,
    NotFound,
    Rejected,
    Report,
    SessionExpired,
    Throttled,
    Unknown,
    VenueStatus,
)
from tests.contract.adapter.broker import LiveBroker
from tests.contract.adapter.transport import LiveTransport
from tests.contract.conftest import LiveStage, intend, send, until
from tests.contract.fakelive.venue import AFTER, BEFORE, Fault


@pytest.mark.parametrize(
    ("fault", "answer", "there"),
    [
        *((fault, Unknown, 0) for fault in BEFORE),
        *((fault, Unknown, 1) for fault in AFTER),
        (Fault.BUSY, Throttled, 0),
        (Fault.NO_SESSION, SessionExpired, 0),
        (Fault.REFUSE, Rejected, 0),
        (Fault.REJECT_LATER, Accepted, 1),
    ],
)
async def test_only_a_plain_no_is_a_no_and_nothing_is_sent_twice(
    live_stage: LiveStage, fault: Fault, answer: type, there: int
) -> None:
    order = await intend(live_stage.desk)
    live_stage.exchange.fail("place", fault)
    outcome = await live_stage.broker.submit(order)
    assert isinstance(outcome, answer), outcome
    assert len(live_stage.exchange.tagged(order.tag)) == there
    assert live_stage.exchange.met == [fault]


@pytest.mark.parametrize("fault", [*BEFORE, Fault.LATE, Fault.HTML_AFTER, Fault.DROP_AFTER])
async def test_a_read_that_fails_is_no_answer_and_never_an_empty_book(live_stage: LiveStage, fault: Fault) -> None:
    order = await send(live_stage.broker, await intend(live_stage.desk))
    for ask in (
        live_stage.broker.find(order),
        live_stage.broker.orders(order.account),
        live_stage.broker.positions(order.account),
    ):
        live_stage.exchange.fail("read", fault)
        assert isinstance(await ask, Unknown)


async def test_a_book_is_not_read_by_halves(live_stage: LiveStage) -> None:
    order = await send(live_stage.broker, await intend(live_stage.desk))
    await live_stage.fill(order, 4, "19.90")
    for fault, answer in ((Fault.BUSY, Throttled), (Fault.NO_SESSION, SessionExpired), (Fault.DROP_AFTER, Unknown)):
        live_stage.exchange.faults["read"].extend([Fault.REJECT_LATER, fault])  # the first means nothing to a read
        assert isinstance(await live_stage.broker.orders(order.account), answer)


async def test_a_hidden_order_is_not_found_and_appears_later(live_stage: LiveStage) -> None:
    order = await intend(live_stage.desk)
    live_stage.exchange.fail("place", Fault.HIDE)
    assert isinstance(await live_stage.broker.submit(order), Unknown)
    assert await live_stage.broker.find(order) == NotFound()
    assert isinstance(await live_stage.broker.cancel(order), Unknown)
    hidden = live_stage.at_broker(order)
    hidden.hidden_until = hidden.at
    found = await live_stage.broker.find(order)
    assert isinstance(found, Report) and found.status is VenueStatus.PENDING


async def test_an_order_refused_after_it_was_taken_says_why(live_stage: LiveStage) -> None:
    live_stage.exchange.fail("place", Fault.REJECT_LATER)
    order = await send(live_stage.broker, await intend(live_stage.desk))
    found = await live_stage.broker.find(order)
    assert isinstance(found, Report)
    assert (found.status, found.reason) == (VenueStatus.REJECTED, "RMS:Margin exceeds")


async def test_without_a_session_nothing_is_sent(live_stage: LiveStage) -> None:
    order = await intend(live_stage.desk)
    live_stage.tokens.clear()
    assert await live_stage.broker.submit(order) == SessionExpired()
    assert await live_stage.broker.find(order) == SessionExpired()
    with pytest.raises(ConnectionError):
        await anext(live_stage.broker.updates(order.account))


async def test_a_broker_that_is_not_there_answers_nothing(live_stage: LiveStage) -> None:
    transport = LiveTransport(replace(live_stage.config, http="http://127.0.0.1:9"))
    live_stage.stack.push_async_callback(transport.close)
    outcome = await LiveBroker(transport).submit(await intend(live_stage.desk))
    assert outcome == Unknown("the broker cannot be reached")


async def test_a_socket_with_a_dead_token_does_not_open(live_stage: LiveStage) -> None:
    order = await intend(live_stage.desk)
    live_stage.tokens[order.account_id] = "dead"
    with pytest.raises(ConnectionError) as refused:
        await anext(live_stage.broker.updates(order.account))
    assert "dead" not in str(refused.value) + repr(refused.value.__cause__)


async def test_a_silent_socket_is_given_up_although_it_is_open(live_stage: LiveStage) -> None:
    live_stage.server.mute = True
    order = await intend(live_stage.desk)
    with pytest.raises(ConnectionError):
        await anext(live_stage.broker.updates(order.account))


async def test_a_cut_socket_ends_the_news(live_stage: LiveStage) -> None:
    order = await intend(live_stage.desk)
    news = asyncio.ensure_future(_all(live_stage, order.account))

    async def connected() -> bool:
        return bool(live_stage.server.sockets)

    await until(connected)
    await live_stage.server.cut()
    assert await news == []


async def _all(stage: LiveStage, account: object) -> list[str | None]:
    return [tag async for tag in stage.broker.updates(account)]  # type: ignore[arg-type]  # the test's own account


async def test_no_secret_is_in_what_is_shown_of_the_adapter(live_stage: LiveStage) -> None:
    token = next(iter(live_stage.tokens.values()))
    outcome = await live_stage.broker.submit(await intend(live_stage.desk))
    assert token not in repr(live_stage.config) + repr(live_stage.broker) + repr(outcome)
