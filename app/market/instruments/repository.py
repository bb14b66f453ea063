"""The SQL of instruments: reads on any connection of `mandi_app`, writes on the role `mandi_reference`."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from app.market.instruments.domain import TRADING_KINDS, Band, Session
from app.market.instruments.ports import Reader

_INSTRUMENT = """
    SELECT i.id, i.isin, i.symbol, i.venue, i.segment, i.name, i.currency, i.price_exp, i.qty_exp,
           i.listed_on, i.delisted_on, r.tick, r.lot, r.freeze_quantity
    FROM instruments i LEFT JOIN LATERAL instrument_rules_at(i.id, $1) r ON true
"""
_PAGE = (
    _INSTRUMENT
    + """
    WHERE ($2::text IS NULL OR i.symbol = $2) AND ($3::text IS NULL OR i.venue = $3) AND ($4::uuid IS NULL OR i.id > $4)
    ORDER BY i.id LIMIT $5
"""
)
_BY_ID = _INSTRUMENT + " WHERE i.id = $2"
_BY_SYMBOL = _INSTRUMENT + " WHERE i.symbol = $2 AND i.venue = $3 ORDER BY i.listed_on DESC NULLS LAST, i.id LIMIT 1"
_BY_SYMBOLS = """
    SELECT DISTINCT ON (i.symbol, i.venue) i.id, i.symbol, i.venue, i.segment, i.price_exp
    FROM unnest($1::text[], $2::text[]) AS asked (symbol, venue) JOIN instruments i USING (symbol, venue)
    ORDER BY i.symbol, i.venue, i.listed_on DESC NULLS LAST, i.id
"""
_END_BANDS = """
    UPDATE instrument_bands b SET recorded_to = clock_timestamp()
    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::boolean[], $6::timestamptz[], $7::timestamptz[])
         AS g (id, instrument_id, lower, upper, halted, valid_from, valid_to)
    WHERE b.instrument_id = g.instrument_id AND b.valid_from = g.valid_from AND b.recorded_to IS NULL
      AND (b.lower, b.upper, b.halted, b.valid_to) IS DISTINCT FROM (g.lower, g.upper, g.halted, g.valid_to)
"""
_ADD_BANDS = """
    WITH added AS (
        INSERT INTO instrument_bands (id, instrument_id, lower, upper, halted, valid_from, valid_to, source)
        SELECT g.*, $8::text
        FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::boolean[], $6::timestamptz[],
                    $7::timestamptz[]) AS g (id, instrument_id, lower, upper, halted, valid_from, valid_to)
        WHERE NOT EXISTS (SELECT FROM instrument_bands b WHERE b.instrument_id = g.instrument_id
                          AND b.valid_from = g.valid_from AND b.recorded_to IS NULL)
        RETURNING 1
    ) SELECT count(*) FROM added
"""
_LOCK_BANDS = "SELECT pg_advisory_xact_lock(hashtext('instrument_bands'))"
_RULES = "SELECT tick, lot, freeze_quantity FROM instrument_rules_at($1, $2)"
_ACTIONS = """
    SELECT a.id, a.instrument_id, a.kind, a.ex_date, a.numerator, a.denominator, a.amount, a.currency, coalesce(
        (SELECT min(s.opens_at) FROM trading_sessions s
         JOIN instruments i ON i.venue = s.venue AND i.segment = s.segment
         WHERE i.id = a.instrument_id AND s.day = a.ex_date AND s.kind = ANY($2)
           AND s.opens_at BETWEEN a.ex_date - interval '1 day' AND a.ex_date + interval '2 days'),
        a.ex_date::timestamp AT TIME ZONE 'UTC') AS effective_at
    FROM corporate_actions a WHERE a.instrument_id = $1 ORDER BY a.ex_date, a.kind DESC, a.id
"""
_SESSIONS = """
    SELECT venue, segment, day, kind, opens_at, closes_at, source FROM trading_sessions
    WHERE venue = $1 AND segment = $2 AND kind = ANY($3) AND closes_at >= $4 AND closes_at <= $5 ORDER BY opens_at
"""
_SESSIONS_OF_DAYS = """
    WITH scopes AS (
        SELECT i.venue, i.segment FROM instruments i
        UNION SELECT i.venue, r.session_segment FROM instruments i JOIN instrument_rules r ON r.instrument_id = i.id
    )
    SELECT s.venue, s.segment, s.day, s.kind, s.opens_at, s.closes_at, s.source
    FROM scopes c JOIN trading_sessions s ON s.venue = c.venue AND s.segment = c.segment
    WHERE s.closes_at BETWEEN $1::date - 2 AND $2::date + 2 AND s.day BETWEEN $1 AND $2 AND s.kind = ANY($3)
    ORDER BY s.opens_at
