"""What every broker does in the same way, whatever stands behind it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from app.kernel.orders import Side, Validity
from app.trading.brokers.ports import (
    Accepted,
    BrokerOrder,
    Change,
    NotFound,
    Rejected,
    Report,
    Updates,
    VenuePosition,
    VenueStatus,
)
from tests.contract.conftest import LiveStage, PaperStage, Stage, intend, send
from tests.integration.trading.conftest import PRICE


async def _report(stage: Stage, order: BrokerOrder) -> Report:
    found = await stage.broker.find(order)
    assert isinstance(found, Report), found
    return found


async def _working(stage: Stage, **changes: object) -> BrokerOrder:
    """An order that rests at the exchange."""
    order = await send(stage.broker, await intend(stage.desk, **changes))
    await stage.reach(order)
    return order


async def test_what_was_never_sent_is_not_found(stage: Stage) -> None:
    assert await stage.broker.find(await intend(stage.desk)) == NotFound()


async def test_a_taken_order_is_found_as_it_was_sent(stage: Stage) -> None:
    order = await send(stage.broker, await intend(stage.desk))
    await stage.reach(order)
    found = await _report(stage, order)
    assert (found.tag, found.venue_order_id, found.status) == (order.tag, order.venue_order_id, VenueStatus.OPEN)
    assert (found.symbol, found.side, found.quantity) == ("AAPL", Side.BUY, "10")
    assert (found.filled, found.fills) == ("0", ())


async def test_an_order_is_found_by_its_tag_alone(stage: Stage) -> None:
    order = await _working(stage)
    found = await _report(stage, replace(order, venue_order_id=None))
    assert found.venue_order_id == order.venue_order_id


async def test_only_a_sure_broker_has_one_order_when_it_is_sent_twice(stage: Stage) -> None:
    """The other one has two: this is why the order path never sends again."""
    order = await intend(stage.desk)
    await send(stage.broker, order)
    await send(stage.broker, order)
    book = await stage.broker.orders(order.account)
    assert isinstance(book, Sequence)
    assert len(book) == (1 if stage.broker.capabilities.sure else 2)


async def test_an_order_that_ended_does_not_come_back_when_a_sure_broker_gets_it_again(paper_stage: PaperStage) -> None:
    stage = paper_stage
    order = await _working(stage)
    await stage.fill(order, 10, "19.90")
    await stage.broker.submit(order)
    assert (await _report(stage, order)).status is VenueStatus.FILLED


async def test_a_cancelled_order_has_ended_with_nothing_filled(stage: Stage) -> None:
    order = await _working(stage)
    assert isinstance(await stage.broker.cancel(order), Accepted)
    found = await _report(stage, order)
    assert (found.status, found.filled, found.fills) == (VenueStatus.CANCELLED, "0", ())
    assert await stage.broker.positions(order.account) == []


async def test_an_order_can_be_cancelled_by_its_tag_alone(stage: Stage) -> None:
    order = await _working(stage)
    await stage.broker.cancel(replace(order, venue_order_id=None))
    assert (await _report(stage, order)).status is VenueStatus.CANCELLED


async def test_a_cancel_that_comes_after_the_fill_leaves_it_filled(stage: Stage) -> None:
    order = await _working(stage)
    await stage.fill(order, 10, "19.90")
    await stage.broker.cancel(order)
    found = await _report(stage, order)
    assert (found.status, found.filled, [fill.quantity for fill in found.fills]) == (VenueStatus.FILLED, "10", ["10"])


async def test_a_cancel_and_a_fill_that_race_end_the_order_one_way(stage: Stage) -> None:
    ends = set()
    for _ in range(6):
        order = await _working(stage)

        async def fill(order: BrokerOrder = order) -> None:
            if (await _report(stage, order)).status is VenueStatus.OPEN:
                await stage.fill(order, 10, "19.90")

        await asyncio.gather(stage.broker.cancel(order), fill(), return_exceptions=True)
        found = await _report(stage, order)
        assert (found.status, found.filled) in ((VenueStatus.FILLED, "10"), (VenueStatus.CANCELLED, "0"))
        ends.add(found.status)
    assert ends


async def test_a_fill_tells_its_id_quantity_price_and_time_and_tells_them_again(stage: Stage) -> None:
    order = await _working(stage, side=Side.BUY)
    await stage.fill(order, 10, "19.90")
    first, second = await _report(stage, order), await _report(stage, order)
    (fill,) = first.fills
    assert first == second and fill.id
    assert (fill.quantity, float(fill.price) <= 20.0, fill.at.utcoffset() is not None) == ("10", True, True)


async def test_partial_fills_add_up_and_a_cancel_keeps_them(live_stage: LiveStage) -> None:
    stage = live_stage  # a paper order fills whole
    order = await _working(stage)
    for quantity in (3, 4):
        await stage.fill(order, quantity, "19.95")
    found = await _report(stage, order)
    assert (found.status, found.filled, len({fill.id for fill in found.fills})) == (VenueStatus.OPEN, "7", 2)
    await stage.broker.cancel(order)
    found = await _report(stage, order)
    assert (found.status, found.filled, len(found.fills)) == (VenueStatus.CANCELLED, "7", 2)
    assert await stage.broker.positions(order.account) == [VenuePosition("AAPL", "7")]


async def test_a_modified_order_keeps_its_name_and_fills_by_its_new_price(stage: Stage) -> None:
    order = await _working(stage, limit_price=PRICE - 10_000)
    assert isinstance(await stage.broker.modify(order, Change(limit_price=PRICE)), Accepted)
    found = await _report(stage, order)
    assert (found.status, found.venue_order_id) == (VenueStatus.OPEN, order.venue_order_id)
    await stage.fill(order, 10, "19.90")
    assert (await _report(stage, order)).status is VenueStatus.FILLED


async def test_a_quantity_can_be_changed_while_the_order_rests(stage: Stage) -> None:
    order = await _working(stage)
    assert isinstance(await stage.broker.modify(order, Change(quantity=4)), Accepted)
    assert (await _report(stage, order)).quantity == "4"


async def test_a_stop_rests_until_its_trigger_is_touched(stage: Stage) -> None:
    for asked in ({"order_type": "sl_m", "limit_price": None}, {"order_type": "sl", "limit_price": PRICE + 10_000}):
        order = await _working(stage, trigger_price=PRICE + 10_000, **asked)
        found = await _report(stage, order)
        assert (found.status, float(found.trigger_price or 0)) == (VenueStatus.OPEN, 21.0)
        await stage.fill(order, 10, "21.00")
        found = await _report(stage, order)
        assert (found.status, found.filled, float(found.fills[0].price)) == (VenueStatus.FILLED, "10", 21.0)


async def test_a_stops_trigger_can_be_moved(stage: Stage) -> None:
    order = await _working(stage, order_type="sl_m", limit_price=None, trigger_price=PRICE + 10_000)
    assert isinstance(await stage.broker.modify(order, Change(trigger_price=PRICE + 20_000)), Accepted)
    found = await _report(stage, order)
    assert (found.status, float(found.trigger_price or 0)) == (VenueStatus.OPEN, 22.0)


async def test_the_validity_of_a_resting_order_can_be_changed_and_is_told(stage: Stage) -> None:
    assert stage.broker.capabilities.changes_validity
    order = await _working(stage, limit_price=PRICE - 10_000)
    assert (await _report(stage, order)).validity is Validity.DAY
    assert isinstance(await stage.broker.modify(order, Change(validity=Validity.IOC)), Accepted)
    found = await _report(stage, order)
    assert (found.status, found.validity, found.quantity) == (VenueStatus.OPEN, Validity.IOC, "10")


async def test_an_order_that_has_ended_cannot_be_modified(stage: Stage) -> None:
    order = await _working(stage)
    await stage.broker.cancel(order)
    assert isinstance(await stage.broker.modify(order, Change(limit_price=PRICE - 100)), Rejected)
    assert (await _report(stage, order)).status is VenueStatus.CANCELLED


async def test_the_days_orders_tell_each_once_with_its_fills_and_positions_are_what_they_sum_to(stage: Stage) -> None:
    filled, resting, gone = [await _working(stage, limit_price=PRICE - cents) for cents in (0, 50_000, 60_000)]
    await stage.fill(filled, 10, "19.90")
    await stage.broker.cancel(gone)
    book = await stage.broker.orders(filled.account)
    assert isinstance(book, Sequence)
    assert {report.tag: (report.status, report.filled) for report in book} == {
        filled.tag: (VenueStatus.FILLED, "10"),
        resting.tag: (VenueStatus.OPEN, "0"),
        gone.tag: (VenueStatus.CANCELLED, "0"),
    }
    assert list(book) == [await _report(stage, order) for order in (filled, resting, gone)]
    assert await stage.broker.positions(filled.account) == [VenuePosition("AAPL", "10")]


async def test_another_process_is_told_the_same(stage: Stage) -> None:
    order = await _working(stage)
    await stage.fill(order, 10, "19.90")
    again = await stage.restarted()
    assert await again.find(order) == await stage.broker.find(order)
    assert await again.orders(order.account) == await stage.broker.orders(order.account)


async def test_news_are_pushed_or_the_stream_of_them_ends_at_once(stage: Stage) -> None:
    order = await intend(stage.desk)
    news = stage.broker.updates(order.account)
    if stage.broker.capabilities.updates is not Updates.PUSH:
        assert [tag async for tag in news] == []
        return
    hearing = asyncio.ensure_future(anext(news))
    while not hearing.done():
        if not (await _listed(stage, order)):
            await send(stage.broker, order)
        else:
            await stage.reach(order)
        await asyncio.sleep(0.05)
    assert hearing.result() == order.tag


async def _listed(stage: Stage, order: BrokerOrder) -> bool:
    return isinstance(await stage.broker.find(order), Report)
