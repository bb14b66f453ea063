"""The engine on published works: results that other engines print, to the last digit, and exact arithmetic.

GOOG here is the file of the package `backtesting`, whose figures the field quotes. The repository's own bars of GOOG
(WIKI's) have the same 2,148 dates, but are another vendor's and not rounded to cents: 310 opens, 127 highs, 133 lows
and 72 closes differ, and every volume. On them the engine ends at 54,094.98627 (whole) and 54,599.57931799 (fractions).
No crossing differs; of the 65 fills four meet another open: 2004-12-21 (186.31 there, 186.28 here), 2006-01-31 (430.57,
430.66), 2006-04-03 (389.53, 389.75) and 2010-04-27 (528.95, 528.94).
"""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from app.engine.bars import align
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.kernel.orders import Side
from tests.bench import works

FLAT = schedule_named("flat_bps")
WHOLE_SHARES = "54101.36916000"  # backtesting.py
FRACTIONS = "54611.2370823"  # vectorbt, raptorbt
Columns = dict[str, Any]


def in_money(amount: int, exponent: int) -> Fraction:
    return Fraction(amount, 10**exponent)


def run_w1a(columns: Columns, money_exp: int = 8, **options: Any) -> Result:
    """`options`: of the instrument."""
    instrument = Instrument(works.WHOLE.instrument_id, "USD", **{"price_exp": 2, "money_exp": money_exp, **options})
    program, bars = compile_program(works.W1A), align([columns])
    return backtest(program, bars, instruments=[instrument], cash=10_000 * 10**money_exp, schedule=FLAT)


def cost(quantity: int, price: int, instrument: Instrument) -> int:
    """Of a purchase with 0.1 %, in minor units, notional and charges each rounded half up."""
    scale = instrument.scale
    exact = Fraction(quantity * price * 10**scale.money_exp, 10 ** (scale.qty_exp + scale.price_exp))
    notional = int(exact + Fraction(1, 2))
    return notional + (notional + 500) // 1000


@pytest.mark.parametrize("instrument", [works.WHOLE, works.FRACTIONAL])
def test_a_purchase_at_the_fill_takes_the_most_that_the_cash_pays_for(instrument: Instrument) -> None:
    bars = align([works.without_volume(works.goog())])
    program = compile_program(works.W1A)
    result = backtest(program, bars, instruments=[instrument], cash=works.W1A_CASH, schedule=FLAT)
    bought = [fill for fill in result.fill_records() if fill.side is Side.BUY]
    assert len(bought) == 33
    for fill in bought:
        spendable = fill.cash_after + fill.notional + fill.charges
        assert cost(fill.quantity, fill.price, instrument) == fill.notional + fill.charges <= spendable
        assert cost(fill.quantity + 1, fill.price, instrument) > spendable


def test_w1a_in_whole_shares_ends_where_backtesting_py_does_to_the_last_digit() -> None:
    result = run_w1a(works.goog())
    assert in_money(int(result.equity[-1]), 8) == Fraction(WHOLE_SHARES)
    assert len(result.fills) == 65


def test_w1a_in_whole_shares_at_two_decimals_differs_by_the_rounding_of_its_charges_alone() -> None:
    """The quantities are the same, so nothing else is rounded: 65 charges by at most half a cent, 0.325 in all."""
    fine, coarse = run_w1a(works.goog()), run_w1a(works.goog(), 2)
    assert in_money(int(coarse.equity[-1]), 2) == Fraction("54101.34")
    traded = [(f.row, f.side, f.quantity, f.price) for f in fine.fill_records()]
    assert [(f.row, f.side, f.quantity, f.price) for f in coarse.fill_records()] == traded
    charged = [sum(in_money(f.charges, exp) for f in r.fill_records()) for r, exp in ((fine, 8), (coarse, 2))]
    difference = in_money(int(fine.equity[-1]), 8) - in_money(int(coarse.equity[-1]), 2)
    assert difference == charged[1] - charged[0] == Fraction("0.02916")
    assert abs(difference) <= len(traded) * Fraction("0.005")


def exact_fractions(columns: Columns) -> Fraction:
    """W1a in unrounded shares and money: rational numbers."""
    opens, closes = columns["open"].tolist(), columns["close"].tolist()
    cash, held = Fraction(10_000), Fraction(0)
    for row, up in works.crossings(columns["close"], 10, 30):
        price = Fraction(opens[row], 100)
        if up and held == 0:
            cash, held = Fraction(0), cash / (price * Fraction("1.001"))
        elif not up and held > 0:
            cash, held = held * price * Fraction("0.999"), Fraction(0)
    return cash + held * Fraction(closes[-1], 100)


