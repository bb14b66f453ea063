"""What the market is shown of an order: by a broker that hides the rest by itself, else by slices of ours."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.kernel.orders import OrderClass, OrderType, Validity
from app.trading.brokers.ports import BrokerOrder
from app.trading.brokers.service import know_brokers
from app.trading.orders.service.outcomes import broker_order, read_state
from app.trading.paper.service import PaperBroker
from tests.factories.live_accounts import BROKER
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.groups import family
from tests.integration.trading.scripted import Scripted
from tests.integration.trading.test_slices import frozen as frozen

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": PRICE, "quantity": 40}


@pytest.fixture
def hiding(live: Venue) -> Iterator[Venue]:
    """A live account whose broker keeps the rest of an order back by itself."""
    paper = {"paper": PaperBroker.capabilities}
    know_brokers(paper | {BROKER: replace(Scripted([]).capabilities, native_iceberg=True)})
    yield live
    know_brokers(paper)


async def _sent(venue: Venue, order_id: UUID) -> BrokerOrder:
    state = await read_state(venue.app.database.pool, venue.tenant_id, order_id)
    assert state is not None
    return broker_order(venue.tenant_id, state)


async def _alone(venue: Venue, order_id: UUID) -> tuple[str, int | None, list[dict[str, Any]]]:
    (row,) = await venue.rows("select order_class, disclosed_quantity from orders where id = :id", id=order_id)
    return row["order_class"], row["disclosed_quantity"], await family(venue, order_id)


async def test_a_broker_that_hides_quantity_gets_the_order_whole_with_what_it_shall_show(hiding: Venue) -> None:
    placed = await hiding.order(**LIMIT, disclosed_quantity=15)
    assert await _alone(hiding, placed.id) == ("single", 15, [])
    assert (await _sent(hiding, placed.id)).disclosed_quantity == 15


async def test_an_iceberg_in_a_few_slices_is_such_an_order_there(hiding: Venue) -> None:
    placed = await hiding.order(**LIMIT, order_class=OrderClass.ICEBERG, slices=3)
    assert await _alone(hiding, placed.id) == ("single", 14, [])
    sent = await _sent(hiding, placed.id)
    assert (sent.quantity, sent.disclosed_quantity) == (40, 14)


async def test_what_no_exchange_would_hide_is_sent_in_slices_there_too(hiding: Venue) -> None:
    many = await hiding.order(**LIMIT, order_class=OrderClass.ICEBERG, slices=11)
    market = {"order_type": OrderType.MARKET, "limit_price": None}
    plain = await hiding.order(**LIMIT | market, order_class=OrderClass.ICEBERG, slices=4)
    for order, slices in ((many, 11), (plain, 4)):
        order_class, disclosed, children = await _alone(hiding, order.id)
        assert (order_class, disclosed, len(children)) == ("iceberg", None, slices)


async def test_another_broker_is_sent_one_slice_after_the_other(venue: Venue) -> None:
    placed = await venue.order(**LIMIT, disclosed_quantity=15, validity=Validity.GTC)
    order_class, disclosed, children = await _alone(venue, placed.id)
    assert (order_class, disclosed) == ("iceberg", 15)
    assert [(one["quantity"], one["disclosed_quantity"]) for one in children] == [(15, None), (15, None), (10, None)]
    for shown in (15, 15, 10):
        await venue.work()
        assert await venue.rows("select remaining from paper_orders") == [{"remaining": shown}]
        await venue.show(PRICE - 100)
    (row,) = await venue.rows("select status, filled_quantity from orders where id = :id", id=placed.id)
    assert row == {"status": "filled", "filled_quantity": 40}
    await venue.is_sound()


async def test_above_the_freeze_quantity_no_slice_is_larger_than_either_bound(frozen: Venue) -> None:
    placed = await frozen.order(**LIMIT, disclosed_quantity=30)
    order_class, _, children = await _alone(frozen, placed.id)
    assert (order_class, [one["quantity"] for one in children]) == ("iceberg", [15, 15, 10])