"""
_TRADING = sorted(TRADING_KINDS)
_BAND = ("instrument_id", "lower", "upper", "halted", "valid_from", "valid_to")


async def page(
    reader: Reader, *, at: datetime, symbol: str | None, venue: str | None, after: UUID | None, limit: int
) -> Sequence[asyncpg.Record]:
    return await reader.fetch(_PAGE, at, symbol, venue, after, limit)


async def by_id(reader: Reader, instrument_id: UUID, *, at: datetime) -> asyncpg.Record | None:
    return await reader.fetchrow(_BY_ID, at, instrument_id)


async def by_symbol(reader: Reader, symbol: str, venue: str, *, at: datetime) -> asyncpg.Record | None:
    return await reader.fetchrow(_BY_SYMBOL, at, symbol, venue)


async def by_symbols(reader: Reader, listings: Sequence[tuple[str, str]]) -> Sequence[asyncpg.Record]:
    """Those of these symbols of venues that are known: id, symbol, venue, segment, price_exp."""
    return await reader.fetch(_BY_SYMBOLS, [symbol for symbol, _ in listings], [venue for _, venue in listings])


async def rules_at(reader: Reader, instrument_id: UUID, at: datetime) -> asyncpg.Record | None:
    return await reader.fetchrow(_RULES, instrument_id, at)


async def actions(reader: Reader, instrument_id: UUID) -> Sequence[asyncpg.Record]:
    """By date, splits first: a dividend of the same day is one of the new shares."""
    return await reader.fetch(_ACTIONS, instrument_id, _TRADING)


async def sessions(reader: Reader, venue: str, segment: str, *, start: datetime, end: datetime) -> list[Session]:
    """Continuous sessions that close from `start` to `end`, by opening time."""
    return [Session(**dict(row)) for row in await reader.fetch(_SESSIONS, venue, segment, _TRADING, start, end)]


async def sessions_of_days(reader: Reader, first: date, last: date) -> list[Session]:
    """Continuous sessions of these days, of every venue's segment in which something trades, by opening time."""
    return [Session(**dict(row)) for row in await reader.fetch(_SESSIONS_OF_DAYS, first, last, _TRADING)]


async def insert_instruments(connection: asyncpg.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    await connection.executemany(
        """
        INSERT INTO instruments (id, isin, symbol, venue, segment, name, currency, price_exp, qty_exp, listed_on,
                                 delisted_on, source)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING
        """,
        list(rows),
    )


async def insert_rules(connection: asyncpg.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    await connection.executemany(
        """
        INSERT INTO instrument_rules (id, instrument_id, session_segment, valid_from, valid_to, tick, lot,
                                      freeze_quantity, source)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
        """,
        list(rows),
    )


async def write_bands(reference: asyncpg.Pool, bands: Sequence[tuple[UUID, Band]], source: str) -> int:
    """Make these what is known from now on, each under its id. Answers how many are new or otherwise than before."""
    columns = [
        [row_id for row_id, _ in bands],
        *([getattr(band, name) for _, band in bands] for name in _BAND),
    ]
    async with reference.acquire() as connection, connection.transaction():
        await connection.execute(_LOCK_BANDS)
        await connection.execute(_END_BANDS, *columns)
        return int(await connection.fetchval(_ADD_BANDS, *columns, source))


async def insert_actions(connection: asyncpg.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    await connection.executemany(
        """
        INSERT INTO corporate_actions (id, instrument_id, kind, ex_date, numerator, denominator, amount, currency,
                                       source)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
        """,
        list(rows),
    )


async def insert_sessions(connection: asyncpg.Connection, sessions: Sequence[Session]) -> None:
    """Add the sessions that are missing; what an operator changed stays."""
    await connection.execute(
        """
        INSERT INTO trading_sessions (venue, segment, day, kind, opens_at, closes_at, source)
        SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                             $7::text[])
        ON CONFLICT DO NOTHING
        """,
        [s.venue for s in sessions],
        [s.segment for s in sessions],
        [s.day for s in sessions],
        [s.kind for s in sessions],
        [s.opens_at for s in sessions],
        [s.closes_at for s in sessions],
        [s.source for s in sessions],
    )


async def calendar_days(reader: Reader, venue: str, segment: str) -> dict[date, datetime]:
    """The close of each trading day: of its last continuous session."""
    rows = await reader.fetch(
        "SELECT day, max(closes_at) AS closes_at FROM trading_sessions"
        " WHERE venue = $1 AND segment = $2 AND kind = ANY($3) GROUP BY day",
        venue,
        segment,
        _TRADING,
    )
    return {row["day"]: row["closes_at"] for row in rows}


async def papers(reader: Reader, isins: Sequence[str], instrument_ids: Sequence[UUID]) -> Sequence[asyncpg.Record]:
    """Of these ISINs, or of the ISIN of these instruments: every instrument, by id."""
    return await reader.fetch(
        "SELECT id, isin, currency, price_exp, qty_exp FROM instruments WHERE isin = ANY ($1)"
        " OR isin IN (SELECT o.isin FROM instruments o WHERE o.id = ANY ($2)) ORDER BY id",
        list(isins),
        list(instrument_ids),
    )


async def scales(reader: Reader, instrument_ids: Sequence[UUID]) -> Sequence[asyncpg.Record]:
    return await reader.fetch(
        "SELECT id AS instrument_id, symbol, venue, currency, price_exp, qty_exp FROM instruments WHERE id = ANY ($1)",
        list(instrument_ids),
    )
