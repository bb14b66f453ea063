"""What an intraday order closes, opens, holds; and until when it may."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.instrument import TradingRules
from app.kernel.orders import OrderStatus, Product, Side
from app.trading.orders.domain import closes, decide, hold_of, holds, margin_of, parts, reduces
from app.trading.orders.domain.changing import beside, without
from app.trading.orders.domain.grouping import slices_of
from app.trading.orders.service.kinds import kinds
from app.trading.risk.service import rules
from tests.unit.trading.orders.test_decide import BUY, context

INTRADAY = replace(BUY, product=Product.INTRADAY)
CLOSE = datetime(2003, 1, 2, 21, tzinfo=UTC)
quantities = st.integers(1, 500)
books = st.fixed_dictionaries(
    {
        "book_quantity": st.integers(-500, 500),
        "book_open_buy": st.integers(0, 300),
        "book_open_sell": st.integers(0, 300),
        "available": st.integers(-1_000_000, 2_000_000),
    }
)


@given(st.integers(-(10**12), 10**12), st.sampled_from([("XNSE", 5), ("XBOM", 5), ("XNAS", 2), ("nowhere", 1)]))
def test_margin_is_the_venues_share_rounded_up(cost: int, where: tuple[str, int]) -> None:
    venue, part = where
    assert margin_of(cost, venue) == ceil(Fraction(abs(cost), part))


@given(quantities, st.sampled_from(Side), books)
def test_what_it_does_not_close_is_on_margin(quantity: int, side: Side, book: dict[str, Any]) -> None:
    seen = context(**book)
    command = replace(INTRADAY, side=side, quantity=quantity)
    held = book["book_quantity"] * -side.sign  # what this side closes is above zero
    free = max(0, held - book["book_open_buy" if side is Side.BUY else "book_open_sell"])
    opened = max(0, quantity - free)
    assert closes(command, seen) == quantity - opened
    assert reduces(command, seen) is (opened == 0)
    decision = decide(command, seen, kinds(), rules())
    hold = margin_of(opened * 2_000, "XNAS")  # at 20.00
    assert hold_of(command, seen, kinds()) == hold
    if decision.status is OrderStatus.ACCEPTED:
        assert (decision.hold_minor, decision.reduces) == (hold, opened == 0)
    assert ("available_funds" in {one.rule for one in decision.reasons}) is (hold > max(0, book["available"]))


@given(quantities, st.sampled_from(Side), books)
def test_nothing_opens_beside_orders_that_close_the_same(quantity: int, side: Side, book: dict[str, Any]) -> None:
    seen = context(**book)
    command = replace(INTRADAY, side=side, quantity=quantity)
    held = book["book_quantity"] * -side.sign
    closing = book["book_open_buy" if side is Side.BUY else "book_open_sell"]
    turns = held > 0 and closing > 0 and quantity > max(0, held - closing)
    assert ("position" in {one.rule for one in decide(command, seen, kinds(), rules()).reasons}) is turns


def test_an_order_in_slices_turns_no_position() -> None:
    def refused(quantity: int, freeze: int | None, held: int) -> bool:
        seen = context(instrument={"freeze_quantity": freeze}, book_quantity=held, available=10**9)
        command = replace(INTRADAY, side=Side.SELL, quantity=quantity)
        return "position" in {one.rule for one in decide(command, seen, kinds(), rules()).reasons}

    assert refused(90, 45, held=50)
    assert not refused(50, 45, held=50)
    assert not refused(90, 45, held=0)
    assert not refused(90, None, held=50)


@given(st.integers(2, 90), st.integers(1, 10), st.sampled_from(Side), books)
def test_slices_hold_together_what_the_order_holds(
    quantity: int, freeze: int, side: Side, book: dict[str, Any]
) -> None:
    seen = context(instrument={"freeze_quantity": freeze}, **book)
    command = replace(INTRADAY, side=side, quantity=min(quantity, freeze * 10))
    found = holds(command, seen, kinds())
    assert sum(found) == hold_of(command, seen, kinds())
    assert parts(command, seen) == slices_of(command.order_class, command.quantity, None, TradingRules(100, 1, freeze))
    for quantity_of_part, hold in zip(parts(command, seen), found, strict=True):  # as if each were asked for by itself
        one = replace(command, quantity=quantity_of_part)
        assert hold == hold_of(one, seen, kinds())
        seen = beside(seen, one)


@given(quantities, st.sampled_from(Side), books)
def test_an_order_without_itself_is_decided_as_before(quantity: int, side: Side, book: dict[str, Any]) -> None:
    seen = context(pending=10**9, open_orders=3, open_buy=900, open_sell=900, **book)
    command = replace(INTRADAY, side=side, quantity=quantity)
    held = hold_of(command, seen, kinds()) or 0
    beside_it = replace(beside(seen, command), available=seen.available - held)
    assert hold_of(command, without(beside_it, command, filled=0, held=held), kinds()) == held
    assert without(beside_it, command, filled=0, held=held).available == seen.available


def test_a_sale_holds_for_the_price_that_it_may_really_get() -> None:
    below = replace(INTRADAY, side=Side.SELL, limit_price=100_000)
    assert hold_of(below, context(book_quantity=0), kinds()) == margin_of(10 * 2_000, "XNAS")


@pytest.mark.parametrize(("segment", "minutes"), [("EQ", 10), ("CDS", 15), (None, 10)])
def test_from_the_cut_off_on_it_only_closes(segment: str | None, minutes: int) -> None:
    def denied(at: datetime, **changes: Any) -> set[str]:
        seen = context(market_at=at, session_closes_at=CLOSE, session_segment=segment, book_quantity=10)
        return {one.rule for one in decide(replace(INTRADAY, **changes), seen, kinds(), rules()).reasons}

    cut_off = CLOSE - timedelta(minutes=minutes)
    assert denied(cut_off - timedelta(microseconds=1)) == set()
    assert denied(cut_off) == {"intraday_cut_off"}
    assert denied(cut_off, side=Side.SELL) == set()
    assert denied(cut_off, side=Side.SELL, quantity=11) == {"intraday_cut_off"}
    assert denied(cut_off, product=Product.DELIVERY) == set()


def test_what_is_held_for_delivery_is_not_what_an_intraday_order_closes() -> None:
    selling = replace(INTRADAY, side=Side.SELL)
    seen = context(book_quantity=0, position_quantity=10)  # `book_quantity` is the product's
    assert closes(selling, seen) == 0
