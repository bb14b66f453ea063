"""Crossing of simple averages against pandas."""

from collections.abc import Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from app.kernel.errors import DomainError
from app.trading.strategies.library.sma_cross import PLUGIN

Follow = Callable[..., tuple[pd.DataFrame, np.ndarray]]


def test_it_holds_while_the_fast_average_lies_above(follow: Follow) -> None:
    bars, held = follow(PLUGIN, fast=7, slow=21)
    fast, slow = (bars["close"].rolling(window).mean() for window in (7, 21))
    known = slow.notna().to_numpy()
    assert held[known].tolist() == (fast > slow)[known].tolist()
    assert 0.2 < held[known].mean() < 0.8


def test_the_fast_average_must_be_shorter() -> None:
    with pytest.raises(DomainError, match="fast must be less"):
        PLUGIN.parse({"fast": 30, "slow": 30})
