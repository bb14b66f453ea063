"""An exit at a live broker that shall become larger than what it closes: what it opens is held, and given back."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.kernel.orders import OrderType, Product, Side
from app.trading.brokers.ports import Accepted, Rejected, Report, VenueStatus
from app.trading.orders.service.asking import modify
from app.trading.orders.service.executing import cancel, submit
from tests.integration.trading.conftest import PRICE, Venue
from tests.integration.trading.groups import fill
from tests.integration.trading.groups import held as units_held
from tests.integration.trading.scripted import Scripted, change, held, item, report

CAN_CHANGE = replace(Scripted([]).capabilities, modify=True)
AT_LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "product": Product.INTRADAY}


async def _placed(live: Venue, side: Side, price: int) -> UUID:
    placed = await live.order(side=side, quantity=20, limit_price=price, **AT_LIMIT)
    await submit(live.desk(Scripted([Accepted(f"V{side}")])), item(live, placed.id))
    return placed.id


async def _exit(live: Venue) -> UUID:
    """An order that works at the broker and would close the 20 that the account holds."""
    await fill(live, await _placed(live, Side.BUY, PRICE), 20)
    closing = await _placed(live, Side.SELL, PRICE + 1_000)
    assert await held(live) == 0
    return closing


async def _answered(live: Venue, order_id: UUID, *answers: Any) -> None:
    script = Scripted(list(answers), capabilities=CAN_CHANGE)
    await modify(live.desk(script), item(live, order_id, "order.modify"))


def _shown(order_id: UUID, status: VenueStatus, *fills: int) -> Report:
    said = report(order_id, status, *fills)
    return replace(said, side=Side.SELL, venue_order_id="Vsell", quantity="20", limit_price="20.10")


async def _terms(live: Venue, order_id: UUID) -> dict[str, Any]:
    return (await live.rows("select quantity, reduces, hold_minor from orders where id = :id", id=order_id))[0]


async def test_what_is_granted_is_held_until_it_fills(live: Venue) -> None:
    closing = await _exit(live)
    await change(live, closing, quantity=30)
    asked_for = await held(live)
    assert asked_for >= 10 * 2_010 // 2
    await _answered(live, closing, Accepted("Vsell"))
    assert await _terms(live, closing) == {"quantity": 30, "reduces": False, "hold_minor": asked_for}
    assert await held(live) == asked_for
    await fill(live, closing, 12)
    assert 0 < await held(live) < asked_for
    await fill(live, closing, 18)
    assert (await held(live), await units_held(live)) == (0, -10)
    await live.is_sound()


async def test_what_is_refused_is_given_back_and_may_be_asked_for_again(live: Venue) -> None:
    closing = await _exit(live)
    for _ in range(2):
        await change(live, closing, quantity=30)
        assert await held(live) > 0
        await _answered(live, closing, Rejected("no"), _shown(closing, VenueStatus.OPEN))
        assert await held(live) == 0
        assert await _terms(live, closing) == {"quantity": 20, "reduces": True, "hold_minor": 0}
        await live.is_sound()


async def test_one_that_is_taken_back_meanwhile_gives_it_back(live: Venue) -> None:
    closing = await _exit(live)
    await change(live, closing, quantity=30)
    script = Scripted([Accepted("Vsell"), _shown(closing, VenueStatus.CANCELLED)])
    await cancel(live.desk(script), item(live, closing, "order.cancel"))
    assert (await live.status(closing), await held(live)) == ("cancelled", 0)
    await live.is_sound()


@pytest.mark.parametrize("fills", [(20,), (5, 15)])
async def test_one_that_fills_meanwhile_gives_it_back(live: Venue, fills: tuple[int, ...]) -> None:
    closing = await _exit(live)
    await change(live, closing, quantity=30)
    for quantity in fills:
        assert await held(live) > 0
        await fill(live, closing, quantity)
    assert (await live.status(closing), await held(live), await units_held(live)) == ("filled", 0, 0)
    await live.is_sound()


async def test_an_order_that_comes_to_close_all_gives_back_what_it_held(live: Venue) -> None:
    selling = await _placed(live, Side.SELL, PRICE + 1_000)  # short of 20
    before = await held(live)
    await fill(live, await _placed(live, Side.BUY, PRICE), 20)  # now it would close
    await change(live, selling, quantity=15)
    assert await held(live) == before
    await _answered(live, selling, Accepted("Vsell"))
    assert await held(live) == 0
    await change(live, selling, quantity=40)
    assert await held(live) >= 20 * 2_010 // 2
    await _answered(live, selling, Accepted("Vsell"))
    await fill(live, selling, 40, price=PRICE + 1_000)
    assert (await held(live), await units_held(live)) == (0, -20)
    await live.is_sound()
