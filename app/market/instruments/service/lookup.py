"""Reads of reference data. Every function takes a `Reader`: a `Tx`, a pool or a connection."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import asyncpg

from app.kernel.errors import conflict, invalid, not_found
from app.kernel.ids import encode_id
from app.kernel.instrument import InstrumentScale, TradingRules
from app.market.instruments import repository
from app.market.instruments.domain import Session, Split, unknown_instrument
from app.market.instruments.ports import Reader

PREFIX = "ins"
_known: dict[UUID, InstrumentScale] = {}


@dataclass(frozen=True, slots=True)
class InstrumentView:
    """An instrument and the rules in force at the time that was asked for; `rules` is None outside their dates."""

    id: UUID
    isin: str
    symbol: str
    venue: str
    segment: str
    name: str
    currency: str
    price_exp: int
    qty_exp: int
    listed_on: date | None
    delisted_on: date | None
    rules: TradingRules | None

    @property
    def scale(self) -> InstrumentScale:
        return InstrumentScale(self.id, self.symbol, self.venue, self.currency, self.price_exp, self.qty_exp)


def _view(row: asyncpg.Record) -> InstrumentView:
    fields = dict(row)
    tick, lot, freeze = fields.pop("tick"), fields.pop("lot"), fields.pop("freeze_quantity")
    return InstrumentView(**fields, rules=None if tick is None else TradingRules(tick, lot, freeze))


async def list_instruments(
    reader: Reader,
    *,
    now: datetime,
    symbol: str | None = None,
    venue: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[InstrumentView]:
    """Instruments by id, at most `limit`, after the id `after`; rules as of `now`."""
    rows = await repository.page(reader, at=now, symbol=symbol, venue=venue, after=after, limit=limit)
    return [_view(row) for row in rows]


async def get_instrument(reader: Reader, instrument_id: UUID, *, now: datetime) -> InstrumentView:
    """The instrument with this id, rules as of `now`. Raises `instrument_not_found`."""
    row = await repository.by_id(reader, instrument_id, at=now)
    if row is None:
        raise not_found("instrument", encode_id(PREFIX, instrument_id))
    return _view(row)


async def find_instrument(reader: Reader, symbol: str, venue: str, *, now: datetime) -> InstrumentView:
    """The instrument with this symbol at this venue (an ISO 10383 code). Raises `unknown_instrument`."""
    row = await repository.by_symbol(reader, symbol, venue, at=now)
    if row is None:
        raise unknown_instrument(symbol, venue)
    return _view(row)


async def rules_at(reader: Reader, instrument_id: UUID, at: datetime) -> TradingRules:
    """Tick, lot and freeze quantity in force at `at`. Raises `no_rules` when none are on record."""
    row = await repository.rules_at(reader, instrument_id, at)
    if row is None:
        raise conflict("no_rules", f"No trading rules are on record for this instrument at {at.isoformat()}.")
    return TradingRules(row["tick"], row["lot"], row["freeze_quantity"])


async def scales_of(reader: Reader, instrument_ids: Sequence[UUID]) -> dict[UUID, InstrumentScale]:
    """Symbol, venue, currency and exponents of each instrument that exists."""
    return {row["instrument_id"]: InstrumentScale(**row) for row in await repository.scales(reader, instrument_ids)}


async def papers_of(reader: Reader, isins: Sequence[str], instrument_ids: Sequence[UUID]) -> Sequence[asyncpg.Record]:
    """Rows (id, isin, currency, price_exp, qty_exp) of all instruments that share an ISIN with these, by id."""
    return await repository.papers(reader, isins, instrument_ids)


async def scale_of(reader: Reader, instrument_id: UUID) -> InstrumentScale:
    """One instrument's scale, read once per process: it is fixed for life (its symbol is not). Raises
    `unknown_instrument`."""
    if instrument_id not in _known:
        found = await scales_of(reader, [instrument_id])
        if not found:
            raise invalid(
                "unknown_instrument", "No instrument has this id; see GET /v1/instruments.", param="instrument_id"
            )
        _known.update(found)
    return _known[instrument_id]


async def splits_of(reader: Reader, instrument_id: UUID) -> list[Split]:
    """The instrument's splits by date, effective from the session open of the ex-date."""
    rows = await repository.actions(reader, instrument_id)
    return [Split(r["effective_at"], r["numerator"], r["denominator"]) for r in rows if r["kind"] == "split"]


async def corporate_actions(reader: Reader, instrument_id: UUID) -> Sequence[asyncpg.Record]:
    """Rows (id, instrument_id, kind, ex_date, numerator, denominator, amount, currency, effective_at), in order."""
    return await repository.actions(reader, instrument_id)


async def trading_sessions(
    reader: Reader, venue: str, segment: str, *, start: datetime, end: datetime
) -> list[Session]:
    """Continuous sessions that close from `start` to `end`, oldest first."""
    return await repository.sessions(reader, venue, segment, start=start, end=end)


async def sessions_of_days(reader: Reader, first: date, last: date) -> list[Session]:
    """Continuous sessions of the days from `first` to `last`, wherever something trades, by opening time."""
    return await repository.sessions_of_days(reader, first, last)


async def trading_days(reader: Reader, venue: str, segment: str) -> dict[date, datetime]:
    """The close of every trading day of a venue's segment."""
    return await repository.calendar_days(reader, venue, segment)
