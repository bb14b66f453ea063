"""Opening-range breakout against its definition, session by session."""

from collections.abc import Callable

import numpy as np
import pytest

from app.engine.bars import Bars
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.kernel.errors import DomainError
from app.trading.strategies.library.opening_range import PLUGIN


def expected(closes: np.ndarray, highs: np.ndarray, lows: np.ndarray, bars: int, last: int) -> list[bool]:
    """Of one session: held after each bar."""
    high, low, on, found = highs[:bars].max(), lows[:bars].min(), False, []
    for row, close in enumerate(closes):
        if row >= bars:
            on = close >= low if on else close > high
        found.append(bool(on and row < last - 1))
    return found


def test_it_buys_above_the_opening_range_and_is_flat_at_the_end(
    walks: Callable[..., Bars], shares: Callable[[int], list[Instrument]]
) -> None:
    bars = walks(1500, 1, 31, 75)
    runtime = ProgramRuntime(compile_program(PLUGIN.build(PLUGIN.parse({"bars": 4, "last": 60}), 1)), shares(1))
    held = []
    for row in range(bars.rows):
        said = runtime.on_bar(int(bars.days[row]), [tuple(bars.fields[:, 0, row].tolist())])
        held.append(said.weights[0] > 0)
    _, highs, lows, closes, _ = bars.fields[:, 0].reshape(5, 20, 75)
    wanted = [on for day in range(20) for on in expected(closes[day], highs[day], lows[day], 4, 60)]
    assert held == wanted
    assert 0.1 < np.mean(held) < 0.9


def test_the_session_must_outlast_the_range() -> None:
    with pytest.raises(DomainError, match="two bars behind"):
        PLUGIN.parse({"bars": 5, "last": 6})
