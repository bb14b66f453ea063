"""Compiled and plain forms of the money rules give identical integers."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.engine.apply import Position, Scale, apply_dividend, apply_fill, apply_split
from app.engine.bars import EPOCH, Bars
from app.engine.columns import MARKET, STATE, State
from app.engine.fills import SlippageModel, match, triggered
from app.engine.instruments import Instrument, static_array
from app.engine.kernels import charging, integers, matching, positions, sizing
from app.engine.layout import FIELDS
from app.engine.schedule import charges, schedule_named
from app.engine.tariff import rate_table
from app.kernel.money import Rounding, divide
from app.kernel.orders import OrderType, Product, Side

scales = st.tuples(st.integers(0, 6), st.integers(0, 6))
held = st.builds(
    Position, st.integers(-(10**9), 10**9), st.integers(-(10**13), 10**13), st.integers(-(10**13), 10**13)
).map(lambda p: p if p.quantity else Position(0, 0, p.realised))


def slot(price_exp: int, qty_exp: int) -> tuple[Scale, Any]:
    one = Instrument(UUID(int=1), "USD", price_exp, qty_exp)
    return one.scale, static_array([one])[0]


def row(position: Position) -> Any:
    state = np.zeros(STATE, np.int64)
    state[:3] = position.quantity, position.cost, position.realised
    return state


def back(state: Any) -> Position:
    return Position(*(int(v) for v in state[: State.CLOSE]))


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62), st.integers(1, 2**61), st.booleans())
def test_multiply_divide_is_exact_beyond_64_bits(a: int, b: int, c: int, half_up: bool) -> None:
    expected = divide(a * b, c, Rounding.HALF_UP if half_up else Rounding.DOWN)
    try:
        assert integers.multiply_divide(a, b, c, half_up) == expected
    except OverflowError:
        assert abs(expected) > 8.9e18
    else:
        assert abs(expected) < 2**63


@given(st.dates(date(1, 3, 1), date(9990, 1, 1)))
def test_calendar_months_agree_with_the_standard_library(day: date) -> None:
    number = day.toordinal() - EPOCH
    assert integers.month_of(number) == day.year * 12 + day.month - 1
    assert integers.day_of_month(number) == day.day


@given(held, st.sampled_from(Side), st.integers(1, 10**9), st.integers(0, 10**9), scales)
@example(Position(0, 0, 0), Side.BUY, 303698844, 303701256, (0, 0))  # a cost beyond 64 bits
def test_fills_change_positions_identically(
    position: Position, side: Side, quantity: int, price: int, exps: tuple[int, int]
) -> None:
    scale, static = slot(*exps)
    plain = apply_fill(position, side=side, quantity=quantity, price=price, scale=scale)
    state = row(position)
    try:
        assert positions.apply_fill(state, static, side.sign, quantity, price) == plain.cash
    except OverflowError:
        assert abs(plain.cash) > 8.9e18
    else:
        assert back(state) == plain.position


@given(held, st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 10**9), scales)
def test_splits_change_positions_identically(
    position: Position, numerator: int, denominator: int, price: int, exps: tuple[int, int]
) -> None:
    scale, static = slot(*exps)
    plain = apply_split(position, numerator=numerator, denominator=denominator, price=price, scale=scale)
    state = row(position)
    assert positions.apply_split(state, static, numerator, denominator, price) == plain.cash
    assert back(state) == plain.position


@given(held, st.integers(0, 10**6), scales)
def test_dividends_pay_identically(position: Position, amount: int, exps: tuple[int, int]) -> None:
    scale, static = slot(*exps)
    plain = apply_dividend(position, amount=amount, scale=scale)
    assert positions.apply_dividend(row(position), static, amount) == plain.cash


@given(
    st.sampled_from(Side), st.sampled_from((OrderType.MARKET, OrderType.LIMIT)), st.integers(1, 10**10),
    st.integers(-1, 10**10), st.booleans(), st.booleans(), st.integers(1, 1000), st.integers(0, 9999),
)  # fmt: skip
def test_the_fill_rule_is_identical(
    side: Side, kind: OrderType, limit: int, price: int, first: bool, arrived: bool, tick: int, bps: int
) -> None:
    plain = match(
        side=side, order_type=kind, limit_price=limit, remaining=7, price=price, volume=0, first=first,
        first_after_arrival=arrived, tick=tick, slippage=SlippageModel(bps),
    )  # fmt: skip
    code = MARKET if kind is OrderType.MARKET else 1
    paid, _ = matching.match(side.sign, code, limit, price, first, arrived, tick, bps)
    assert (plain[0] if plain else 0) == paid


@given(
    st.sampled_from(Side), st.integers(1, 10**10), st.integers(-1, 10**10), st.booleans(), st.integers(1, 1000),
    st.integers(0, 9999),
)  # fmt: skip
def test_stops_are_set_off_identically(side: Side, trigger: int, price: int, gap: bool, tick: int, bps: int) -> None:
    plain = triggered(
        side=side, trigger_price=trigger, price=price, gap=gap, tick=tick, slippage=SlippageModel(bps)
    )  # fmt: skip
    paid, _ = matching.triggered(side.sign, trigger, price, gap, tick, bps)
    assert (plain or 0) == paid


@settings(max_examples=300)
@given(
    st.sampled_from(["zero", "flat_bps", "us_equity", "nse_equity"]), st.integers(0, 10**12), st.integers(1, 10**7),
    st.sampled_from(Side), st.sampled_from(Product), st.integers(0, 9000), st.integers(0, 4),
)  # fmt: skip
def test_charges_are_identical_per_head(
    name: str, notional: int, quantity: int, side: Side, product: Product, days: int, qty_exp: int
) -> None:
    schedule = schedule_named(name)
    on = (date(2024, 10, 1) if name == "nse_equity" else date(2000, 1, 3)) + timedelta(days=days)
    plain = charges(schedule, notional=notional, quantity=quantity, side=side, product=product, on=on, qty_exp=qty_exp)
    number = np.array([on.toordinal() - EPOCH])
    bars = Bars(number, number, np.zeros((FIELDS, 1, 1), np.int64), np.zeros((1, 1), np.uint8))
    rates, units = rate_table(schedule, schedule.currency or "USD", bars)
    amounts = np.zeros(len(units), np.int64)
    total = charging.charge(
        rates, units, notional, quantity, 10**qty_exp, side.sign, list(Product).index(product), int(number[0]), amounts,
    )  # fmt: skip
    assert total == plain.total
    assert amounts.tolist() == [head.minor for head in plain.heads]


@given(st.integers(1, 10**9), st.sampled_from(Side), st.integers(0, 5000), st.integers(1, 500))
def test_limits_lie_on_the_better_side_of_the_tick(close: int, side: Side, offset: int, tick: int) -> None:
    exact = close * (10_000 - side.sign * offset)
    rounding = Rounding.FLOOR if side is Side.BUY else Rounding.CEILING
    expected = max(divide(exact, 10_000 * tick, rounding), 1) * tick
    assert sizing.limit_of(close, side.sign, offset, tick) == expected
