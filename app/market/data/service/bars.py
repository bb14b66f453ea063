"""Reads bars: whole series for strategies and feeds, pages for the API. Files are immutable, so reads are cached."""

import asyncio
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.kernel.errors import DomainError, Kind, invalid
from app.market.data import repository
from app.market.data.domain import Bars, Int64, adjust_for_splits, from_us, interval_length
from app.market.instruments.ports import Reader
from app.market.instruments.service import get_instrument, splits_of

_CACHE_ROWS = 4_000_000
"""Bars kept in memory, of all series together: 48 bytes each. One that has more than a quarter is read each time."""
_cache: OrderedDict[str, Bars] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class BarPage:
    """Bars of one page, oldest first, and whether more follow."""

    bars: Bars
    has_more: bool


@dataclass(frozen=True, slots=True)
class Series:
    """The immutable file that holds a series: `path` below the data folder, its hash, its extent and scales."""

    path: str
    sha256: str
    rows: int
    first_at: datetime
    last_at: datetime
    price_exp: int
    qty_exp: int


async def find_series(reader: Reader, instrument_id: UUID, interval: str) -> Series:
    """The current file of a series. Raises `bars_not_found` when there is none, `unknown_interval`."""
    interval_length(interval)
    row = await repository.current_series(reader, instrument_id, interval)
    if row is None:
        raise DomainError(
            "bars_not_found", Kind.NOT_FOUND, f"No {interval} bars are stored for this instrument.", param="interval"
        )
    return Series(**{name: row[name] for name in Series.__slots__})


def read_series(data_dir: Path, path: str, *, sha256: str, price_exp: int, qty_exp: int) -> Bars:
    """The raw bars of an immutable file; read-only arrays. Blocking. Its hash is checked once per process.

    Raises `bars_corrupt`.
    """
    bars = _cached(sha256)
    if bars is not None:
        return bars
    bars = repository.read_parquet(data_dir / path, sha256=sha256, price_exp=price_exp, qty_exp=qty_exp)
    if len(bars) <= _CACHE_ROWS // 4:
        with _lock:
            _cache[sha256] = bars
            while sum(map(len, _cache.values())) > _CACHE_ROWS:
                _cache.popitem(last=False)
    return bars


def read_times(data_dir: Path, series: Series) -> Int64:
    """The close times of a series in µs since the Unix epoch, without its prices. Blocking. Raises `bars_corrupt`."""
    bars = _cached(series.sha256)
    return repository.read_times(data_dir / series.path) if bars is None else bars.at_us


def _cached(sha256: str) -> Bars | None:
    with _lock:
        bars = _cache.get(sha256)
        if bars is not None:
            _cache.move_to_end(sha256)
        return bars


async def load_bars(
    reader: Reader,
    data_dir: Path,
    instrument_id: UUID,
    interval: str,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Bars:
    """The raw bars that closed from `start` to `end`, both inclusive; read-only arrays.

    The file's hash is checked once per process. Raises `bars_not_found` when there is no such series, `bars_corrupt`.
    """
    one = await find_series(reader, instrument_id, interval)
    bars = _cached(one.sha256)
    if bars is None:
        bars = await asyncio.to_thread(
            read_series, data_dir, one.path, sha256=one.sha256, price_exp=one.price_exp, qty_exp=one.qty_exp
        )
    return bars.between(start, end)


async def list_bars(
    reader: Reader,
    data_dir: Path,
    *,
    instrument_id: UUID,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    adjustment: str,
    after: datetime | None,
    limit: int,
    now: datetime,
) -> BarPage:
    """One page of bars that closed from `start` to `end`, after the close time `after`.

    `adjustment`: `raw`, or `split` for bars restated in the shares of `end` (of the series' last bar when open).
    Raises `instrument_not_found`, `bars_not_found`, `unknown_interval`, `unknown_adjustment`, `invalid_range`.
    """
    if adjustment not in ("raw", "split"):
        message = f"{adjustment!r} is not an adjustment; use raw or split."
        raise invalid("unknown_adjustment", message, param="adjustment")
    if start is not None and end is not None and start > end:
        raise invalid("invalid_range", "start must not be after end.", param="start")
    await get_instrument(reader, instrument_id, now=now)
    bars = await load_bars(reader, data_dir, instrument_id, interval, start, end)
    if adjustment == "split" and len(bars):
        known_at = end if end is not None else from_us(int(bars.at_us[-1]))
        bars = adjust_for_splits(bars, await splits_of(reader, instrument_id), known_at=known_at)
    if after is not None:
        bars = bars.between(after, None)
        if len(bars) and from_us(int(bars.at_us[0])) == after:
            bars = bars.rows(1, len(bars))
    return BarPage(bars.rows(0, limit), len(bars) > limit)
