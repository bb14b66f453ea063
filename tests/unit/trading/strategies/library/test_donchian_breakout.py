"""Channel breakout against pandas."""

from collections.abc import Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from app.trading.strategies.library.donchian_breakout import PLUGIN

Follow = Callable[..., tuple[pd.DataFrame, np.ndarray]]
Latched = Callable[[pd.Series, pd.Series], list[bool]]


def test_it_buys_above_the_channel_and_sells_below_it(follow: Follow, latched: Latched) -> None:
    bars, held = follow(PLUGIN, entry=15, exit=6)
    enter = bars["close"] > bars["high"].rolling(15).max().shift(1)
    leave = bars["close"] < bars["low"].rolling(6).min().shift(1)
    assert held[15:].tolist() == latched(enter[15:], leave[15:])
    assert 0.1 < held[15:].mean() < 0.9
