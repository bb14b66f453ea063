"""Imports bars from CSV or Parquet: checked whole, written to a temporary file, renamed, then made current."""

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import asyncpg

from app.kernel.errors import DomainError, invalid
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
    """The checked bars of a file. Blocking."""
    suffix = file.suffix.lower()
    if suffix == ".csv":
        table = _read_csv(file)
    elif suffix in (".parquet", ".pq"):
        frame, metadata = _read_parquet(file)
        if "mandi.price_exp" in metadata:
            return _own_format(frame, metadata, instrument)
        table = {name: frame[name].to_list() for name in frame.columns}
    else:
        raise _unreadable(file, "use a .csv or .parquet file")
    found = [name for name in _TIME_COLUMNS if name in table]
    if not found:
        raise invalid("invalid_bars", f"no time column; name one of {', '.join(_TIME_COLUMNS)}.", param="at")
    columns = {name: table[name] for name in COLUMNS[1:] if name in table}
    times = parse_times(table[found[0]], session_closes=closes)
    return parse_bars(columns, times, price_exp=instrument.price_exp, qty_exp=instrument.qty_exp)


def _unreadable(file: Path, reason: str) -> DomainError:
    return invalid("unreadable_file", f"{file.name} cannot be read: {reason}.", param="file")


def _header(file: Path, names: list[str]) -> list[str]:
    header = [name.strip().lower() for name in names]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise invalid("invalid_bars", f"column {twice} occurs twice in {file.name}.", param=twice)
    return header


def _read_csv(file: Path) -> dict[str, Sequence[Any]]:
    # by hand: a dataframe reader pads a short row, which would shift a cell into another column unseen
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            header = _header(file, next(reader, []))
            rows = [row for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(file, getattr(error, "strerror", None) or str(error)) from None
    if not header:
        raise _unreadable(file, "it is empty")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise invalid("invalid_bars", f"row {number} has {len(row)} cells, the header {len(header)}.", param="file")
    return {name: [row[index] for row in rows] for index, name in enumerate(header)}


def _read_parquet(file: Path) -> tuple[Any, dict[str, str]]:
    import polars as pl

    try:
        frame, metadata = pl.read_parquet(file), pl.read_parquet_metadata(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(file, (str(error).splitlines() or [type(error).__name__])[0][:200]) from None
    frame.columns = _header(file, frame.columns)
    return frame, metadata


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
