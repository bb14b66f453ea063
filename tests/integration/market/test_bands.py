"""What venues take in a day comes from a file: all of it or nothing, and a later word takes an earlier one's place."""

from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg
import pytest

from app.kernel.errors import DomainError
from app.market.instruments.service import find_instrument, import_bands

pytestmark = pytest.mark.asyncio
HEAD = "symbol,venue,day,lower,upper,halted\n"
RELIANCE = "RELIANCE,XNSE,2025-06-09,1266.30,1547.60,"
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def _file(folder: Path, text: str, head: str = HEAD) -> Path:
    path = folder / "bands.csv"
    path.write_text(head + text, encoding="utf-8")
    return path


async def _at(reader: asyncpg.Pool, symbol: str, venue: str, at: str) -> tuple[int | None, int | None, bool] | None:
    instrument = (await find_instrument(reader, symbol, venue, now=NOW)).id
    row = await reader.fetchrow("select * from instrument_band_at($1, $2)", instrument, datetime.fromisoformat(at))
    return row and (row["lower"], row["upper"], row["halted"])


async def test_a_band_holds_from_the_close_before_to_its_days_close(
    reference: asyncpg.Pool, reader: asyncpg.Pool, tmp_path: Path
) -> None:
    told = await import_bands(
        reference,
        _file(
            tmp_path, "RELIANCE,XNSE,2025-06-09,1266.30,1547.60,\nAAPL,XNAS,2013-01-07,,75.25,no\nNOBODY,XNSE,x,1,2,\n"
        ),
        source="NSE",
    )
    assert (told.bands, told.changed, told.unknown) == (2, 2, ["NOBODY XNSE"])
    assert str(told) == "2 of 2 new or changed; left out, as they are not traded here: NOBODY XNSE"
    band = (12_663_000, 15_476_000, False)
    for at, found in (  # 9 June 2025 is a Monday; the NSE closes at 10:00 UTC
        ("2025-06-06T09:59:59Z", None),
        ("2025-06-06T10:00:00Z", band),
        ("2025-06-08T12:00:00Z", band),
        ("2025-06-09T09:59:59Z", band),
        ("2025-06-09T10:00:00Z", None),
    ):
        assert await _at(reader, "RELIANCE", "XNSE", at) == found
    assert await _at(reader, "AAPL", "XNAS", "2013-01-07T15:00:00Z") == (None, 752_500, False)
    assert await reference.fetchval("select count(*) from instrument_bands where source = 'NSE'") == 2


async def test_a_later_word_takes_the_place_of_an_earlier_and_what_was_known_stays(
    reference: asyncpg.Pool, reader: asyncpg.Pool, tmp_path: Path
) -> None:
    one = "TCS,XNSE,2025-06-10,3000,3600,\n"
    assert (await import_bands(reference, _file(tmp_path, one))).changed == 1
    assert (await import_bands(reference, _file(tmp_path, one))).changed == 0
    assert (await import_bands(reference, _file(tmp_path, "TCS,XNSE,2025-06-10,2900,3700,yes\n"))).changed == 1
    assert await _at(reader, "TCS", "XNSE", "2025-06-10T06:00:00Z") == (29_000_000, 37_000_000, True)
    instrument = (await find_instrument(reader, "TCS", "XNSE", now=NOW)).id
    rows = await reference.fetch(
        "select lower, recorded_to is null as current from instrument_bands where instrument_id = $1 order by lower",
        instrument,
    )
    assert [tuple(row) for row in rows] == [(29_000_000, True), (30_000_000, False)]


@pytest.mark.parametrize(
    ("text", "head", "message", "column"),
    [
        ("INFY,XNSE,2025-06-07,1,2,\n", HEAD, "Row 2, day: XNSE does not trade on 2025-06-07.", "day"),
        ("INFY,XNSE,9 June,1,2,\n", HEAD, "Row 2, day: '9 June' is no date such as 2026-11-26.", "day"),
        ("INFY,XNSE,2025-06-09,2,1,\n", HEAD, "Row 2, lower: it is above upper.", "lower"),
        ("INFY,XNSE,2025-06-09,0,1,\n", HEAD, "Row 2, lower: a price is above zero.", "lower"),
        ("INFY,XNSE,2025-06-09,1,1.00001,\n", HEAD, "Row 2, upper:", "upper"),
        ("INFY,XNSE,2025-06-09,1,2,maybe\n", HEAD, "Row 2, halted: 'maybe' is neither yes nor no.", "halted"),
        ("INFY,XNSE,2025-06-09,1,2,\n\nINFY,XNSE,2025-06-09,1,3,\n", HEAD, "Row 4, day: INFY has a row", "day"),
        ("INFY,XNSE,2025-06-09,1\n", HEAD, "Row 2, upper: the row has 4 fields and the head 6.", "upper"),
        ("INFY,XNSE\n", "symbol,venue\n", "The file lacks the columns day, lower, upper, halted.", "file"),
        ("", HEAD, "bands.csv has no rows.", "file"),
        ("", "", "The file lacks the columns", "file"),
        ('INFY,"XNSE,2025-06-09,1,2,\n', HEAD, "bands.csv is no CSV file in UTF-8", "file"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_changed(
    reference: asyncpg.Pool, tmp_path: Path, text: str, head: str, message: str, column: str
) -> None:
    count = "select count(*) from instrument_bands"
    before = await reference.fetchval(count)
    good = "HDFCBANK,XNSE,2025-06-09,1,2,\n" if head == HEAD and text.startswith("INFY,XNSE") else ""
    path = _file(tmp_path, text + good, head)
    with pytest.raises(DomainError) as caught:
        await import_bands(reference, path)
    assert (caught.value.code, caught.value.param) == ("invalid_bands", column)
    assert caught.value.message.startswith(message)
    assert await reference.fetchval(count) == before


async def test_a_row_that_says_nothing_is_the_word_that_there_is_no_band(
    reference: asyncpg.Pool, reader: asyncpg.Pool, tmp_path: Path
) -> None:
    head = "Day,Symbol,Series,Venue,Lower,Upper,Halted\n"  # in any order and case, and others beside
    text = "2025-06-11,HDFCBANK,EQ,XNSE,,,\n2025-06-12,HDFCBANK,EQ,XNSE,,,YES\n"
    assert (await import_bands(reference, _file(tmp_path, text, head))).bands == 2
    assert await _at(reader, "HDFCBANK", "XNSE", "2025-06-11T06:00:00Z") == (None, None, False)
    assert await _at(reader, "HDFCBANK", "XNSE", "2025-06-12T06:00:00Z") == (None, None, True)


async def test_the_first_day_of_a_calendar_has_a_band_from_midnight(
    reference: asyncpg.Pool, reader: asyncpg.Pool, tmp_path: Path
) -> None:
    first: date = await reference.fetchval("select min(day) from trading_sessions where venue = 'XNAS'")
    assert (await import_bands(reference, _file(tmp_path, f"IBM,XNYS,{first},1,2,\n"))).bands == 1
    assert await _at(reader, "IBM", "XNYS", f"{first}T00:00:00Z") == (10_000, 20_000, False)
