"""Strategies of a universe against pandas: ranks, rotation, volatility targets, holding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from app.engine.bars import Bars
from app.engine.instruments import Instrument
from app.engine.layout import WEIGHT
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.engine.schedule import schedule_named
from app.engine.simulation import backtest
from app.trading.strategies.library import buy_and_hold, cross_sectional_momentum, dual_momentum, volatility_target

Walks = Callable[[int, int, int], Bars]
Shares = Callable[[int], list[Instrument]]
Monthly = Callable[[pd.DataFrame, int], pd.DataFrame]


@pytest.fixture
def weigh(walks: Walks, shares: Shares) -> Callable[..., tuple[pd.DataFrame, pd.DataFrame, Monthly]]:
    """Closes of five instruments, the weights after each bar, and what a wish of every bar becomes by monthly
    decisions: that of the first bar of each month, from the first known one's month on."""

    def run(strategy: Any, **parameters: Any) -> tuple[pd.DataFrame, pd.DataFrame, Monthly]:
        bars = walks(700, 5, 21)
        runtime = ProgramRuntime(compile_program(strategy.build(strategy.parse(parameters), 5)), shares(5))
        weights = []
        for row in range(bars.rows):
            rows = [tuple(bars.fields[:, slot, row].tolist()) for slot in range(5)]
            weights.append(runtime.on_bar(int(bars.days[row]), rows).weights)
        months = pd.Series(pd.to_datetime(bars.days, unit="D").to_period("M"))
        first = months != months.shift(fill_value=months[0])
        return (
            pd.DataFrame(bars.fields[3].T),
            pd.DataFrame(weights) / WEIGHT,
            lambda wish, known: wish.where(first & (wish.index > known)).ffill().fillna(0.0),
        )

    return run


def test_the_strongest_are_held_in_equal_parts(weigh: Callable[..., Any]) -> None:
    closes, weights, monthly = weigh(cross_sectional_momentum.PLUGIN, lookback=60, skip=5, hold=2)
    strength = closes.shift(5) / closes.shift(60) - 1
    expected = (strength.rank(axis=1, ascending=False, method="first") <= 2) * 0.5
    assert np.array_equal(weights, monthly(expected, 60))


def test_rotation_holds_only_what_rose(weigh: Callable[..., Any]) -> None:
    closes, weights, monthly = weigh(dual_momentum.PLUGIN, lookback=60, hold=3)
    strength = closes / closes.shift(60) - 1
    strongest = strength.rank(axis=1, ascending=False, method="first") <= 3
    assert np.array_equal(weights > 0, monthly((strongest & (strength > 0)) * 1.0, 60) > 0)
    assert (strongest & (strength <= 0))[60:].to_numpy().any()


def test_volatile_instruments_are_held_less(weigh: Callable[..., Any]) -> None:
    closes, weights, monthly = weigh(volatility_target.PLUGIN, target=0.2, window=30)
    volatility = closes.pct_change().rolling(30).std() * np.sqrt(252)
    expected = monthly(0.2 * np.minimum(1, 0.2 / volatility), 30)
    assert weights.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-8)
    assert weights[30:].to_numpy().std() > 0.001


def test_what_is_held_is_bought_once(walks: Walks, shares: Shares) -> None:
    bars, strategy = walks(400, 3, 8), buy_and_hold.PLUGIN
    result = backtest(
        compile_program(strategy.build(strategy.parse({}), 3)), bars, instruments=shares(3), cash=100_000_00,
        schedule=schedule_named("zero"),
    )  # fmt: skip
    assert [(f.row, f.slot, f.side.value) for f in result.fill_records()] == [(1, slot, "buy") for slot in range(3)]
