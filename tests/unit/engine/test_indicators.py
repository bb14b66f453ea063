"""Every operation against its definition in exact fractions, with missing bars and splits."""

from collections.abc import Callable
from datetime import date
from fractions import Fraction
from math import sqrt
from typing import Any

import numpy as np
import pytest

from app.engine.bars import EPOCH, Bars, Split, timeline
from app.engine.instruments import Instrument
from app.engine.kernels import windows
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime, splits_of

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
CLOSE = {"op": "close"}


def column(
    target: Any, bars: Bars, slots: list[Instrument], events: Any = None, name: str = "number"
) -> list[float | None]:
    """The values of an expression, None where it has none."""
    if name == "condition":
        target = {"op": "select", "when": target, "then": 1, "else": 0}
    program = compile_program({"version": 1, "name": "t", "target": target, "rebalance": "on_change"})
    runtime = ProgramRuntime(program, slots, block=bars.rows)
    weights = np.zeros((bars.slots, bars.rows), np.int64)
    found: list[float | None] = []
    cuts = [0, *sorted({int(e[0]) for e in events if e[1] == 0} if events is not None else ()), bars.rows]
    for start, end in zip(cuts, cuts[1:], strict=False):
        over = runtime.over(bars, weights, np.zeros(weights.shape, np.uint8))
        over.advance(start, end, splits_of(events, start, end))
        machine = runtime.machine(bars.rows)
        registers, ok = machine.columns, machine.known
        found += [
            float(v) if k else None
            for v, k in zip(registers[0, program.target, : end - start], ok[0, program.target], strict=False)
        ]
    return found


@pytest.fixture
def bars(bars_of: Maker) -> Bars:
    return bars_of(300, seed=3, missing=0.05)


def history(bars: Bars, field: int = 3) -> list[tuple[int, list[int]]]:
    """(row, values so far) of the valid rows."""
    found: list[tuple[int, list[int]]] = []
    seen: list[int] = []
    for row in range(bars.rows):
        if bars.valid[0, row]:
            seen.append(int(bars.fields[field, 0, row]))
            found.append((row, list(seen)))
    return found


def expect(bars: Bars, rule: Callable[[list[int]], float | None], field: int = 3) -> list[float | None]:
    values: list[float | None] = [None] * bars.rows
    for row, seen in history(bars, field):
        values[row] = rule(seen)
    return values


def test_sma_is_the_correctly_rounded_mean(bars: Bars, slots: Slots) -> None:
    got = column({"op": "sma", "of": CLOSE, "window": 7}, bars, slots(1))
    assert got == expect(bars, lambda s: float(Fraction(sum(s[-7:]), 70_000)) if len(s) >= 7 else None)


def test_equal_means_of_different_windows_are_equal(by_hand: Maker, slots: Slots) -> None:
    flat = by_hand(*[(3, 3, 3, 3)] * 40)
    tie = {
        "op": "eq",
        "left": {"op": "sma", "of": CLOSE, "window": 10},
        "right": {"op": "sma", "of": CLOSE, "window": 30},
    }
    assert column(tie, flat, slots(1), name="condition")[29:] == [1.0] * 11


def exact_spread(values: list[int]) -> int:
    return len(values) * sum(v * v for v in values) - sum(values) ** 2


@pytest.mark.parametrize("ddof", [0, 1])
def test_stddev_and_zscore_follow_their_definitions(bars: Bars, slots: Slots, ddof: int) -> None:
    n = 20

    def deviation(seen: list[int]) -> float | None:
        return sqrt(exact_spread(seen[-n:]) / (n * (n - ddof))) / 10_000 if len(seen) >= n else None

    def score(seen: list[int]) -> float | None:
        if len(seen) < n:
            return None
        return (n * seen[-1] - sum(seen[-n:])) / sqrt(exact_spread(seen[-n:]) * n / (n - ddof))

    for op, rule in (("stddev", deviation), ("zscore", score)):
        got, wanted = column({"op": op, "of": CLOSE, "window": n, "ddof": ddof}, bars, slots(1)), expect(bars, rule)
        assert [v is None for v in got] == [v is None for v in wanted]
        assert [v for v in got if v is not None] == pytest.approx([v for v in wanted if v is not None], rel=1e-13)


