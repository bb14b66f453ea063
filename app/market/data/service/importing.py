"""Imports bars from CSV or Parquet: checked whole, written to a temporary file, renamed, then made current."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from app.kernel.ids import uuid7
from app.market.data import repository
from app.market.data.domain import Bars, from_us, interval_length
from app.market.data.service.files import read_bars
from app.market.instruments.service import InstrumentView, find_instrument, trading_days


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. `changed` is False when the same bars were already current."""

    symbol: str
    venue: str
    interval: str
    rows: int
    first_at: datetime
    last_at: datetime
    path: str
    sha256: str
    changed: bool


async def import_bars(
    reference: asyncpg.Pool,
    data_dir: Path,
    file: Path,
    *,
    symbol: str,
    venue: str,
    interval: str,
    now: datetime,
    source: str = "imported",
    license: str = "not stated",
) -> ImportReport:
    """Make the bars of `file` (.csv or .parquet) the current series of an instrument.

    Columns: a close time (`at`, `time`, `timestamp`, `datetime`; or `date` for daily bars of a venue with a
    calendar), `open, high, low, close, volume`, in any order and case; others are ignored. Prices are plain decimals
    in the instrument's currency, unless the Parquet file carries our own scale (`mandi.price_exp`). Raises
    `unknown_instrument`, `unknown_interval`, `unreadable_file`, `invalid_bars`; then nothing has changed.
    """
    interval_length(interval)
    instrument = await find_instrument(reference, symbol, venue, now=now)
    closes = await trading_days(reference, venue, instrument.segment) if interval == "1d" else None
    bars = await asyncio.to_thread(
        read_bars,
        file,
        price_exp=instrument.price_exp,
        qty_exp=instrument.qty_exp,
        session_close=closes.get if closes is not None else None,
    )
    path, digest = await asyncio.to_thread(
        repository.write_parquet, bars, data_dir / "bars", f"{symbol}-{venue}-{interval}"
    )
    relative = path.relative_to(data_dir).as_posix()
    row = manifest_row(instrument, interval, bars, path=relative, sha256=digest, source=source, license=license)
    changed = await repository.publish_series(reference, row)
    return ImportReport(symbol, venue, interval, len(bars), row["first_at"], row["last_at"], relative, digest, changed)


def manifest_row(
    instrument: InstrumentView, interval: str, bars: Bars, *, path: str, sha256: str, source: str, license: str
) -> dict[str, Any]:
    """The `bar_series` row of a file that was written."""
    return {
        "id": uuid7(),
        "instrument_id": instrument.id,
        "interval": interval,
        "path": path,
        "sha256": sha256,
        "rows": len(bars),
        "first_at": from_us(int(bars.at_us[0])),
        "last_at": from_us(int(bars.at_us[-1])),
        "price_exp": bars.price_exp,
        "qty_exp": bars.qty_exp,
        "source": source,
        "license": license,
    }
