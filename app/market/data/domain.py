"""Decides what a bar is, which bars are refused, and how a split restates them. Pure; int64 at fixed scales."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.kernel.errors import DomainError, invalid
from app.kernel.money import parse_scaled
from app.market.instruments.domain import Split

Int64 = NDArray[np.int64]

PRICES = ("open", "high", "low", "close")
COLUMNS = ("at", *PRICES, "volume")
INTERVALS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
"""Bar intervals by name. A daily bar is a session, whatever its length."""

MAX_VALUE = 2**52
"""Bound of a stored price or volume: with split factors up to 512 no product leaves int64."""
MAX_FACTOR = 512
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """An aware time as microseconds since the Unix epoch."""
    return (at - _EPOCH) // _MICROSECOND


def from_us(at_us: int) -> datetime:
    """Microseconds since the Unix epoch as an aware UTC time."""
    return _EPOCH + timedelta(microseconds=int(at_us))


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars of one series, oldest first; every array is int64 of one length.

    `at_us`: the close time, microseconds since the Unix epoch, strictly increasing. Prices at 10^-price_exp,
    `volume` at 10^-qty_exp.
    """

    price_exp: int
    qty_exp: int
    at_us: Int64
    open: Int64
    high: Int64
    low: Int64
    close: Int64
    volume: Int64

    def __len__(self) -> int:
        return len(self.at_us)

    def between(self, start: datetime | None, end: datetime | None) -> "Bars":
        """The bars that closed from `start` to `end`, both inclusive. Views, not copies."""
        low = 0 if start is None else int(np.searchsorted(self.at_us, to_us(start), side="left"))
        high = len(self) if end is None else int(np.searchsorted(self.at_us, to_us(end), side="right"))
        return self.rows(low, max(low, high))

    def rows(self, low: int, high: int) -> "Bars":
        """The bars of positions `low` to `high`, exclusive. Views, not copies."""
        columns = {name: getattr(self, name)[low:high] for name in ("at_us", *PRICES, "volume")}
        return replace(self, **columns)


def interval_length(interval: str) -> timedelta:
    """The length of a named interval. Raises `unknown_interval`."""
    try:
        return INTERVALS[interval]
    except KeyError:
        known = ", ".join(INTERVALS)
        raise invalid("unknown_interval", f"{interval!r} is not an interval; use {known}.", param="interval") from None


def bad_cell(row: int, column: str, problem: str) -> DomainError:
    """The error of an import: `row` counts data rows from 1."""
    return invalid("invalid_bars", f"row {row}, column {column}: {problem}", param=column)


def parse_bars(columns: Mapping[str, Sequence[Any]], at: Sequence[datetime], *, price_exp: int, qty_exp: int) -> Bars:
    """Checked bars from raw cells (text, numbers or None). `at` are the close times, one a row.

    Raises `invalid_bars` naming row and column: a missing column, an empty or non-finite cell, a value that is not
    exact at the scale, a price of zero or less, a negative volume, times out of order, high below low, open or close
    outside them.
    """
    for name in (*PRICES, "volume"):
        if name not in columns:
            raise invalid("invalid_bars", f"column {name} is missing; bars need {', '.join(COLUMNS)}.", param=name)
    if not at:
        raise invalid("invalid_bars", "the file has no rows.", param="at")
    parsed = {
        name: np.array(
            [scaled_cell(cell, exponent, row, name) for row, cell in enumerate(columns[name], 1)], dtype=np.int64
        )
        for name, exponent in (*((p, price_exp) for p in PRICES), ("volume", qty_exp))
    }
    bars = Bars(price_exp, qty_exp, np.array([to_us(moment) for moment in at], dtype=np.int64), **parsed)
    check_bars(bars)
    return bars


def scaled_cell(value: Any, exponent: int, row: int, column: str) -> int:
    """One cell as an integer at 10^-exponent; a float stands for its shortest decimal form."""
    if value is None or value == "":
        raise bad_cell(row, column, "is empty.")
    if isinstance(value, float) and not isfinite(value):
        raise bad_cell(row, column, f"{value} is not a finite number.")
    text = value.strip() if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
    try:
        number = parse_scaled(text, exponent, param=column)
    except DomainError as error:
        raise bad_cell(row, column, f"{text[:40]!r}: {error.message}") from None
    if number < 0 or (number == 0 and column in PRICES):
        raise bad_cell(row, column, f"{text} must be {'greater than zero' if column in PRICES else 'zero or more'}.")
    if number >= MAX_VALUE:
        raise bad_cell(row, column, f"{text} is too large.")
    return number


