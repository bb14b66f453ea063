"""Supertrend against its definition, bar by bar."""

from collections.abc import Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from app.trading.strategies.library.supertrend import PLUGIN

Follow = Callable[..., tuple[pd.DataFrame, np.ndarray]]


def rising(bars: pd.DataFrame, window: int, width: float) -> list[bool]:
    before = bars["close"].shift(1)
    ranges = np.maximum(bars["high"], before) - np.minimum(bars["low"], before)
    atr = float(ranges[1 : window + 1].mean())
    found = [False] * window
    upper = lower = last = np.nan
    for row in range(window, len(bars)):
        high, low, close = (float(bars[name][row]) for name in ("high", "low", "close"))
        atr += (ranges[row] - atr) / window if row > window else 0
        top, bottom = (high + low) / 2 + width * atr, (high + low) / 2 - width * atr
        upper = top if np.isnan(last) or top < upper or last > upper else upper
        lower = bottom if np.isnan(last) or bottom > lower or last < lower else lower
        found.append(close >= lower if found[-1] else bool(not np.isnan(last) and close > upper))
        last = close
    return found


def test_it_holds_from_a_break_of_the_upper_band_to_one_of_the_lower(follow: Follow) -> None:
    bars, held = follow(PLUGIN, window=7, width=1.5)
    assert held.tolist() == rising(bars, 7, 1.5)
    assert 0.2 < held.mean() < 0.8
