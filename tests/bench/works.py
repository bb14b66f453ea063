"""The works: which bars, which program, which account. Fixed to the last digit, so that figures and results compare.

`W1`: the close's mean of 10 bars above that of 30: long, else flat; the first known state trades nothing; orders meet
the next open; 0.1 % of each side. `W1a`: all-in with 10,000 on the 2,148 daily bars of GOOG, whole shares or fractions.
`W1b`: 100 units on a million minutes. `W2`: `W1a` in fractions for 200 pairs of windows. `W3`: every 20 bars the ten of
50 instruments that rose most over 20 bars, each a tenth of the equity, one cash of 1,000,000.
"""

import csv
import importlib.util
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from app.engine.bars import day_number
from app.engine.instruments import Instrument
from app.kernel.orders import Product

Columns = dict[str, npt.NDArray[np.int64]]
MINUTE_US, DAY_US, DAY_MINUTES = 60_000_000, 86_400_000_000, 1440
START_DAY = 18_262  # 2020-01-01

FAST, SLOW = 10, 30
CROSS: dict[str, Any] = {
    "version": 1,
    "name": "W1",
    "parameters": {"fast": FAST, "slow": SLOW},
    "target": {
        "op": "select",
        "when": {
            "op": "gt",
            "left": {"op": "sma", "of": {"op": "close"}, "window": {"param": "fast"}},
            "right": {"op": "sma", "of": {"op": "close"}, "window": {"param": "slow"}},
        },
        "then": 1,
        "else": 0,
    },
    "rebalance": "on_change",
}

W1A: dict[str, Any] = CROSS | {"name": "W1a", "sizing": {"type": "equity", "at": "fill"}, "reserve_bps": 0}
W1A_EXP = 8
W1A_CASH = 10_000 * 10**W1A_EXP
WHOLE = Instrument(UUID(int=1), "USD", price_exp=2, money_exp=W1A_EXP)
FRACTIONAL = Instrument(UUID(int=1), "USD", price_exp=3, qty_exp=9, money_exp=W1A_EXP)
"""Traded in tenths of a share: prices of cents are then at 10^-3, and a billionth of the unit is 10^-10 shares."""

W1B: dict[str, Any] = CROSS | {"name": "W1b", "sizing": {"type": "units", "units": 100}}
W1B_BARS = 1_000_000
W1B_CASH = 1_000_000_000_00
W1B_INSTRUMENT = Instrument(UUID(int=1), "USD", price_exp=2)
BRACKET: dict[str, Any] = {
    "version": 1,
    "name": "W1b-bracket-charges",
    "trades": {
        "long": {
            "enter": "cross_above(ema(close, 12), ema(close, 26)) and rsi(close, 14) < 70",
            "exit": "cross_below(ema(close, 12), ema(close, 26))",
        },
        "entry": {"type": "limit", "price": "close - 0.2 * atr(14)"},
        "stop_loss": {"percent": 0.3},
        "take_profit": {"percent": 0.6},
    },
    "sizing": {"type": "units", "units": 100},
}
INDIAN = Instrument(UUID(int=1), "INR", price_exp=2, product=Product.INTRADAY)
INDIAN_DAY = 20_544  # 2026-04-01: the present charges of NSE

W2_PAIRS = tuple((fast, slow) for fast in range(5, 25) for slow in range(30, 80, 5))

W3_SLOTS, W3_BARS = 50, 20_000
W3_WINDOW, W3_EVERY, W3_HELD = 20, 20, 10
W3_CASH = 1_000_000_00
W3_START = 18_260  # a multiple of `W3_EVERY`
W3: dict[str, Any] = {
    "version": 1,
    "name": "W3",
    "target": f"{1 / W3_HELD} if rank(return_(close, {W3_WINDOW})) <= {W3_HELD} else 0",
    "rebalance": {"when": f"date_number % {W3_EVERY} == 0"},
    "sizing": {"type": "equity", "at": "fill"},
    "reserve_bps": 0,
}


