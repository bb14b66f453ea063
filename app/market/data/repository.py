"""Where bars and feeds are kept: Parquet files under the data folder, their manifests and the feeds' state in SQL."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np

from app.kernel.errors import DomainError, Kind
from app.market.data.domain import PRICES, Bars, Int64, from_us
from app.market.instruments.ports import Reader

_FILE_COLUMNS = ("at", *PRICES, "volume")


def sha256_of(path: Path) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_parquet(bars: Bars, folder: Path, stem: str) -> tuple[Path, str]:
    """Write `bars` to `folder` under a name that carries the content's hash; `(path, sha256)`.

    The file appears whole or not at all, and the same bars give the same bytes (zstd, no timestamps inside).
    """
    import polars as pl

    frame = pl.DataFrame({name: getattr(bars, "at_us" if name == "at" else name) for name in _FILE_COLUMNS})
    frame = frame.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            frame.write_parquet(
                file,
                compression="zstd",
                compression_level=9,
                statistics=True,
                metadata={"mandi.price_exp": str(bars.price_exp), "mandi.qty_exp": str(bars.qty_exp)},
            )
            file.flush()
            os.fsync(file.fileno())
        digest = sha256_of(Path(temporary))
        os.chmod(temporary, 0o644)
        path = folder / f"{stem}-{digest[:12]}.parquet"
        os.replace(temporary, path)
        return path, digest
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_parquet(path: Path, *, sha256: str, price_exp: int, qty_exp: int) -> Bars:
    """The bars of an immutable file. Raises `bars_corrupt` when the file is missing or its hash differs."""
    import polars as pl

    try:
        digest = sha256_of(path)
    except OSError as error:
        raise _corrupt(path, f"cannot be read ({error.strerror})") from None
    if digest != sha256:
        raise _corrupt(path, "does not have the hash of its manifest")
    frame = pl.read_parquet(path)
    arrays = {name: np.ascontiguousarray(frame[name].cast(pl.Int64).to_numpy()) for name in _FILE_COLUMNS}
    for array in arrays.values():
        array.setflags(write=False)
    return Bars(price_exp, qty_exp, arrays.pop("at"), **arrays)


def read_times(path: Path) -> Int64:
    """The close times of an immutable file, in µs; its hash is not looked at. Raises `bars_corrupt`."""
    import polars as pl

    try:
        frame = pl.read_parquet(path, columns=["at"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _corrupt(path, f"cannot be read ({type(error).__name__})") from None
    return np.ascontiguousarray(frame["at"].cast(pl.Int64).to_numpy())


def _corrupt(path: Path, problem: str) -> DomainError:
    return DomainError(
        "bars_corrupt", Kind.UNAVAILABLE, f"Bar file {path.name} {problem}; restore it or import it again."
    )


async def current_series(reader: Reader, instrument_id: UUID, interval: str) -> asyncpg.Record | None:
    return await reader.fetchrow(
        "SELECT id, path, sha256, rows, first_at, last_at, price_exp, qty_exp FROM bar_series"
        " WHERE instrument_id = $1 AND interval = $2 AND superseded_at IS NULL",
        instrument_id,
        interval,
    )


async def all_series(reader: Reader, interval: str) -> Sequence[asyncpg.Record]:
    """The current series of an interval with their instruments, by symbol and venue."""
    return await reader.fetch(
        "SELECT b.instrument_id, i.symbol, i.venue, i.segment FROM bar_series b JOIN instruments i"
        " ON i.id = b.instrument_id WHERE b.interval = $1 AND b.superseded_at IS NULL ORDER BY i.symbol, i.venue",
        interval,
    )


async def last_prices(reader: Reader, feed: str, instrument_ids: Sequence[UUID]) -> Sequence[asyncpg.Record]:
    """Of those that have a price on the feed: instrument_id, price, market_at."""
    return await reader.fetch(
        "SELECT instrument_id, price, market_at FROM last_prices WHERE feed = $1 AND instrument_id = any($2::uuid[])",
        feed,
        list(instrument_ids),
    )


async def publish_series(reference: asyncpg.Pool, row: dict[str, Any]) -> bool:
    """Make `row` the current series of its instrument and interval. False when it already is."""
    async with reference.acquire() as connection, connection.transaction():
        key = (row["instrument_id"], row["interval"])
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtext('bar_series'), hashtext($1))", f"{key[0]}/{key[1]}"
        )
        current = await current_series(connection, *key)
        if current is not None and current["sha256"] == row["sha256"]:
            return False
        await connection.execute(
            "UPDATE bar_series SET superseded_at = clock_timestamp()"
            " WHERE instrument_id = $1 AND interval = $2 AND superseded_at IS NULL",
            *key,
        )
        names = list(row)
        places = ", ".join(f"${n}" for n in range(1, len(names) + 1))
        await connection.execute(
            f"INSERT INTO bar_series ({', '.join(names)}) VALUES ({places})",  # noqa: S608  # names are ours
            *row.values(),
        )
        return True


def moment(bars: Bars, index: int) -> datetime:
    """The close time of one bar."""
    return from_us(int(bars.at_us[index]))


def last_close(instrument_id: UUID, bars: Bars, at: datetime) -> tuple[UUID, int, date] | None:
    """The close of the last bar up to `at`, with its UTC date; None before the first."""
    past = bars.between(None, at)
    return (instrument_id, int(past.close[-1]), moment(past, -1).date()) if len(past) else None


async def feed_state(reader: Reader, feed: str) -> asyncpg.Record | None:
    return await reader.fetchrow(
        "SELECT feed, interval, market_at, watermark, bars_published, last_stream_id, speed, status, updated_at"
        " FROM feed_state WHERE feed = $1",
        feed,
    )


async def open_feed(reference: asyncpg.Pool, feed: str, interval: str, *, at: datetime, speed: float) -> None:
    """Create the feed's row at market time `at` when it is missing; mark it running at `speed`."""
    await reference.execute(
        """
        INSERT INTO feed_state (feed, interval, market_at, watermark, bars_published, last_stream_id, speed, status)
        VALUES ($1, $2, $3, $3, 0, '0-0', $4, 'running')
        ON CONFLICT (feed) DO UPDATE SET speed = excluded.speed, status = 'running', updated_at = clock_timestamp()
        """,
        feed,
        interval,
        at,
        speed,
    )


