"""Instruments, rules, sessions and bars in PostgreSQL: the seed, the lookups, what the roles may not do."""

from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import polars as pl
import pytest

from app.kernel.errors import DomainError
from app.kernel.ids import uuid7
from app.kernel.instrument import TradingRules
from app.market.data.domain import from_us
from app.market.data.service import import_bars, list_bars, load_bars, seed_reference
from app.market.instruments.service import find_instrument, get_instrument, list_instruments, rules_at, splits_of

pytestmark = pytest.mark.asyncio
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def aapl(reader: asyncpg.Pool) -> UUID:
    return (await find_instrument(reader, "AAPL", "XNAS", now=NOW)).id


async def counts(pool: asyncpg.Pool) -> list[int]:
    tables = ("instruments", "instrument_rules", "trading_sessions", "corporate_actions", "bar_series")
    return [await pool.fetchval(f"select count(*) from {table}") for table in tables]


async def test_seeding_again_changes_nothing(reference: asyncpg.Pool, data_dir: Path) -> None:
    before = await counts(reference)
    await seed_reference(reference, data_dir)
    assert await counts(reference) == before
    assert min(before) > 0


async def test_an_instrument_is_found_by_symbol_and_by_id(reader: asyncpg.Pool) -> None:
    found = await find_instrument(reader, "RELIANCE", "XNSE", now=NOW)
    assert found == await get_instrument(reader, found.id, now=NOW)
    assert (found.isin, found.currency, found.price_exp, found.rules) == (
        "INE002A01018",
        "INR",
        4,
        TradingRules(1000, 1, None),
    )
    with pytest.raises(DomainError, match="No instrument 'RELIANCE'"):
        await find_instrument(reader, "RELIANCE", "XNYS", now=NOW)
    with pytest.raises(DomainError) as caught:
        await get_instrument(reader, uuid7(), now=NOW)
    assert caught.value.code == "instrument_not_found"


async def test_instruments_are_paged_by_id(reader: asyncpg.Pool) -> None:
    everything = await list_instruments(reader, now=NOW, venue="XNSE")
    first = await list_instruments(reader, now=NOW, venue="XNSE", limit=3)
    rest = await list_instruments(reader, now=NOW, venue="XNSE", after=first[-1].id)
    assert [i.id for i in (*first, *rest)] == [i.id for i in everything]
    assert [i.symbol for i in await list_instruments(reader, now=NOW, symbol="IBM")] == ["IBM"]


async def test_yesterdays_order_validates_on_yesterdays_tick(reader: asyncpg.Pool) -> None:
    instrument = await aapl(reader)
    before, after = datetime(2001, 4, 6, 20, tzinfo=UTC), datetime(2001, 4, 9, 14, tzinfo=UTC)
    assert (await rules_at(reader, instrument, before)).tick == 625
    assert (await rules_at(reader, instrument, after)).tick == 100
    with pytest.raises(DomainError, match="No trading rules"):
        await rules_at(reader, instrument, datetime(1999, 1, 1, tzinfo=UTC))


async def test_a_correction_leaves_what_was_known_before_in_place(reference: asyncpg.Pool) -> None:
    instrument = uuid7()
    await reference.execute(
        "insert into instruments (id, isin, symbol, venue, segment, name, currency, price_exp, qty_exp, source)"
        " values ($1, 'TEST00000001', 'RULES', 'XTST', 'EQ', 'Rules', 'USD', 4, 0, 'test')",
        instrument,
    )
    add = (
        "insert into instrument_rules (id, instrument_id, session_segment, tick, lot, valid_from, source)"
        " values ($1, $2, 'EQ', $3, 1, '2020-01-01Z', 'test')"
    )
    await reference.execute(add, uuid7(), instrument, 500)
    known = await reference.fetchval("select clock_timestamp()")
    async with reference.acquire() as connection, connection.transaction():
        await connection.execute("update instrument_rules set recorded_to = now() where instrument_id = $1", instrument)
        await connection.execute(add, uuid7(), instrument, 100)
    asked = "select tick from instrument_rules_at($1, '2021-01-01Z', $2)"
    assert await reference.fetchval(asked, instrument, known) == 500
    assert await reference.fetchval("select tick from instrument_rules_at($1, '2021-01-01Z')", instrument) == 100
    with pytest.raises(asyncpg.UniqueViolationError):
        await reference.execute(add, uuid7(), instrument, 50)


@pytest.mark.parametrize("column", ["isin", "venue", "currency", "price_exp", "qty_exp"])
async def test_no_role_may_change_identity_or_scale(reference: asyncpg.Pool, reader: asyncpg.Pool, column: str) -> None:
    for pool in (reference, reader):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(f"update instruments set {column} = {column}")


