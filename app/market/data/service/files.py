"""Reads bars from CSV or Parquet files that users bring."""

import csv
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from app.kernel.errors import DomainError, invalid
from app.market.data.domain import COLUMNS, Bars, parse_bars, parse_times, scaled_bars

_TIME_COLUMNS = ("at", "time", "timestamp", "datetime", "date")


def read_bars(
    file: Path, *, price_exp: int, qty_exp: int, session_close: Callable[[date], datetime | None] | None
) -> Bars:
    """The checked bars of a .csv or .parquet file, at these scales. Blocking.

    Columns as `import_bars` takes them; `session_close` as `parse_times` takes it. Raises
    `unreadable_file` and `invalid_bars`, naming row and column.
    """
    suffix = file.suffix.lower()
    if suffix == ".csv":
        table = _read_csv(file)
    elif suffix in (".parquet", ".pq"):
        frame, metadata = _read_parquet(file)
        if "mandi.price_exp" in metadata:
            return _own_format(frame, metadata, (price_exp, qty_exp))
        table = {name: frame[name].to_list() for name in frame.columns}
    else:
        raise _unreadable(file, "use a .csv or .parquet file")
    found = [name for name in _TIME_COLUMNS if name in table]
    if not found:
        raise invalid("invalid_bars", f"no time column; name one of {', '.join(_TIME_COLUMNS)}.", param="at")
    columns = {name: table[name] for name in COLUMNS[1:] if name in table}
    times = parse_times(table[found[0]], session_close=session_close)
    return parse_bars(columns, times, price_exp=price_exp, qty_exp=qty_exp)


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


def _own_format(frame: Any, metadata: dict[str, str], wanted: tuple[int, int]) -> Bars:
    import polars as pl

    scale = (int(metadata["mandi.price_exp"]), int(metadata.get("mandi.qty_exp", "0")))
    if scale != wanted:
        raise invalid("invalid_bars", f"the file's scale {scale} is not the instrument's {wanted}.", param="file")
    present = [name for name in COLUMNS if name in frame.columns]
    try:
        columns = {name: frame[name].cast(pl.Int64).to_numpy() for name in present if not frame[name].null_count()}
    except pl.exceptions.PolarsError as error:
        raise invalid("invalid_bars", f"a column is not an integer: {str(error)[:200]}", param="file") from None
    return scaled_bars(columns, price_exp=scale[0], qty_exp=scale[1])