def scaled_bars(columns: Mapping[str, Int64], *, price_exp: int, qty_exp: int) -> Bars:
    """Checked bars from columns that are already at scale, `at` in microseconds. Raises `invalid_bars`."""
    for name in COLUMNS:
        if name not in columns:
            raise invalid("invalid_bars", f"column {name} is missing; bars need {', '.join(COLUMNS)}.", param=name)
    for name in (*PRICES, "volume"):
        low = 1 if name in PRICES else 0
        outside = (columns[name] < low) | (columns[name] >= MAX_VALUE)
        if outside.any():
            row = int(np.argmax(outside))
            raise bad_cell(row + 1, name, f"{columns[name][row]} is outside {low} to {MAX_VALUE - 1}.")
    bars = Bars(price_exp, qty_exp, columns["at"], *(columns[name] for name in (*PRICES, "volume")))
    if not len(bars):
        raise invalid("invalid_bars", "the file has no rows.", param="at")
    check_bars(bars)
    return bars


def check_bars(bars: Bars) -> None:
    """Raises `invalid_bars` at the first row whose time or prices contradict each other."""
    steps = np.diff(bars.at_us)
    if (steps <= 0).any():
        index = int(np.argmax(steps <= 0)) + 1
        word = "repeats" if steps[index - 1] == 0 else "is before"
        raise bad_cell(index + 1, "at", f"{from_us(bars.at_us[index]).isoformat()} {word} the row above; sort by time.")
    for wrong, column, problem in (
        (bars.high < bars.low, "high", "high is below low."),
        ((bars.open > bars.high) | (bars.open < bars.low), "open", "open is outside low and high."),
        ((bars.close > bars.high) | (bars.close < bars.low), "close", "close is outside low and high."),
    ):
        if wrong.any():
            raise bad_cell(int(np.argmax(wrong)) + 1, column, problem)


def parse_times(values: Sequence[Any], *, session_close: Callable[[date], datetime | None] | None) -> list[datetime]:
    """Close times in UTC from text, dates or aware datetimes.

    A bare date is a session's close, so it needs `session_close` (daily bars; None for a date without one). Raises
    `invalid_bars` for a time without an offset, a date that is no session, or text that is neither.
    """
    times: list[datetime] = []
    for row, value in enumerate(values, 1):
        moment: Any = _parse_moment(value, row) if isinstance(value, str) else value
        if isinstance(moment, datetime):
            if moment.tzinfo is None:
                raise bad_cell(row, "at", f"{moment} has no UTC offset; write 2024-01-02T21:00:00Z.")
            times.append(moment.astimezone(UTC))
        elif isinstance(moment, date):
            if session_close is None:
                raise bad_cell(row, "at", f"{moment} is a date; bars of this interval need the close time.")
            close = session_close(moment)
            if close is None:
                raise bad_cell(row, "at", f"{moment} is not a trading day in the venue's calendar.")
            times.append(close)
        else:
            raise bad_cell(row, "at", f"{moment!r} is not a time.")
    return times


def _parse_moment(text: str, row: int) -> date | datetime:
    text = text.strip()
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        raise bad_cell(row, "at", f"{text[:40]!r} is not an ISO 8601 date or time.") from None


def adjust_for_splits(bars: Bars, splits: Iterable[Split], *, known_at: datetime) -> Bars:
    """`bars` restated in the shares of `known_at`: prices × denominator / numerator, volume the other way.

    Only splits effective by `known_at` count, so a past view stays what it was. One rounding per value, half up,
    of the product of all factors; a price never becomes 0.
    """
    factor = {name: getattr(bars, name).copy() for name in (*PRICES, "volume")}
    effective = sorted((s for s in splits if s.effective_at <= known_at), key=lambda s: s.effective_at)
    high, ratio = len(bars), Fraction(1)
    for split in reversed(effective):
        boundary = int(np.searchsorted(bars.at_us, to_us(split.effective_at), side="right"))
        _restate(factor, bars, slice(boundary, high), ratio)
        high, ratio = min(high, boundary), ratio * Fraction(split.numerator, split.denominator)
    _restate(factor, bars, slice(0, high), ratio)
    return replace(bars, **factor)


def _restate(target: dict[str, Int64], bars: Bars, rows: slice, ratio: Fraction) -> None:
    up, down = ratio.numerator, ratio.denominator
    if ratio == 1 or rows.start >= rows.stop:
        return
    if max(up, down) > MAX_FACTOR:
        raise invalid("split_out_of_range", f"split factors of {ratio} are beyond {MAX_FACTOR}.", param="adjustment")
    for name in PRICES:
        restated = (getattr(bars, name)[rows] * (2 * down) + up) // (2 * up)
        target[name][rows] = np.maximum(restated, 1)
    target["volume"][rows] = (bars.volume[rows] * (2 * up) + down) // (2 * down)
