"""Bollinger reversion against pandas."""

from collections.abc import Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from app.trading.strategies.library.bollinger_reversion import PLUGIN

Follow = Callable[..., tuple[pd.DataFrame, np.ndarray]]
Latched = Callable[[pd.Series, pd.Series], list[bool]]


def test_it_buys_below_the_lower_band_and_sells_at_the_middle(follow: Follow, latched: Latched) -> None:
    bars, held = follow(PLUGIN, window=15, width=1.5)
    middle = bars["close"].rolling(15).mean()
    enter = bars["close"] < middle - 1.5 * bars["close"].rolling(15).std(ddof=0)
    assert held[14:].tolist() == latched(enter[14:], (bars["close"] >= middle)[14:])
    assert held.sum() > 10
