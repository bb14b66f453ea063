"""Changes of working orders: what asks for more, and what the rest of an order holds."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.kernel.orders import OrderStatus, Product, Side, Validity
from app.trading.orders.domain import PlaceOrder, Waits, trailed, trailed_price
from app.trading.orders.domain.changing import (
    ChangeOrder,
    against,
    check_changeable,
    hold_left,
    hold_of_whole,
    moves_price,
    wants_more,
    without,
)
from app.trading.orders.service.kinds import kinds
from app.trading.risk.domain import Finding
from tests.unit.trading.orders.test_decide import BUY, CONTEXT, MARKET, SELL, STOP, TRAIL

SHORT, INTRADAY = (replace(one, product=Product.INTRADAY) for one in (SELL, BUY))


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
        (TRAIL, {"parameters": {"trail_by": "0.50"}}, True),
        (BUY, {"validity": Validity.GTC}, False),
        (SHORT, {"limit_price": 200_100}, True),
        (SHORT, {"limit_price": 199_900}, True),
        (SHORT, {"quantity": 9}, False),
        (INTRADAY, {"limit_price": 200_100}, True),
        (INTRADAY, {"limit_price": 199_900}, False),
    ],
)
def test_more_is_a_larger_quantity_a_worse_price_or_another_trigger(
    order: PlaceOrder, changes: dict[str, Any], more: bool
) -> None:
    assert wants_more(order, ChangeOrder(**changes).applied(order)) is more


@pytest.mark.parametrize(
    ("changes", "moved"),
    [({"limit_price": 1}, True), ({"trigger_price": 1}, True), ({"quantity": 9}, False), ({"validity": "gtc"}, False)],
)
def test_a_price_is_moved_whichever_way_it_goes(changes: dict[str, Any], moved: bool) -> None:
    order = replace(STOP, limit_price=230_000)
    assert moves_price(order, ChangeOrder(**changes).applied(order)) is moved


def _finding(rule: str) -> Finding:
    return Finding(rule=rule, verdict="deny", limit="", value="", message="")


@pytest.mark.parametrize(
    ("more", "moved", "stands"),
    [
        (True, False, ["max_position", "price_band"]),
        (True, True, ["max_position", "price_band"]),
        (False, True, ["price_band"]),
        (False, False, []),
    ],
)
def test_what_asks_for_no_more_obeys_the_band_alone_and_only_where_its_price_is_moved(
    more: bool, moved: bool, stands: list[str]
) -> None:
    reasons = [_finding("max_position"), _finding("price_band")]
    assert [one.rule for one in against(reasons, more=more, moved=moved)] == stands


def test_a_change_that_changes_nothing_is_refused() -> None:
    for change in (ChangeOrder(), ChangeOrder(quantity=BUY.quantity, limit_price=BUY.limit_price)):
        with pytest.raises(DomainError) as caught:
            change.applied(BUY)
        assert caught.value.code == "nothing_to_change"


def _check(order: PlaceOrder, status: str, pending: Any = None, **changes: Any) -> None:
    stored = {name: getattr(order, name) for name in ("validity", "limit_price", "trigger_price")}
    sent = kinds()[order.order_type].at_venue(stored)
    check_changeable(OrderStatus(status), pending, order, ChangeOrder(**changes), sent)


@pytest.mark.parametrize(
    ("order", "status", "pending", "code"),
    [
        (BUY, "submitting", None, "order_not_changeable"),
        (BUY, "unknown", None, "order_not_changeable"),
        (BUY, "filled", None, "order_not_changeable"),
        (replace(STOP, validity=Validity.GTT), "open", None, "order_not_changeable"),
        (TRAIL, "open", None, "order_not_changeable"),
        (MARKET, "open", None, "order_not_changeable"),
        (BUY, "open", {}, "change_pending"),
    ],
)
def test_what_is_under_way_or_trades_at_the_market_is_not_changed_and_one_change_at_a_time(
    order: PlaceOrder, status: str, pending: Any, code: str
) -> None:
    with pytest.raises(DomainError) as caught:
        _check(order, status, pending, quantity=5)
    assert caught.value.code == code
    _check(BUY, "partially_filled", quantity=5)


@pytest.mark.parametrize("order", [BUY, MARKET, TRAIL, replace(STOP, validity=Validity.GTT)])
@pytest.mark.parametrize("status", ["accepted", "waiting"])
def test_whatever_was_not_sent_yet_can_be_changed(order: PlaceOrder, status: str) -> None:
    _check(order, status, quantity=5)


def test_a_stop_that_was_set_off_here_has_a_limit_to_change_and_no_trigger() -> None:
    stop = replace(STOP, order_type="sl", limit_price=230_000, validity=Validity.GTT)
    _check(stop, "open", limit_price=240_000)
    with pytest.raises(DomainError) as caught:
        _check(stop, "open", trigger_price=240_000)
    assert (caught.value.code, caught.value.param) == ("order_not_changeable", "trigger_price")


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [("day", "gtc", True), ("gtc", "ioc", True), ("ttl", "day", False), ("gtt", "day", False), ("gtt", "gtt", True)],
)
def test_a_change_chooses_among_the_validities_that_neither_a_clock_nor_a_price_ends(
    before: str, after: str, allowed: bool
) -> None:
    order = replace(BUY, validity=Validity(before))
    if allowed:
        _check(order, "open", validity=Validity(after))
        return
    with pytest.raises(DomainError) as caught:
        _check(order, "open", validity=Validity(after))
    assert (caught.value.code, caught.value.param) == ("invalid_validity", "validity")


TICK = 25


@given(st.integers(1_000, 10**7), st.sampled_from(Side), st.integers(1, 30) | st.none(), st.integers(1, 9_000))
def test_a_trigger_stands_where_the_price_behind_it_puts_it(price: int, side: Side, by: int | None, bps: int) -> None:
    trail: dict[str, int | None] = (
        {"trail_by": by * TICK, "trail_bps": None} if by else {"trail_by": None, "trail_bps": bps}
    )
    trigger = trailed(price, side, **trail, tick=TICK)
    best = trailed_price(trigger, side, **trail)
    assert trigger == TICK or trailed(best, side, **trail, tick=TICK) == trigger


def test_a_shorter_trail_counts_from_the_best_price_and_is_refused_where_the_market_is_already() -> None:
    kind = kinds()["trailing_stop"]
    sell = replace(TRAIL, side=Side.SELL, parameters={"trail_by": "1.50"})
    now, seen = Waits(200_000, trail_by=20_000), replace(CONTEXT, last_price=206_000)  # it had come to 22.00
    assert kind.waits_changed(now, sell, seen) == Waits(205_000, trail_by=15_000)
    assert kind.waits_changed(now, replace(sell, parameters={"trail_by": "2.00"}), seen) == now
    with pytest.raises(DomainError) as caught:
        kind.waits_changed(now, replace(sell, parameters={"trail_by": "1.40"}), seen)
    assert (caught.value.code, caught.value.param) == ("stop_on_the_wrong_side", "parameters")


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