@pytest.mark.parametrize("top", [10**4, 2**24, 2**40, 2**46 - 1])
def test_spread_is_exact_for_values_up_to_the_limit(top: int) -> None:
    rng = np.random.default_rng(top % 1000)
    for n in (2, 20, 5000):
        values = [int(v) for v in rng.integers(max(top - 50, 0), top, n)]
        high = sum((v >> 24) ** 2 for v in values)
        cross = sum(2 * (v >> 24) * (v & 0xFFFFFF) for v in values)
        low = sum((v & 0xFFFFFF) ** 2 for v in values)
        assert windows.spread(n, sum(values), high, cross, low) == float(exact_spread(values))


def test_a_constant_window_has_no_zscore_and_no_deviation(by_hand: Maker, slots: Slots) -> None:
    flat = by_hand(*[(3, 3, 3, 3)] * 10)
    assert column({"op": "zscore", "of": CLOSE, "window": 4}, flat, slots(1)) == [None] * 10
    assert column({"op": "stddev", "of": CLOSE, "window": 4}, flat, slots(1)) == [None] * 3 + [0.0] * 7


def test_return_skips_the_recent_bars(bars: Bars, slots: Slots) -> None:
    got = column({"op": "return", "of": CLOSE, "bars": 25, "skip": 5}, bars, slots(1))
    assert got == expect(bars, lambda s: (s[-6] - s[-26]) / s[-26] if len(s) > 25 else None)


def test_return_of_no_volume_is_unknown(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(*[(3, 3, 3, 3)] * 4)
    bars.fields[4] = 0
    assert column({"op": "return", "of": {"op": "volume"}, "bars": 1}, bars, slots(1)) == [None] * 4


def test_lag_counts_bars_and_remembers_gaps_in_the_value(bars: Bars, slots: Slots) -> None:
    got = column({"op": "lag", "of": {"op": "sma", "of": CLOSE, "window": 3}, "bars": 4}, bars, slots(1))
    assert got == expect(bars, lambda s: sum(s[-7:-4]) / 30_000 if len(s) >= 7 else None)


def test_fields_are_in_natural_units(bars: Bars, slots: Slots) -> None:
    for field, name in enumerate(["open", "high", "low", "close"]):
        assert column({"op": name}, bars, slots(1)) == expect(bars, lambda s: s[-1] / 10_000, field)
    assert column({"op": "volume"}, bars, slots(1, qty_exp=2)) == expect(bars, lambda s: s[-1] / 100, 4)


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        ("add", lambda a, b: a + b), ("sub", lambda a, b: a - b), ("mul", lambda a, b: a * b),
        ("div", lambda a, b: a / b), ("min", min), ("max", max),
    ],
)  # fmt: skip
def test_arithmetic_is_ieee(bars: Bars, slots: Slots, op: str, rule: Callable[[float, float], float]) -> None:
    got = column({"op": op, "left": CLOSE, "right": {"op": "open"}}, bars, slots(1))
    rows = [r for r, _ in history(bars)]
    opens, closes = bars.fields[0, 0] / 10_000, bars.fields[3, 0] / 10_000
    assert [got[r] for r in rows] == [rule(float(closes[r]), float(opens[r])) for r in rows]


def test_negation_and_magnitude(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand((3, 3, 3, 3))
    assert column({"op": "neg", "of": CLOSE}, bars, slots(1)) == [-3.0]
    assert column({"op": "abs", "of": {"op": "neg", "of": CLOSE}}, bars, slots(1)) == [3.0]


def test_division_by_zero_and_overflow_have_no_value(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand((3, 3, 3, 3))
    assert column({"op": "div", "left": CLOSE, "right": 0}, bars, slots(1)) == [None]
    assert column({"op": "mul", "left": 1e200, "right": 1e200}, bars, slots(1)) == [None]


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        ("gt", lambda a, b: a > b), ("ge", lambda a, b: a >= b), ("lt", lambda a, b: a < b),
        ("le", lambda a, b: a <= b), ("eq", lambda a, b: a == b), ("ne", lambda a, b: a != b),
    ],
)  # fmt: skip
def test_comparisons(by_hand: Maker, slots: Slots, op: str, rule: Callable[[float, float], bool]) -> None:
    bars = by_hand((3, 3, 3, 3), (4, 5, 3, 4), (5, 5, 5, 5))
    got = column({"op": op, "left": CLOSE, "right": 4}, bars, slots(1), name="condition")
    assert got == [float(rule(v, 4)) for v in (3, 4, 5)]


