"""Imports bars from CSV or Parquet: checked whole, written to a temporary file, renamed, then made current."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import asyncpg

from app.kernel.errors import invalid
from app.kernel.ids import uuid7
from app.market.data import repository
from app.market.data.domain import COLUMNS, Bars, from_us, interval_length, parse_bars, parse_times, scaled_bars
from app.market.instruments.service import InstrumentView, find_instrument, trading_days

_TIME_COLUMNS = ("at", "time", "timestamp", "datetime", "date")


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
    bars = await asyncio.to_thread(_read, file, instrument, closes)
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


def _read(file: Path, instrument: InstrumentView, closes: dict[date, datetime] | None) -> Bars:
    import polars as pl

    suffix, metadata = file.suffix.lower(), {}
    try:
        if suffix == ".csv":
            frame = pl.read_csv(file, infer_schema=False, encoding="utf8")
        elif suffix in (".parquet", ".pq"):
            frame, metadata = pl.read_parquet(file), pl.read_parquet_metadata(file)
        else:
            raise invalid("unreadable_file", f"{file.name}: use a .csv or .parquet file.", param="file")
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise invalid("unreadable_file", f"{file.name} cannot be read: {reason}", param="file") from None
    frame = frame.rename({name: name.strip().lower() for name in frame.columns})
    if "mandi.price_exp" in metadata:
        return _own_format(frame, metadata, instrument)
    found = [name for name in _TIME_COLUMNS if name in frame.columns]
    if not found:
        raise invalid("invalid_bars", f"no time column; name one of {', '.join(_TIME_COLUMNS)}.", param="at")
    columns: dict[str, Sequence[Any]] = {name: frame[name].to_list() for name in COLUMNS[1:] if name in frame.columns}
    times = parse_times(frame[found[0]].to_list(), session_closes=closes)
    return parse_bars(columns, times, price_exp=instrument.price_exp, qty_exp=instrument.qty_exp)


def _own_format(frame: Any, metadata: dict[str, str], instrument: InstrumentView) -> Bars:
    import polars as pl

    scale = (int(metadata["mandi.price_exp"]), int(metadata.get("mandi.qty_exp", "0")))
    if scale != (instrument.price_exp, instrument.qty_exp):
        raise invalid(
            "invalid_bars",
            f"the file's scale {scale} is not the instrument's ({instrument.price_exp}, {instrument.qty_exp}).",
            param="file",
        )
    present = [name for name in COLUMNS if name in frame.columns]
    try:
        columns = {name: frame[name].cast(pl.Int64).to_numpy() for name in present if not frame[name].null_count()}
    except pl.exceptions.PolarsError as error:
        raise invalid("invalid_bars", f"a column is not an integer: {str(error)[:200]}", param="file") from None
    return scaled_bars(columns, price_exp=scale[0], qty_exp=scale[1])
