"""RSI-2 against pandas."""

from collections.abc import Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from app.trading.strategies.library.rsi2 import PLUGIN

Follow = Callable[..., tuple[pd.DataFrame, np.ndarray]]
Latched = Callable[[pd.Series, pd.Series], list[bool]]


def test_it_buys_a_fall_in_a_rise_and_sells_the_recovery(follow: Follow, latched: Latched) -> None:
    bars, held = follow(PLUGIN, trend=50, entry=20.0)
    close = bars["close"]
    change = close.diff().iloc[1:]
    # Wilder's smoothing with window 2, started from the mean of the first two changes.
    gain, loss = (part.clip(lower=0).to_numpy().copy() for part in (change, -change))
    for part in (gain, loss):
        part[1] = part[:2].mean()
        for i in range(2, len(part)):
            part[i] = part[i - 1] + (part[i] - part[i - 1]) / 2
    rsi = pd.Series(np.nan, close.index)
    rsi.iloc[2:] = 100 * gain[1:] / (gain[1:] + loss[1:])
    known = close.rolling(50).mean().notna()
    enter = (rsi < 20.0) & (close > close.rolling(50).mean())
    leave = close > close.rolling(5).mean()
    assert held[known].tolist() == latched(enter[known], leave[known])
    assert held.sum() > 10