async def test_the_application_role_writes_no_reference_data(reader: asyncpg.Pool) -> None:
    for table in ("instruments", "instrument_rules", "trading_sessions", "bar_series", "last_prices", "feed_state"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(f"delete from {table}")


@pytest.mark.parametrize(
    "asked", ["instrument_for_order($1, now())", "instrument_scale($1)", "market_session_at($1, now())"]
)
async def test_what_orders_ask_is_a_part_of_the_statement_that_asks(reader: asyncpg.Pool, asked: str) -> None:
    """A function that PostgreSQL runs by itself for each row costs as much as the statement around it."""
    instrument = await aapl(reader)
    async with reader.acquire() as connection:
        plan = await connection.fetch(f"explain select * from {asked}", instrument)
    assert not any("Function Scan" in row[0] for row in plan)
    assert any("instruments" in row[0] for row in plan)


async def session(reader: asyncpg.Pool, symbol: str, venue: str, at: datetime) -> asyncpg.Record | None:
    instrument = await find_instrument(reader, symbol, venue, now=NOW)
    return await reader.fetchrow("select * from market_session_at($1, $2)", instrument.id, at)


async def test_the_session_at_a_time_is_the_open_one_or_the_next(reader: asyncpg.Pool) -> None:
    during = await session(reader, "AAPL", "XNAS", datetime(2003, 1, 2, 15, tzinfo=UTC))
    assert during is not None and during["is_open"] and during["day"] == date(2003, 1, 2)
    at_close = await session(reader, "AAPL", "XNAS", datetime(2003, 1, 3, 21, tzinfo=UTC))
    assert at_close is not None and not at_close["is_open"] and at_close["day"] == date(2003, 1, 6)
    assert await session(reader, "AAPL", "XNAS", datetime(2030, 1, 1, tzinfo=UTC)) is None


async def test_a_stock_with_derivatives_stops_earlier_since_august_2026(reader: asyncpg.Pool) -> None:
    after = await session(reader, "RELIANCE", "XNSE", datetime(2026, 8, 3, 5, tzinfo=UTC))
    assert after is not None and after["closes_at"] == datetime(2026, 8, 3, 9, 45, tzinfo=UTC)


async def test_orders_of_a_day_with_two_sessions_live_until_the_second_close(reader: asyncpg.Pool) -> None:
    first = await session(reader, "TCS", "XNSE", datetime(2024, 3, 2, 4, tzinfo=UTC))
    assert first is not None
    assert first["closes_at"] == datetime(2024, 3, 2, 4, 30, tzinfo=UTC)
    assert first["day_closes_at"] == datetime(2024, 3, 2, 7, tzinfo=UTC)


async def test_stored_bars_are_read_back_and_a_split_adjusts_them(reader: asyncpg.Pool, data_dir: Path) -> None:
    instrument = await aapl(reader)
    bars = await load_bars(reader, data_dir, instrument, "1d")
    assert len(bars) == 3270 and not bars.close.flags.writeable
    assert [s.effective_at.date() for s in await splits_of(reader, instrument)] == [
        date(2000, 6, 21),
        date(2005, 2, 28),
    ]

    async def closes(adjustment: str, end: datetime) -> list[int]:
        page = await list_bars(
            reader,
            data_dir,
            instrument_id=instrument,
            interval="1d",
            start=datetime(2005, 2, 25, tzinfo=UTC),
            end=end,
            adjustment=adjustment,
            after=None,
            limit=100,
            now=NOW,
        )
        return list(page.bars.close.tolist())

    after = datetime(2005, 3, 1, tzinfo=UTC)
    assert await closes("raw", after) == [889_900, 448_600]
    assert await closes("split", after) == [444_950, 448_600]
    assert await closes("split", datetime(2005, 2, 26, tzinfo=UTC)) == [889_900]


async def test_pages_of_bars_join_without_gap_or_overlap(reader: asyncpg.Pool, data_dir: Path) -> None:
    instrument, seen, after = await aapl(reader), list[int](), None
    end = datetime(2000, 4, 1, tzinfo=UTC)
    for _ in range(10):
        page = await list_bars(
            reader,
            data_dir,
            instrument_id=instrument,
            interval="1d",
            start=None,
            end=end,
            adjustment="split",
            after=after,
            limit=5,
            now=NOW,
        )
        seen += page.bars.at_us.tolist()
        after = from_us(page.bars.at_us[-1])
        if not page.has_more:
            break
    assert seen == (await load_bars(reader, data_dir, instrument, "1d", end=end)).at_us.tolist()


GOOD = "Date,Open,High,Low,Close,Volume,Adj Close\n2024-01-02,10,12,9.5,11,100,1\n2024-01-03,11,11,11,11,5,1\n"


async def put(reference: asyncpg.Pool, data_dir: Path, file: Path, interval: str = "1d", symbol: str = "TCS") -> object:
    return await import_bars(reference, data_dir, file, symbol=symbol, venue="XNSE", interval=interval, now=NOW)


async def test_an_import_becomes_the_current_series_and_supersedes(
    reference: asyncpg.Pool, data_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tcs.csv"
    file.write_text(GOOD)
    report = await put(reference, data_dir, file)
    assert (report.rows, report.changed) == (2, True)  # type: ignore[attr-defined]
    assert not (await put(reference, data_dir, file)).changed  # type: ignore[attr-defined]
    instrument = (await find_instrument(reference, "TCS", "XNSE", now=NOW)).id
    stored = await load_bars(reference, data_dir, instrument, "1d")
    assert [from_us(at) for at in stored.at_us.tolist()] == [datetime(2024, 1, d, 10, tzinfo=UTC) for d in (2, 3)]
    again = tmp_path / "again.parquet"
    again.write_bytes((data_dir / report.path).read_bytes())  # type: ignore[attr-defined]
    assert not (await put(reference, data_dir, again)).changed  # type: ignore[attr-defined]
    file.write_text(GOOD.replace(",12,", ",13,"))
    assert (await put(reference, data_dir, file)).changed  # type: ignore[attr-defined]
    assert (await load_bars(reference, data_dir, instrument, "1d")).high.tolist() == [130_000, 110_000]
    states = await reference.fetch(
        "select superseded_at is null as current from bar_series where instrument_id = $1 order by id", instrument
    )
    assert [s["current"] for s in states] == [False, True]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", GOOD.replace("9.5", "-1"), "row 1, column low"),
        ("a.csv", GOOD.replace("2024-01-03", "2024-01-02"), "row 2, column at"),
        ("a.csv", GOOD.replace("2024-01-03", "2024-01-06"), "not a trading day"),
        ("a.csv", GOOD.replace("Volume", "Shares"), "column volume is missing"),
        ("a.csv", GOOD.replace("Date", "When"), "no time column"),
        ("a.csv", GOOD.replace("9.5,11,100", "9.5,11"), "row 1 has 6 cells, the header 7"),
        ("a.csv", "", "it is empty"),
        ("a.csv", GOOD.replace("Adj Close", "close"), "column close occurs twice"),
        ("a.csv", GOOD.replace("9.5", '"9.5'), "cannot be read"),
        ("a.csv", "Date,Open,High,Low,Close,Volume\n", "no rows"),
        ("a.parquet", "not parquet", "cannot be read"),
        ("a.txt", GOOD, "use a .csv or .parquet"),
    ],
)
async def test_a_bad_file_is_refused_and_nothing_is_left(
    reference: asyncpg.Pool, data_dir: Path, tmp_path: Path, name: str, content: str, words: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    rows, files = await counts(reference), sorted(p.name for p in (data_dir / "bars").iterdir())
    with pytest.raises(DomainError, match=words):
        await put(reference, data_dir, file, symbol="INFY")
    assert await counts(reference) == rows
    assert sorted(p.name for p in (data_dir / "bars").iterdir()) == files


async def test_parquet_columns_of_floats_and_dates_are_read_exactly(
    reference: asyncpg.Pool, data_dir: Path, tmp_path: Path
) -> None:
    columns = {
        "date": [date(2024, 1, 2), date(2024, 1, 3)],
        "open": [10.1, 0.3],
        "high": [10.1, 0.3],
        "low": [10.1, 0.1 + 0.1],
        "close": [10.1, 0.3],
        "volume": [100.0, 5.0],
    }
    file = tmp_path / "floats.parquet"
    pl.DataFrame(columns).write_parquet(file)
    await put(reference, data_dir, file, symbol="HDFCBANK")
    instrument = (await find_instrument(reference, "HDFCBANK", "XNSE", now=NOW)).id
    bars = await load_bars(reference, data_dir, instrument, "1d")
    assert (bars.open.tolist(), bars.low.tolist(), bars.volume.tolist()) == (
        [101_000, 3_000],
        [101_000, 2_000],
        [100, 5],
    )
    for column, value, words in (("low", float("nan"), "finite"), ("open", 0.1 + 0.2, "decimal places")):
        pl.DataFrame(columns | {column: [10.1, value]}).write_parquet(file)
        with pytest.raises(DomainError, match=f"row 2, column {column}.*{words}"):
            await put(reference, data_dir, file, symbol="HDFCBANK")


async def test_a_missing_file_and_an_unknown_symbol_are_told_apart(
    reference: asyncpg.Pool, data_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(DomainError, match="cannot be read"):
        await put(reference, data_dir, tmp_path / "none.csv")
    with pytest.raises(DomainError, match="No instrument 'NONE'"):
        await put(reference, data_dir, tmp_path / "none.csv", symbol="NONE")
