"""Seeds reference data from the files in `library/`. Idempotent: what is there stays, what is missing is added."""

import csv
from collections import defaultdict
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from app.kernel.ids import derive_id
from app.kernel.money import parse_scaled
from app.market.instruments import repository
from app.market.instruments.domain import Hours, Session, SpecialSession, expand_calendar

LIBRARY = Path(__file__).parent.parent / "library"
_COLUMNS = (
    *("id", "isin", "symbol", "venue", "segment", "name", "currency"),
    *("price_exp", "qty_exp", "listed_on", "delisted_on", "source"),
)


def _rows(name: str) -> list[dict[str, str]]:
    with (LIBRARY / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _midnight(text: str) -> datetime | None:
    return datetime.combine(date.fromisoformat(text), time(), UTC) if text else None


def load_calendar() -> list[Session]:
    """Every session of every venue that the data files describe."""
    hours = [
        Hours(
            venue,
            row["segment"],
            row["kind"],
            row["timezone"],
            time.fromisoformat(row["opens"]),
            time.fromisoformat(row["closes"]),
            date.fromisoformat(row["valid_from"]),
            date.fromisoformat(row["valid_to"]),
            row["source"],
        )
        for row in _rows("hours.csv")
        for venue in row["venues"].split(";")
    ]
    closures: defaultdict[tuple[str, str], set[date]] = defaultdict(set)
    for row in _rows("closures.csv"):
        for venue in row["venues"].split(";"):
            for segment in row["segments"].split(";"):
                closures[venue, segment].add(date.fromisoformat(row["date"]))
    specials = [
        SpecialSession(
            venue,
            segment,
            date.fromisoformat(row["date"]),
            row["kind"],
            time.fromisoformat(row["opens"]),
            time.fromisoformat(row["closes"]),
            row["source"],
        )
        for row in _rows("special_sessions.csv")
        for venue in row["venues"].split(";")
        for segment in row["segments"].split(";")
    ]
    return expand_calendar(hours, {key: frozenset(days) for key, days in closures.items()}, specials)


def instrument_id(isin: str, venue: str) -> UUID:
    """The id of a seeded instrument: a function of its identity, the same in every installation."""
    return derive_id("instrument", isin, venue)


def load_instruments() -> dict[tuple[str, str], dict[str, Any]]:
    """The instruments of the data file by (symbol, venue), with their ids."""
    return {
        (row["symbol"], row["venue"]): {
            **row,
            "id": instrument_id(row["isin"], row["venue"]),
            "price_exp": int(row["price_exp"]),
            "qty_exp": int(row["qty_exp"]),
            "listed_on": _day(row["listed_on"]),
            "delisted_on": _day(row["delisted_on"]),
        }
        for row in _rows("instruments.csv")
    }


async def seed_instruments(reference: asyncpg.Pool) -> None:
    """Add the calendar, instruments, rules and corporate actions that are missing, in one transaction.

    `reference` is a pool of the role `mandi_reference`.
    """
    known = load_instruments()
    async with reference.acquire() as connection, connection.transaction():
        await repository.insert_sessions(connection, load_calendar())
        await repository.insert_instruments(
            connection, [tuple(row[column] for column in _COLUMNS) for row in known.values()]
        )
        await repository.insert_rules(connection, [_rule(row, known) for row in _rows("rules.csv")])
        await repository.insert_actions(connection, [_action(row, known) for row in _rows("corporate_actions.csv")])


def _rule(row: dict[str, str], known: dict[tuple[str, str], dict[str, Any]]) -> tuple[Any, ...]:
    instrument = known[row["symbol"], row["venue"]]
    quantity_exp = instrument["qty_exp"]
    return (
        derive_id("instrument_rule", instrument["id"], row["valid_from"]),
        instrument["id"],
        row["session_segment"],
        _midnight(row["valid_from"]),
        _midnight(row["valid_to"]),
        parse_scaled(row["tick"], instrument["price_exp"], param="tick"),
        parse_scaled(row["lot"], quantity_exp, param="lot"),
        parse_scaled(row["freeze_quantity"], quantity_exp, param="freeze_quantity") if row["freeze_quantity"] else None,
        row["source"],
    )


def _action(row: dict[str, str], known: dict[tuple[str, str], dict[str, Any]]) -> tuple[Any, ...]:
    instrument = known[row["symbol"], row["venue"]]
    return (
        derive_id("corporate_action", instrument["id"], row["kind"], row["ex_date"]),
        instrument["id"],
        row["kind"],
        _day(row["ex_date"]),
        int(row["numerator"]) if row["numerator"] else None,
        int(row["denominator"]) if row["denominator"] else None,
        parse_scaled(row["amount"], instrument["price_exp"], param="amount") if row["amount"] else None,
        row["currency"] or None,
        row["source"],
    )
