"""Decides when a venue trades, and whether a price and a quantity fit an instrument's rules. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from app.kernel.errors import DomainError, invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import format_scaled, format_trimmed

TRADING_KINDS = frozenset({"regular", "early_close", "special", "muhurat"})
"""Sessions of continuous trading. The other kinds are auctions and windows around them."""

PHASE_KINDS = frozenset({"pre_open", "closing_auction", "post_close"})


@dataclass(frozen=True, slots=True)
class Hours:
    """The usual times of one kind of session from `valid_from` to `valid_to` inclusive, in the venue's own time."""

    venue: str
    segment: str
    kind: str
    timezone: str
    opens: time
    closes: time
    valid_from: date
    valid_to: date
    source: str


@dataclass(frozen=True, slots=True)
class SpecialSession:
    """One session of a day whose specials replace the usual hours of that venue and segment altogether."""

    venue: str
    segment: str
    day: date
    kind: str
    opens: time
    closes: time
    source: str


@dataclass(frozen=True, slots=True)
class Session:
    """One session as it is stored: aware UTC times, the venue's own date."""

    venue: str
    segment: str
    day: date
    kind: str
    opens_at: datetime
    closes_at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class Band:
    """The prices that a venue takes from `valid_from` to `valid_to`, at the instrument's `price_exp`; None: no bound.
    `halted`: it takes no orders that add risk."""

    instrument_id: UUID
    lower: int | None
    upper: int | None
    halted: bool
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, slots=True)
class Split:
    """`numerator` new shares for `denominator` old ones, from `effective_at` (the session open of the ex-date)."""

    effective_at: datetime
    numerator: int
    denominator: int


def expand_calendar(
    hours: Sequence[Hours],
    closures: Mapping[tuple[str, str], frozenset[date]],
    specials: Iterable[SpecialSession],
) -> list[Session]:
    """Every session the tables stand for, ordered by venue, segment and opening time.

    Weekends are closed unless a special session says otherwise; a special session beats a closure of the same day.
    """
    zones = {(h.venue, h.segment): ZoneInfo(h.timezone) for h in hours}
    sessions: list[Session] = []
    replaced: set[tuple[str, str, date]] = set()
    for special in specials:
        key = (special.venue, special.segment)
        replaced.add((*key, special.day))
        sessions.append(_session(special, special.day, zones[key]))
    for usual in hours:
        key = (usual.venue, usual.segment)
        closed = closures.get(key, frozenset())
        day = usual.valid_from
        while day <= usual.valid_to:
            if day.weekday() < 5 and day not in closed and (*key, day) not in replaced:
                sessions.append(_session(usual, day, zones[key]))
            day += timedelta(days=1)
    return sorted(sessions, key=lambda s: (s.venue, s.segment, s.opens_at))


def _session(times: Hours | SpecialSession, day: date, zone: ZoneInfo) -> Session:
    opens = datetime.combine(day, times.opens, zone).astimezone(UTC)
    closes = datetime.combine(day, times.closes, zone).astimezone(UTC)
    return Session(times.venue, times.segment, day, times.kind, opens, closes, times.source)


def session_at(sessions: Sequence[Session], at: datetime) -> Session | None:
    """The continuous session that is open at `at`, else the next one, else None. `sessions` of one venue and segment.

    A session is open from its opening time up to, not including, its closing time.
    """
    trading = (s for s in sessions if s.kind in TRADING_KINDS and s.closes_at > at)
    return min(trading, key=lambda s: s.opens_at, default=None)


def check_price(price: int, rules: TradingRules, *, price_exp: int, param: str = "limit_price") -> None:
    """Raises `off_tick` unless `price` (at `price_exp`) is a positive multiple of the tick."""
    if price <= 0:
        raise invalid("invalid_price", f"{param} must be greater than zero.", param=param)
    if price % rules.tick:
        below = price - price % rules.tick
        near = [p for p in (below, below + rules.tick) if p > 0]
        raise invalid(
            "off_tick",
            f"{param} {format_trimmed(price, price_exp)} is not a multiple of the tick "
            f"{format_trimmed(rules.tick, price_exp)}; use {' or '.join(format_trimmed(p, price_exp) for p in near)}.",
            param=param,
        )


def check_quantity(quantity: int, rules: TradingRules, *, qty_exp: int, param: str = "quantity") -> None:
    """Raises `off_lot` or `above_freeze` unless `quantity` (at `qty_exp`) is a positive multiple of the lot."""
    if quantity <= 0:
        raise invalid("invalid_quantity", f"{param} must be greater than zero.", param=param)
    if quantity % rules.lot:
        raise invalid(
            "off_lot",
            f"{param} {format_scaled(quantity, qty_exp)} is not a multiple of the lot "
            f"{format_scaled(rules.lot, qty_exp)}.",
            param=param,
        )
    if rules.freeze_quantity is not None and quantity > rules.freeze_quantity:
        raise invalid(
            "above_freeze",
            f"{param} {format_scaled(quantity, qty_exp)} is above the freeze quantity "
            f"{format_scaled(rules.freeze_quantity, qty_exp)}; send it as several orders.",
            param=param,
        )


def unknown_instrument(symbol: str, venue: str) -> DomainError:
    """The error of a lookup by symbol that found nothing."""
    return invalid(
        "unknown_instrument", f"No instrument {symbol!r} at {venue!r}; GET /v1/instruments lists them.", param="symbol"
    )