def of_w3(slot: int) -> Instrument:
    return Instrument(UUID(int=slot + 1), "USD", price_exp=2)


def goog_file() -> Path:
    """The prices in the package `backtesting`: read as data, without running the package."""
    found = importlib.util.find_spec("backtesting")
    if found is None or found.origin is None:
        raise RuntimeError("the daily bars of GOOG come with the test tools: python3 start_trading.py test")
    return Path(found.origin).parent / "test" / "GOOG.csv"


@cache
def goog() -> Columns:
    """2,148 daily bars from 2004-08-19 to 2013-03-01, prices in cents."""
    rows = list(csv.reader(goog_file().read_text(encoding="utf-8").splitlines()))[1:]
    days = np.array([day_number(date.fromisoformat(row[0])) for row in rows], np.int64)
    names = ("open", "high", "low", "close")
    prices = {name: np.array([int(Decimal(row[1 + at]) * 100) for row in rows]) for at, name in enumerate(names)}
    return prices | {"volume": np.array([int(row[5]) for row in rows]), "days": days, "times": days * DAY_US}


def crossings(closes: npt.NDArray[np.int64], fast: int, slow: int) -> list[tuple[int, bool]]:
    """(row of the next open, upwards) of each change of SMA(fast) > SMA(slow): in whole numbers, so ties are ties."""
    sums = np.concatenate([[0], np.cumsum(closes, dtype=np.int64)])
    ends = sums[slow:]
    above = slow * (ends - sums[slow - fast : len(sums) - fast]) > fast * (ends - sums[: len(sums) - slow])
    changed = np.flatnonzero(above[1:] != above[:-1]) + 1
    return [(int(at) + slow, bool(above[at])) for at in changed if at + slow < len(closes)]


def without_volume(columns: Columns) -> Columns:
    """For quantities so fine that volumes would not fit; `W1` does not look at them."""
    return columns | {"volume": np.zeros_like(columns["volume"])}


@cache
def w1b() -> Columns:
    """1,000,000 minutes from 1,000, seed 7."""
    minutes = np.arange(W1B_BARS, dtype=np.int64)
    times = (START_DAY * DAY_MINUTES + minutes) * MINUTE_US
    prices = _walk(np.random.default_rng(7), W1B_BARS, start=1000.0, move=4e-4, gap=5e-5, reach=2e-4)
    return prices | {"days": START_DAY + minutes // DAY_MINUTES, "times": times}


@cache
def w3() -> list[Columns]:
    """50 instruments of 20,000 daily bars from 100, seed 11, one after the other from one generator."""
    random, days = np.random.default_rng(11), W3_START + np.arange(W3_BARS, dtype=np.int64)
    dated = {"days": days, "times": days * DAY_US}
    return [_walk(random, W3_BARS, start=100.0, move=0.01, gap=0.002, reach=0.004) | dated for _ in range(W3_SLOTS)]


def _walk(random: np.random.Generator, bars: int, *, start: float, move: float, gap: float, reach: float) -> Columns:
    """Prices in cents, drawn in the order returns, open noise, high noise, low noise, volume.

    close = start · exp(Σ normal(0, move)); open = the close before · exp(normal(0, gap)), the first `start`; high and
    low = max and min of both · exp(±|normal(0, reach)|), after rounding widened to contain them; volume uniform.
    """
    close = start * np.exp(np.cumsum(random.normal(0, move, bars)))
    noise = np.exp(random.normal(0, gap, bars))
    opens = np.concatenate([[start], close[:-1] * noise[1:]])
    high = np.maximum(opens, close) * np.exp(np.abs(random.normal(0, reach, bars)))
    low = np.minimum(opens, close) * np.exp(-np.abs(random.normal(0, reach, bars)))
    volume = random.integers(1_000, 50_000, bars)
    first, most, least, last = (np.rint(one * 100).astype(np.int64) for one in (opens, high, low, close))
    most, least = np.maximum(most, np.maximum(first, last)), np.minimum(least, np.minimum(first, last))
    return {"open": first, "high": most, "low": least, "close": last, "volume": volume}