async def set_market_time(reference: asyncpg.Pool, feed: str, at: datetime) -> None:
    await reference.execute(
        "UPDATE feed_state SET market_at = $2, updated_at = clock_timestamp() WHERE feed = $1", feed, at
    )


async def set_status(reference: asyncpg.Pool, feed: str, status: str) -> None:
    await reference.execute(
        "UPDATE feed_state SET status = $2, updated_at = clock_timestamp() WHERE feed = $1", feed, status
    )


async def split_last_price(
    reference: asyncpg.Pool,
    feed: str,
    instrument_id: UUID,
    numerator: int,
    denominator: int,
    *,
    at: datetime,
    day: date,
) -> None:
    """Restate a last price by a split of session `day`, half up; a price of that session stays: a repeat is safe."""
    await reference.execute(
        """
        UPDATE last_prices SET price = greatest(1, (2 * price * $4 + $3) / (2 * $3)), market_at = $5,
               session_date = $6, updated_at = clock_timestamp()
        WHERE feed = $1 AND instrument_id = $2 AND session_date < $6
        """,
        feed,
        instrument_id,
        numerator,
        denominator,
        at,
        day,
    )


async def complete_bar(
    reference: asyncpg.Pool,
    feed: str,
    *,
    at: datetime,
    bars: int,
    stream_id: str,
    prices: Sequence[tuple[UUID, int, date]],
) -> None:
    """In one transaction: the last prices of bar time `at`, and the watermark that makes it complete."""
    async with reference.acquire() as connection, connection.transaction():
        await connection.execute(
            """
            INSERT INTO last_prices (feed, instrument_id, price, market_at, session_date)
            SELECT $1, p.instrument_id, p.price, $2, p.session_date
            FROM unnest($3::uuid[], $4::bigint[], $5::date[]) AS p (instrument_id, price, session_date)
            ON CONFLICT (feed, instrument_id) DO UPDATE SET price = excluded.price, market_at = excluded.market_at,
                   session_date = excluded.session_date, updated_at = clock_timestamp()
            """,
            feed,
            at,
            [p[0] for p in prices],
            [p[1] for p in prices],
            [p[2] for p in prices],
        )
        await connection.execute(
            "UPDATE feed_state SET watermark = $2, market_at = $2, bars_published = $3, last_stream_id = $4,"
            " updated_at = clock_timestamp() WHERE feed = $1",
            feed,
            at,
            bars,
            stream_id,
        )
