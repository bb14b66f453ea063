"""Imports the prices that venues take in a day, and what they have halted: the whole file, or nothing of it.

A band holds from the close of the trading day before, so that orders for the next session meet it, to its own day's
close. What a later file says otherwise takes its place; what was known before stays on record.
"""

import asyncio
import csv
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from app.kernel.errors import DomainError, invalid
from app.kernel.ids import uuid7
from app.kernel.money import parse_scaled
from app.market.instruments import repository
from app.market.instruments.domain import Band

COLUMNS = ("symbol", "venue", "day", "lower", "upper", "halted")
MAX_ROWS = 100_000
_HALTED = {"": False, "no": False, "yes": True}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class BandReport:
    """What an import did. `unknown`: instruments of the file that are not traded here, which are left out."""

    bands: int
    changed: int
    unknown: Sequence[str]

    def __str__(self) -> str:
        said = f"{self.changed} of {self.bands} new or changed"
        if not self.unknown:
            return said
        more = f" and {len(self.unknown) - _SHOWN} more" if len(self.unknown) > _SHOWN else ""
        return f"{said}; left out, as they are not traded here: {', '.join(self.unknown[:_SHOWN])}{more}"


async def import_bands(reference: asyncpg.Pool, file: Path, *, source: str = "imported") -> BandReport:
    """Make what a CSV file says of days the venues' word on them; the columns are `COLUMNS`, others are ignored.

    `day` is a trading day, `lower` and `upper` plain decimals, empty for no bound, `halted` yes or no. Raises
    `invalid_bands` naming row and column; then nothing has changed.
    """
    rows = await asyncio.to_thread(_read, file)
    wanted = sorted({(row["symbol"], row["venue"]) for _, row in rows})
    known = {(one["symbol"], one["venue"]): one for one in await repository.by_symbols(reference, wanted)}
    scopes = {(one["venue"], one["segment"]) for one in known.values()}
    closes = {scope: await repository.calendar_days(reference, *scope) for scope in scopes}
    days = {scope: sorted(found) for scope, found in closes.items()}
    bands: dict[tuple[UUID, datetime], Band] = {}
    for number, row in rows:
        one = known.get((row["symbol"], row["venue"]))
        if one is None:
            continue
        scope = (one["venue"], one["segment"])
        band = _band(number, row, one, closes[scope], days[scope])
        if (key := (band.instrument_id, band.valid_from)) in bands:
            raise _wrong(number, "day", f"{row['symbol']} has a row of that day already")
        bands[key] = band
    changed = await repository.write_bands(reference, [(uuid7(), band) for band in bands.values()], source)
    unknown = [f"{symbol} {venue}" for symbol, venue in wanted if (symbol, venue) not in known]
    return BandReport(len(bands), changed, unknown)


def _read(file: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their numbers, as they stand in the file."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            found = list(_rows(csv.reader(lines, strict=True)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise invalid("invalid_bands", f"{file.name} is no CSV file in UTF-8: {error}.", param="file") from None
    if not found:
        raise invalid("invalid_bands", f"{file.name} has no rows.", param="file")
    return found


def _rows(lines: Iterator[list[str]]) -> Iterator[tuple[int, dict[str, str]]]:
    names = [name.strip().lower() for name in next(lines, [])]
    if missing := [name for name in COLUMNS if name not in names]:
        raise invalid("invalid_bands", f"The file lacks the columns {', '.join(missing)}.", param="file")
    for number, line in enumerate(lines, start=2):
        if number > MAX_ROWS + 1:
            raise invalid("invalid_bands", f"A file takes at most {MAX_ROWS} rows.", param="file")
        if not any(line):
            continue
        if len(line) != len(names):
            column = names[min(len(line), len(names) - 1)]
            raise _wrong(number, column, f"the row has {len(line)} fields and the head {len(names)}")
        yield number, {name: value.strip() for name, value in zip(names, line, strict=True) if name in COLUMNS}


def _band(
    number: int,
    row: Mapping[str, str],
    instrument: Mapping[str, Any],
    closes: Mapping[date, datetime],
    days: Sequence[date],
) -> Band:
    try:
        day = date.fromisoformat(row["day"])
    except ValueError:
        raise _wrong(number, "day", f"{row['day']!r} is no date such as 2026-11-26") from None
    if day not in closes:
        raise _wrong(number, "day", f"{row['venue']} does not trade on {day}")
    if row["halted"].lower() not in _HALTED:
        raise _wrong(number, "halted", f"{row['halted']!r} is neither yes nor no")
    lower, upper = (_price(number, name, row[name], instrument["price_exp"]) for name in ("lower", "upper"))
    if lower is not None and upper is not None and lower > upper:
        raise _wrong(number, "lower", "it is above upper")
    place = bisect_left(days, day)
    before = closes[days[place - 1]] if place else datetime.combine(day, time(), UTC)
    return Band(instrument["id"], lower, upper, _HALTED[row["halted"].lower()], before, closes[day])


def _price(number: int, column: str, text: str, price_exp: int) -> int | None:
    if not text:
        return None
    try:
        price = parse_scaled(text, price_exp, param=column)
    except DomainError as error:
        raise _wrong(number, column, error.message) from None
    if price <= 0:
        raise _wrong(number, column, "a price is above zero")
    return price


def _wrong(number: int, column: str, what: str) -> DomainError:
    return invalid("invalid_bands", f"Row {number}, {column}: {what.removesuffix('.')}.", param=column)