def test_connectives_and_choice(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand((1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3))

    def over(limit: int) -> dict[str, Any]:
        return {"op": "gt", "left": CLOSE, "right": limit}

    both = {"op": "and", "left": over(1), "right": over(2)}
    either = {"op": "or", "left": over(1), "right": over(2)}
    assert column(both, bars, slots(1), name="condition") == [0.0, 0.0, 1.0]
    assert column(either, bars, slots(1), name="condition") == [0.0, 1.0, 1.0]
    assert column({"op": "not", "of": both}, bars, slots(1), name="condition") == [1.0, 1.0, 0.0]
    chosen = {"op": "select", "when": over(1), "then": CLOSE, "else": {"op": "sma", "of": CLOSE, "window": 3}}
    assert column(chosen, bars, slots(1)) == [None, 2.0, 3.0]


def test_a_latch_has_two_thresholds(by_hand: Maker, slots: Slots) -> None:
    prices = [5, 3, 4, 5, 6, 5, 3, 7]
    bars = by_hand(*[(p, p, p, p) for p in prices])
    latch = {
        "op": "latch",
        "enter": {"op": "lt", "left": CLOSE, "right": 4},
        "exit": {"op": "ge", "left": CLOSE, "right": 6},
    }
    assert column(latch, bars, slots(1), name="condition") == [0, 1, 1, 1, 0, 0, 1, 0]


def test_a_latch_keeps_its_state_over_unknown_values(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand((3, 3, 3, 3), (9, 9, 9, 9), (5, 5, 5, 5))
    bars.valid[0, 1] = 0
    latch = {
        "op": "latch",
        "enter": {"op": "lt", "left": CLOSE, "right": 4},
        "exit": {"op": "gt", "left": CLOSE, "right": 8},
    }
    assert column(latch, bars, slots(1), name="condition") == [1, None, 1]


def test_calendar_fields_follow_the_trading_date(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(*[(3, 3, 3, 3)] * 40, day=date(2024, 1, 29).toordinal() - EPOCH)
    days = [date.fromordinal(int(d) + EPOCH) for d in bars.days]
    assert column({"op": "month"}, bars, slots(1)) == [d.month for d in days]
    assert column({"op": "day"}, bars, slots(1)) == [d.day for d in days]
    assert column({"op": "weekday"}, bars, slots(1)) == [d.isoweekday() for d in days]
    changed = column({"op": "month_changed"}, bars, slots(1), name="condition")
    assert changed == [None, *(float(a.month != b.month) for a, b in zip(days, days[1:], strict=False))]


def test_windows_are_restated_at_a_split(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand((100, 100, 100, 100), (102, 102, 102, 102), (52, 52, 52, 52), (53, 53, 53, 53))
    bars.fields[4, 0] = [1000, 1000, 2000, 2000]
    events = timeline(bars, [Split(2, 0, 2, 1)])
    assert column({"op": "sma", "of": CLOSE, "window": 3}, bars, slots(1), events)[2:] == [51.0, 52.0]
    assert column({"op": "sma", "of": {"op": "volume"}, "window": 3}, bars, slots(1), events)[2:] == [2000.0, 2000.0]
    assert column({"op": "lag", "of": CLOSE, "bars": 1}, bars, slots(1), events)[1:] == [100.0, 51.0, 52.0]
    assert column({"op": "lag", "of": {"op": "volume"}, "bars": 2}, bars, slots(1), events)[2:] == [2000.0, 2000.0]
    assert column({"op": "return", "of": CLOSE, "bars": 2}, bars, slots(1), events)[2:] == [0.04, (53 - 51) / 51]
    money = {"op": "lag", "of": {"op": "mul", "left": CLOSE, "right": {"op": "volume"}}, "bars": 1}
    assert column(money, bars, slots(1), events)[2] == 102_000.0


def test_the_restated_window_has_the_same_sums_as_a_fresh_one(by_hand: Maker, slots: Slots) -> None:
    whole = by_hand(*[(100 + 2 * i, 101 + 2 * i, 99 + 2 * i, 100 + 2 * i) for i in range(12)])
    halved = Bars(whole.times, whole.days, whole.fields.copy(), whole.valid)
    halved.fields[:4, :, 6:] //= 2
    adjusted = Bars(whole.times, whole.days, whole.fields // 2, whole.valid)
    score = {"op": "zscore", "of": CLOSE, "window": 5}
    events = timeline(halved, [Split(6, 0, 2, 1)])
    assert column(score, halved, slots(1), events)[6:] == column(score, adjusted, slots(1))[6:]
