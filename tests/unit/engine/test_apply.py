"""The position reducer: hand-made cases, and the identities that hold for every history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.apply import FLAT, Position, Scale, apply_dividend, apply_fill, apply_split, split_order
from app.kernel.orders import Side

SCALE = Scale(price_exp=4, qty_exp=0)


def fill(position: Position, side: Side, quantity: int, price: int) -> tuple[Position, int]:
    applied = apply_fill(position, side=side, quantity=quantity, price=price, scale=SCALE)
    return applied.position, applied.cash


def test_a_buy_then_a_partial_sale_realises_the_proportion() -> None:
    position, cash = fill(FLAT, Side.BUY, 3, 10_0000)
    assert (position, cash) == (Position(3, 30_00, 0), -30_00)
    position, cash = fill(position, Side.SELL, 1, 11_0000)
    assert (position, cash) == (Position(2, 20_00, 1_00), 11_00)


def test_a_sale_to_flat_leaves_no_cost_behind() -> None:
    position, _ = fill(Position(3, 10_00, 0), Side.SELL, 3, 0)
    assert position == Position(0, 0, -10_00)
    assert position.is_flat


def test_a_fill_through_zero_closes_then_opens_short() -> None:
    position, cash = fill(Position(10, 100_00, 0), Side.SELL, 15, 12_0000)
    assert (position, cash) == (Position(-5, -60_00, 20_00), 180_00)
    position, cash = fill(position, Side.BUY, 5, 10_0000)
    assert (position, cash) == (Position(0, 0, 30_00), -50_00)


def test_a_split_keeps_the_cost_and_doubles_the_units() -> None:
    applied = apply_split(Position(7, 700_00, 5), numerator=2, denominator=1, price=50_0000, scale=SCALE)
    assert (applied.position, applied.cash) == (Position(14, 700_00, 5), 0)


def test_a_reverse_split_pays_the_fraction_in_cash() -> None:
    applied = apply_split(Position(7, 700_00, 0), numerator=1, denominator=2, price=200_0000, scale=SCALE)
    assert (applied.position, applied.cash) == (Position(3, 700_00, 100_00), 100_00)


def test_a_reverse_split_that_leaves_no_unit_realises_the_cost() -> None:
    applied = apply_split(Position(1, 90_00, 0), numerator=1, denominator=10, price=1000_0000, scale=SCALE)
    assert (applied.position, applied.cash) == (Position(0, 0, 10_00), 100_00)


def test_a_short_position_pays_fractions_and_dividends() -> None:
    applied = apply_split(Position(-7, -700_00, 0), numerator=1, denominator=2, price=200_0000, scale=SCALE)
    assert (applied.position, applied.cash) == (Position(-3, -700_00, -100_00), -100_00)
    assert apply_dividend(Position(-10, -5, 0), amount=5000, scale=SCALE).cash == -5_00


def test_a_dividend_is_cash_and_leaves_the_position_alone() -> None:
    held = Position(150, 1500_00, 3)
    applied = apply_dividend(held, amount=1234, scale=SCALE)
    assert (applied.position, applied.cash) == (held, 18_51)


def test_a_scale_finer_than_money_and_a_coarser_one_agree() -> None:
    assert Scale(price_exp=0, qty_exp=0, money_exp=2).notional(3, 5) == 1500
    applied = apply_split(Position(3, 1, 0), numerator=1, denominator=2, price=7, scale=Scale(0, 0, 2))
    assert applied.cash == 350


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="positive quantity"):
        fill(FLAT, Side.BUY, 0, 1)
    with pytest.raises(ValueError, match="positive ratio"):
        apply_split(FLAT, numerator=0, denominator=1, price=1, scale=SCALE)
    with pytest.raises(ValueError, match="negative"):
        apply_dividend(FLAT, amount=-1, scale=SCALE)


def test_a_split_never_makes_a_resting_order_keener() -> None:
    order = {"quantity": 7, "limit_price": 100_0500, "numerator": 2, "denominator": 1, "tick": 500}
    assert split_order(**order, side=Side.BUY) == (14, 50_0000)
    assert split_order(**order, side=Side.SELL) == (14, 50_0500)
    assert split_order(quantity=7, limit_price=None, numerator=1, denominator=10, tick=1, side=Side.BUY) == (0, None)


fills = st.tuples(st.sampled_from(Side), st.integers(1, 10_000), st.integers(0, 10**8))
splits = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(0, 10**8))


@given(st.lists(st.one_of(fills, splits), max_size=40))
def test_cash_sums_to_realised_minus_cost_for_every_history(history: list[tuple]) -> None:  # type: ignore[type-arg]
    position, cash = FLAT, 0
    for first, second, third in history:
        if isinstance(first, Side):
            applied = apply_fill(position, side=first, quantity=second, price=third, scale=SCALE)
        else:
            applied = apply_split(position, numerator=first, denominator=second, price=third, scale=SCALE)
        position, cash = applied.position, cash + applied.cash
        assert cash == position.realised - position.cost
        assert position.quantity != 0 or position.cost == 0
