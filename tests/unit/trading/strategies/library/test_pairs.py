"""Pairs against pandas."""

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
from app.kernel.errors import DomainError
from app.trading.strategies.library.pairs import PLUGIN

Latched = Callable[[pd.Series, pd.Series], list[bool]]


def test_the_one_behind_is_bought_and_the_one_ahead_sold(
    walks: Callable[..., Bars], shares: Callable[[int], list[Instrument]], latched: Latched
) -> None:
    bars = walks(800, 2, 41)
    program = compile_program(PLUGIN.build(PLUGIN.parse({"window": 30, "entry": 1.5, "exit": 0.25}), 2))
    runtime = ProgramRuntime(program, shares(2))
    said: list[Any] = []
    for row in range(bars.rows):
        rows = [tuple(bars.fields[:, slot, row].tolist()) for slot in range(2)]
        said.append(runtime.on_bar(int(bars.days[row]), rows).weights)
    ratio = pd.Series(bars.fields[3, 0] / bars.fields[3, 1])
    apart = (ratio - ratio.rolling(30).mean()) / ratio.rolling(30).std(ddof=0)
    behind = np.array(latched(apart < -1.5, apart >= -0.25))
    ahead = np.array(latched(apart > 1.5, apart <= 0.25))
    first = np.where(behind, 0.5, np.where(ahead, -0.5, 0.0))
    assert np.array_equal(np.array(said) / WEIGHT, np.stack([first, -first], axis=1))
    assert behind.any() and ahead.any()


def test_both_legs_trade_together_and_the_book_stays_nearly_neutral(
    walks: Callable[..., Bars], shares: Callable[[int], list[Instrument]]
) -> None:
    program = compile_program(PLUGIN.build(PLUGIN.parse({}), 2))
    result = backtest(
        program, walks(800, 2, 41), instruments=shares(2), cash=100_000_00, schedule=schedule_named("us_equity")
    )
    by_row: dict[int, list[Any]] = {}
    for fill in result.fill_records():
        by_row.setdefault(fill.row, []).append(fill)
    assert len(by_row) > 4
    for fills in by_row.values():
        assert {fill.slot for fill in fills} == {0, 1}
        assert len({fill.side for fill in fills}) == 2


def test_the_exit_must_be_nearer_than_the_entry() -> None:
    with pytest.raises(DomainError, match="exit must be less"):
        PLUGIN.parse({"entry": 1.0, "exit": 1.0})
