"""Bars of a minute without a market: a seeded walk on the tick, as many as a long backtest needs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

START = datetime(2020, 1, 1, tzinfo=UTC)
_MINUTE_US = 60_000_000


def write_minutes(file: Path, rows: int, *, start: datetime = START, price_exp: int = 4) -> Path:
    """A Parquet file of `rows` bars around 100.00, at the instrument's own scale, the same every time."""
    import polars as pl

    steps = np.random.default_rng(7).integers(-5, 6, rows + 1).cumsum()
    ticks = 10_000 + np.abs(steps)
    opens, closes = ticks[:-1] * 100, ticks[1:] * 100
    first = int(start.timestamp()) * 1_000_000
    frame = pl.DataFrame(
        {
            "at": first + _MINUTE_US * np.arange(1, rows + 1),
            "open": opens,
            "high": np.maximum(opens, closes) + 200,
            "low": np.minimum(opens, closes) - 200,
            "close": closes,
            "volume": np.full(rows, 1_000),
        }
    ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
    frame.write_parquet(file, metadata={"mandi.price_exp": str(price_exp), "mandi.qty_exp": "0"})
    return file


def slow_program(words: int) -> dict[str, Any]:
    """A program whose every bar scans `words` windows of about 500."""
    ranks = [f"percent_rank(close, {500 - number})" for number in range(words)]
    sums = [f"({' + '.join(ranks[first : first + 10])})" for first in range(0, words, 10)]  # a tree that is not deep
    return {
        "version": 1,
        "name": "slow",
        "target": f"1 if {' + '.join(sums)} > {50 * words} else 0",
        "rebalance": "on_change",
    }
