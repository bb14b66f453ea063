"""Changes of working orders: what asks for more, and what the rest of an order holds."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.kernel.orders import Side, Validity
from app.trading.orders.domain import PlaceOrder
from app.trading.orders.domain.changing import (
    ChangeOrder,
    check_changeable,
    hold_left,
    hold_of_whole,
    wants_more,
    without,
)
from app.trading.orders.service.kinds import kinds
from tests.unit.trading.orders.test_decide import BUY, CONTEXT, MARKET, SELL, STOP, TRAIL


@pytest.mark.parametrize(
    ("order", "changes", "more"),
    [
        (BUY, {"quantity": 11}, True),
        (BUY, {"quantity": 9}, False),
        (BUY, {"limit_price": 200_100}, True),
        (BUY, {"limit_price": 199_900}, False),
        (SELL, {"limit_price": 199_900}, True),
        (SELL, {"limit_price": 200_100}, False),
        (BUY, {"quantity": 9, "limit_price": 200_100}, True),
        (STOP, {"trigger_price": 220_000}, True),
    ],
)
def test_more_is_a_larger_quantity_a_worse_price_or_another_trigger(
    order: PlaceOrder, changes: dict[str, int], more: bool
) -> None:
    assert wants_more(order, ChangeOrder(**changes).applied(order)) is more


def test_a_change_that_changes_nothing_is_refused() -> None:
    for change in (ChangeOrder(), ChangeOrder(quantity=BUY.quantity, limit_price=BUY.limit_price)):
        with pytest.raises(DomainError) as caught:
            change.applied(BUY)
        assert caught.value.code == "nothing_to_change"


@pytest.mark.parametrize(
    ("order", "status", "pending", "code"),
    [
        (BUY, "accepted", None, "order_not_changeable"),
        (BUY, "unknown", None, "order_not_changeable"),
        (BUY, "filled", None, "order_not_changeable"),
        (replace(STOP, validity=Validity.GTT), "open", None, "order_not_changeable"),
        (TRAIL, "open", None, "order_not_changeable"),
        (MARKET, "open", None, "order_not_changeable"),
        (BUY, "open", {}, "change_pending"),
    ],
)
def test_only_what_rests_at_the_broker_is_changed_and_one_change_at_a_time(
    order: PlaceOrder, status: str, pending: Any, code: str
) -> None:
    with pytest.raises(DomainError) as caught:
        check_changeable(status, pending, order, kinds()[order.order_type])
    assert caught.value.code == code
    check_changeable("partially_filled", None, BUY, kinds()["limit"])


def test_an_order_is_decided_anew_as_if_it_were_not_there() -> None:
    seen = replace(CONTEXT, open_orders=2, open_buy=30, open_sell=10, book_open_sell=10, available=5)
    buy = without(seen, replace(BUY, quantity=20), filled=5, held=7)
    assert (buy.open_orders, buy.open_buy, buy.open_sell, buy.available) == (1, 15, 10, 12)
    sell = without(seen, replace(SELL, side=Side.SELL), filled=4, held=0)
    assert (sell.open_buy, sell.open_sell, sell.book_open_sell) == (30, 4, 4)


@given(st.integers(0, 10**12), st.integers(2, 10**6), st.integers(0, 10**6))
def test_the_hold_of_the_whole_covers_the_rest(hold: int, quantity: int, filled: int) -> None:
    filled %= quantity
    whole = hold_of_whole(hold, quantity=quantity, filled=filled)
    assert hold <= hold_left(whole, quantity=quantity, filled=filled) <= hold + 1
