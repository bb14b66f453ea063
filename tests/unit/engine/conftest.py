"""Seeded bars and small programs for the engine's tests."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from app.engine.bars import Bars
from app.engine.instruments import Instrument


def make_bars(rows: int, slots: int = 1, *, seed: int = 1, missing: float = 0.0, move: float = 0.02) -> Bars:
    """Random walks on a grid of 0.01 at price_exp 4, one bar per weekday from 2003-01-01."""
    rng = np.random.default_rng(seed)
    closes = 50 * np.exp(np.cumsum(rng.normal(0, move, (slots, rows)), axis=1))
    opens = np.concatenate([np.full((slots, 1), 50.0), closes[:, :-1]], axis=1)
    opens = opens * np.exp(rng.normal(0, move / 3, (slots, rows)))
    highs = np.maximum(opens, closes) * np.exp(np.abs(rng.normal(0, move / 2, (slots, rows))))
    lows = np.minimum(opens, closes) * np.exp(-np.abs(rng.normal(0, move / 2, (slots, rows))))
    grid = [np.maximum(np.round(x * 100).astype(np.int64), 1) * 100 for x in (opens, highs, lows, closes)]
    grid[1] = np.maximum.reduce([grid[0], grid[1], grid[3]])
    grid[2] = np.minimum.reduce([grid[0], grid[2], grid[3]])
    volume = rng.integers(1_000, 50_000, (slots, rows))
    weeks, weekdays = np.divmod(np.arange(rows, dtype=np.int64), 5)
    days = 12053 + weeks * 7 + weekdays
    valid = (rng.random((slots, rows)) >= missing).astype(np.uint8)
    return Bars(days * 86_400_000_000, days, np.stack([*grid, volume]).astype(np.int64), valid)


def hand_bars(*rows: tuple[float, float, float, float], day: int = 12053) -> Bars:
    """One slot, one bar a day, from (open, high, low, close) in whole currency units."""
    days = np.arange(day, day + len(rows), dtype=np.int64)
    prices = np.rint(np.array(rows).T[:, None, :] * 10_000).astype(np.int64)
    fields = np.concatenate([prices, np.full((1, 1, len(rows)), 1000, np.int64)])
    return Bars(days * 86_400_000_000, days, np.ascontiguousarray(fields), np.ones((1, len(rows)), np.uint8))


def instruments(count: int, **changes: Any) -> list[Instrument]:
    options: dict[str, Any] = {"currency": "USD", "price_exp": 4, "tick": 100} | changes
    return [Instrument(UUID(int=i + 1), **options) for i in range(count)]


def cross(fast: int, slow: int, weight: float = 1.0, **changes: Any) -> dict[str, Any]:
    def mean(window: int) -> dict[str, Any]:
        return {"op": "sma", "of": {"op": "close"}, "window": window}

    above = {"op": "gt", "left": mean(fast), "right": mean(slow)}
    target = {"op": "select", "when": above, "then": weight, "else": 0}
    return {"version": 1, "name": "cross", "target": target, "rebalance": "on_change", **changes}


@pytest.fixture(scope="session")
def bars_of() -> Callable[..., Bars]:
    return make_bars


@pytest.fixture(scope="session")
def by_hand() -> Callable[..., Bars]:
    return hand_bars


@pytest.fixture(scope="session")
def slots() -> Callable[..., list[Instrument]]:
    return instruments


@pytest.fixture(scope="session")
def cross_program() -> Callable[..., dict[str, Any]]:
    return cross


@pytest.fixture
def program_of() -> Iterator[Callable[..., dict[str, Any]]]:
    """A document around any target expression."""

    def build(target: Any, **changes: Any) -> dict[str, Any]:
        return {"version": 1, "name": "test", "target": target, "rebalance": "on_change", **changes}

    yield build
