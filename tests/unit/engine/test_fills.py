"""The fill rule on hand-made prices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.fills import PriceEvent, SlippageModel, bar_path, match, slipped
from app.kernel.orders import OrderType, Side


def limit(side: Side, limit_price: int, price: int, *, first: bool = False, arrived: bool = False):  # type: ignore[no-untyped-def]
    return match(
        side=side,
        order_type=OrderType.LIMIT,
        limit_price=limit_price,
        remaining=10,
        price=price,
        volume=5,
        first=first,
        first_after_arrival=arrived,
        tick=5,
    )


def test_a_touch_of_the_limit_is_no_fill() -> None:
    assert limit(Side.BUY, 100, 100) is None
    assert limit(Side.SELL, 100, 100, first=True, arrived=True) is None


def test_a_trade_through_fills_at_the_limit() -> None:
    assert limit(Side.BUY, 100, 95) == (100, 10)
    assert limit(Side.SELL, 100, 105) == (100, 10)


def test_a_gap_through_the_limit_fills_at_the_price() -> None:
    assert limit(Side.BUY, 100, 95, first=True) == (95, 10)
    assert limit(Side.BUY, 100, 90, arrived=True) == (90, 10)
    assert limit(Side.SELL, 100, 120, first=True) == (120, 10)


def test_a_price_away_from_the_limit_is_no_fill() -> None:
    assert limit(Side.BUY, 100, 105) is None
    assert limit(Side.SELL, 100, 95) is None


def market(side: Side, price: int, bps: int, tick: int = 5):  # type: ignore[no-untyped-def]
    return match(
        side=side,
        order_type=OrderType.MARKET,
        limit_price=None,
        remaining=3,
        price=price,
        volume=0,
        first=True,
        first_after_arrival=True,
        tick=tick,
        slippage=SlippageModel(bps),
    )


def test_a_market_order_pays_the_price_when_there_is_no_slippage() -> None:
    assert market(Side.BUY, 1003, 0) == (1003, 3)


def test_slippage_is_rounded_against_the_order() -> None:
    assert market(Side.BUY, 100_000, 5) == (100_050, 3)
    assert market(Side.BUY, 100_001, 5) == (100_055, 3)
    assert market(Side.SELL, 100_001, 5) == (99_950, 3)


def test_slippage_never_sells_below_one_tick() -> None:
    assert slipped(5, Side.SELL, tick=5, slippage=SlippageModel(9_999)) == 5


def test_nothing_fills_without_a_price_or_a_quantity() -> None:
    assert market(Side.BUY, 0, 0) is None
    assert (
        match(
            side=Side.BUY,
            order_type=OrderType.MARKET,
            limit_price=None,
            remaining=0,
            price=1,
            volume=0,
            first=True,
            first_after_arrival=True,
        )
        is None
    )


def test_malformed_orders_and_models_are_refused() -> None:
    with pytest.raises(ValueError, match="limit price"):
        match(
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            limit_price=None,
            remaining=1,
            price=1,
            volume=0,
            first=True,
            first_after_arrival=True,
        )
    with pytest.raises(ValueError, match="slippage"):
        SlippageModel(10_000)


def test_a_bar_is_open_then_extremes_then_close() -> None:
    rising = bar_path(open=10, high=14, low=9, close=12, volume=100)
    assert [event.price for event in rising] == [10, 9, 14, 12]
    falling = bar_path(open=12, high=14, low=9, close=10, volume=100)
    assert [event.price for event in falling] == [12, 14, 9, 10]
    assert [event.first for event in rising] == [True, False, False, False]
    assert rising[-1] == PriceEvent(12, 100, False)


@given(st.sampled_from(Side), st.integers(1, 10**9), st.integers(1, 10**9), st.booleans(), st.booleans())
def test_a_limit_order_never_pays_worse_than_its_limit(
    side: Side, limit_price: int, price: int, first: bool, arrived: bool
) -> None:
    filled = limit(side, limit_price, price, first=first, arrived=arrived)
    assert filled is None or (filled[0] - limit_price) * side.sign <= 0
