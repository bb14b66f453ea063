"""The position reducer on futures and options: plain and compiled give identical integers."""

from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from app.engine.apply import Position, Scale, apply_fill, apply_split
from app.engine.columns import STATE, State
from app.engine.instruments import Instrument, static_array
from app.engine.kernels import positions
from app.kernel.orders import Side

scales = st.builds(
    lambda price, qty, multiplier: (price, qty, multiplier),
    st.integers(0, 6), st.integers(0, 3), st.sampled_from([Fraction(n, d) for n in (1, 50, 1000) for d in (1, 10, 7)]),
)  # fmt: skip
held = st.builds(Position, st.integers(-(10**6), 10**6), st.integers(-(10**10), 10**10), st.integers(-(10**9), 10**9))
held = held.map(lambda one: one if one.quantity else Position(0, 0, one.realised))


def slot(price_exp: int, qty_exp: int, multiplier: Fraction, kind: str) -> tuple[Scale, Any]:
    strike = 1 if kind == "option" else None
    one = Instrument(UUID(int=1), "INR", price_exp, qty_exp, kind=kind, multiplier=multiplier, strike=strike)
    return one.scale, static_array([one])[0]


def row(position: Position) -> Any:
    state = np.zeros(STATE, np.int64)
    state[:3] = position.quantity, position.cost, position.realised
    return state


def back(state: Any) -> Position:
    return Position(*(int(v) for v in state[: State.CLOSE]))


@given(held, st.sampled_from(Side), st.integers(1, 10**6), st.integers(0, 10**8), scales, st.booleans())
def test_contracts_change_by_fills_identically(
    position: Position, side: Side, quantity: int, price: int, exps: tuple[int, int, Fraction], future: bool
) -> None:
    scale, static = slot(*exps, "future" if future else "option")
    plain = apply_fill(position, side=side, quantity=quantity, price=price, scale=scale)
    amounts = (scale.worth(position, price), plain.cash, plain.position.cost, plain.position.realised)
    assume(all(abs(amount) < 2**60 for amount in amounts))  # beyond 64 bits the compiled form raises
    state = row(position)
    assert positions.worth_of(state, price, static) == scale.worth(position, price)
    assert positions.apply_fill(state, static, side.sign, quantity, price) == plain.cash
    assert back(state) == plain.position
    if future:
        assert plain.cash == plain.position.realised - position.realised


@given(held, st.integers(1, 50), st.integers(1, 50), st.integers(0, 10**7), scales, st.booleans())
def test_contracts_change_by_splits_identically(
    position: Position, numerator: int, denominator: int, price: int, exps: tuple[int, int, Fraction], future: bool
) -> None:
    scale, static = slot(*exps, "future" if future else "option")
    plain = apply_split(position, numerator=numerator, denominator=denominator, price=price, scale=scale)
    state = row(position)
    assert positions.apply_split(state, static, numerator, denominator, price) == plain.cash
    assert back(state) == plain.position
    if future:
        assert plain.cash == plain.position.realised - position.realised


def test_multipliers_of_real_contracts() -> None:
    dollars = slot(4, 0, Fraction(1000), "future")[0]
    assert dollars.notional(3, 83_2575) == 3 * 83_257_50
    gold = slot(2, 0, Fraction(100), "future")[0]  # 1 kg, quoted per 10 g
    assert gold.notional(2, 72_105_00) == 2 * 7_210_500_00
    nickel = slot(2, 0, Fraction(1, 3), "future")[0]
    assert nickel.notional(-1, 100) == -33