def slack(result: Result, money_exp: int, step: Fraction) -> Fraction:
    """The most that roundings can move the last equity: each fill rounds notional and charges, half a unit of money
    each, and leaves less than the price of one step of quantity (and its charges) uninvested; what is lost or left at a
    fill would have grown as the equity did from there on, at most."""
    last, total = Fraction(int(result.equity[-1])), Fraction(0)
    for fill in result.fill_records():
        growth = max(Fraction(1), last / int(result.equity[fill.row]))
        total += growth * (Fraction(1, 10**money_exp) + 2 * step * Fraction(fill.price, 10**2))
    return total


@pytest.mark.parametrize(
    ("money_exp", "quantities", "step", "printed"),
    [
        (8, {"price_exp": 3, "qty_exp": 9}, "1e-10", "54611.23708226"),  # the unit is a tenth of a share
        (8, {"qty_exp": 9}, "1e-9", "54611.23708142"),
        (8, {"qty_exp": 6}, "1e-6", "54611.23630756"),
        (2, {"qty_exp": 9}, "1e-9", "54611.16"),
    ],
)
def test_w1a_in_fractions_ends_at_the_exact_figure_within_the_bound_of_its_roundings(
    money_exp: int, quantities: dict[str, int], step: str, printed: str
) -> None:
    columns = works.without_volume(works.goog())
    result, exact = run_w1a(columns, money_exp, **quantities), exact_fractions(columns)
    found = in_money(int(result.equity[-1]), money_exp)
    assert found == Fraction(printed)
    assert abs(found - exact) <= slack(result, money_exp, Fraction(step))
    assert len(result.fills) == 65


def test_w1a_in_tenths_of_shares_ends_with_the_digits_that_vectorbt_and_raptorbt_print() -> None:
    columns = works.without_volume(works.goog())
    exact, digits = exact_fractions(columns), Fraction(1, 10**7)
    assert round(exact / digits) * digits == Fraction(FRACTIONS)
    found = in_money(int(run_w1a(columns, price_exp=3, qty_exp=9).equity[-1]), 8)
    assert round(found / digits) * digits == Fraction(FRACTIONS)


def test_the_best_of_w2_is_the_figure_of_every_engine_that_was_asked() -> None:
    columns = works.without_volume(works.goog())
    bars, best = align([columns]), 0
    for fast, slow in works.W2_PAIRS:
        program = compile_program(works.W1A, {"fast": fast, "slow": slow})
        options: Any = {"instruments": [works.FRACTIONAL], "cash": works.W1A_CASH, "sessions": ()}  # nothing rests
        result = backtest(program, bars, schedule=FLAT, **options)
        best = max(best, int(result.equity[-1]))
    assert round(in_money(best, 8) * 10**5) == 74_992_97993


def test_w1b_has_its_38_560_fills_and_no_crossing_that_exact_arithmetic_does_not_have() -> None:
    columns = works.w1b()
    result = backtest(
        compile_program(works.W1B), align([columns]), instruments=[works.W1B_INSTRUMENT], cash=works.W1B_CASH,
        schedule=FLAT,
    )  # fmt: skip
    exact = works.crossings(columns["close"], works.FAST, works.SLOW)
    if not exact[0][1]:  # nothing is held yet
        exact = exact[1:]
    assert len(exact) == 38_560
    rows = np.array([row for row, _ in exact])
    sides = np.array([1 if up else -1 for _, up in exact])
    assert np.array_equal(result.fills[:, 0], rows)
    assert np.array_equal(result.fills[:, 2], sides)
    assert np.array_equal(result.fills[:, 4], columns["open"][rows])


def test_w1b_has_ties_on_which_float_sums_cross_wrongly() -> None:
    """So the test before this one can fail: 167 ties of the means, and NumPy's running float sum misses some."""
    closes = works.w1b()["close"]
    sums = np.concatenate([[0], np.cumsum(closes, dtype=np.int64)])
    ties = 3 * (sums[30:] - sums[20:-10]) == sums[30:] - sums[:-30]
    assert ties.sum() == 167
    rough = np.concatenate([[0.0], np.cumsum(closes / 100)])
    above = (rough[30:] - rough[20:-10]) / 10 > (rough[30:] - rough[:-30]) / 30
    changed = {int(at) + 31 for at in np.flatnonzero(above[1:] != above[:-1])}
    assert len(changed ^ {row for row, _ in works.crossings(closes, 10, 30)}) > 50
