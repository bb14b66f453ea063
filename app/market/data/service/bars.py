"""Reads bars: whole series for strategies and feeds, pages for the API. Files are immutable, so reads are cached."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.kernel.errors import DomainError, Kind, invalid
from app.market.data import repository
from app.market.data.domain import Bars, adjust_for_splits, from_us, interval_length
from app.market.instruments.ports import Reader
from app.market.instruments.service import get_instrument, splits_of

_CACHE_SERIES = 256
_cache: OrderedDict[str, Bars] = OrderedDict()


@dataclass(frozen=True, slots=True)
class BarPage:
    """Bars of one page, oldest first, and whether more follow."""

    bars: Bars
    has_more: bool


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
    interval_length(interval)
    row = await repository.current_series(reader, instrument_id, interval)
    if row is None:
        raise DomainError(
            "bars_not_found", Kind.NOT_FOUND, f"No {interval} bars are stored for this instrument.", param="interval"
        )
    digest: str = row["sha256"]
    bars = _cache.get(digest)
    if bars is None:
        bars = await asyncio.to_thread(
            repository.read_parquet,
            data_dir / row["path"],
            sha256=digest,
            price_exp=row["price_exp"],
            qty_exp=row["qty_exp"],
        )
        _cache[digest] = bars
        while len(_cache) > _CACHE_SERIES:
            _cache.popitem(last=False)
    else:
        _cache.move_to_end(digest)
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
