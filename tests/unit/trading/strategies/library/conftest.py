"""Seeded bars for library strategies."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from app.engine.bars import Bars
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime


def walk(rows: int, slots: int, seed: int) -> Bars:
    """Random walks on a grid of 0.01 at price_exp 4, one bar a weekday from 2003-01-01."""
    rng = np.random.default_rng(seed)
    closes = (
        np.round(50 * np.exp(np.cumsum(rng.normal(0.0002, 0.015, (slots, rows)), axis=1)) * 100).astype(np.int64) * 100
    )
    opens = np.concatenate([closes[:, :1], closes[:, :-1]], axis=1) + 100 * rng.integers(-3, 4, (slots, rows))
    highs = np.maximum(opens, closes) + 100 * rng.integers(0, 20, (slots, rows))
    lows = np.minimum(opens, closes) - 100 * rng.integers(0, 20, (slots, rows))
    fields = np.stack([opens, highs, lows, closes, rng.integers(1, 10**6, (slots, rows))])
    weeks, weekdays = np.divmod(np.arange(rows, dtype=np.int64), 5)
    days = 12053 + weeks * 7 + weekdays
    return Bars(days * 86_400_000_000, days, fields, np.ones((slots, rows), np.uint8)).check()


def within_days(bars: Bars, per_day: int) -> Bars:
    """The same bars as `per_day` bars of five minutes a day."""
    day, number = np.divmod(np.arange(bars.rows, dtype=np.int64), per_day)
    days = 12053 + day
    return Bars(days * 86_400_000_000 + number * 300_000_000, days, bars.fields, bars.valid).check()


@pytest.fixture(scope="session")
def walks() -> Callable[..., Bars]:
    return lambda rows, slots, seed, per_day=1: (
        walk(rows, slots, seed) if per_day == 1 else within_days(walk(rows, slots, seed), per_day)
    )


@pytest.fixture(scope="session")
def shares() -> Callable[[int], list[Instrument]]:
    return lambda count: [Instrument(UUID(int=i + 1), "USD", 4, tick=100) for i in range(count)]


@pytest.fixture(scope="session")
def follow(shares: Callable[[int], list[Instrument]]) -> Callable[..., tuple[pd.DataFrame, np.ndarray]]:
    """Run a strategy bar by bar on one instrument: its bars in cents, and whether it wants to hold after each."""

    def run(strategy: Any, **parameters: Any) -> tuple[pd.DataFrame, np.ndarray]:
        bars = walk(800, 1, 11)
        program = compile_program(strategy.build(strategy.parse(parameters), 1))
        runtime = ProgramRuntime(program, shares(1))
        held = []
        for row in range(bars.rows):
            said = runtime.on_bar(int(bars.days[row]), [tuple(bars.fields[:, 0, row].tolist())])
            held.append(said.weights[0] > 0)
        columns = dict(zip(("open", "high", "low", "close", "volume"), bars.fields[:, 0], strict=True))
        return pd.DataFrame(columns), np.array(held)

    return run


@pytest.fixture(scope="session")
def latched() -> Callable[[pd.Series, pd.Series], list[bool]]:
    """Off until `enter`, then on until `leave`, bar by bar."""

    def run(enter: pd.Series, leave: pd.Series) -> list[bool]:
        on, found = False, []
        for buy, sell in zip(enter, leave, strict=True):
            on = not sell if on else bool(buy)
            found.append(on)
        return found

    return run
