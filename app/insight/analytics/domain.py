"""Decides how an account's history becomes an equity curve, and what is measured on it. Pure, exact integers.

The equity of a day is the cash of the ledger at the close, plus every position at that close; both in market time. An
instrument without a bar that day counts at its last close, restated by splits since. Cash follows the ledger alone:
fills and corporate actions here change quantities, and the ledger has booked what they moved.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

from app.kernel.money import Rounding, divide
from app.kernel.orders import Product, Side
from app.market.data.domain import Bars, from_us
from app.quant.performance import Metric, Performance, performance
from app.quant.trips import Execution, RoundTrip, UnitSplit, profit_factor, round_trips, win_rate

EXTERNAL = frozenset({"funding", "deposit", "withdrawal", "transfer"})
"""Kinds of ledger transactions that bring money in or take it out: no profit, no loss."""
_INDEX = 10**15
_INSTANT = timedelta(microseconds=1)

Position = tuple[UUID, UUID, Product]
"""A book's position: the book, the instrument, and what it is held as."""

_Event = tuple[datetime, int, Execution | UnitSplit]


@dataclass(frozen=True, slots=True)
class CashEntry:
    """What moved the account's cash: `amount` in minor units, `kind` as the ledger names it."""

    at: datetime
    kind: str
    amount: int


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill: unsigned `quantity` at `qty_exp`, `notional` and `charges` in minor units."""

    at: datetime
    book_id: UUID
    instrument_id: UUID
    product: Product
    side: Side
    quantity: int
    notional: int
    charges: int

    @property
    def position(self) -> Position:
        return self.book_id, self.instrument_id, self.product


@dataclass(frozen=True, slots=True)
class Action:
    """A corporate action as it was applied to a position; a dividend has no ratio and changes no quantity."""

    at: datetime
    book_id: UUID
    instrument_id: UUID
    product: Product
    numerator: int | None
    denominator: int | None
    before: int
    after: int
    cash: int

    @property
    def position(self) -> Position:
        return self.book_id, self.instrument_id, self.product


@dataclass(frozen=True, slots=True)
class History:
    """One account's past, in any order. `bars`: daily, raw, of every instrument it traded."""

    cash: Sequence[CashEntry]
    trades: Sequence[Trade]
    actions: Sequence[Action]
    bars: Mapping[UUID, Bars]
    money_exp: int


@dataclass(frozen=True, slots=True)
class Point:
    """Equity and, of it, cash at the close of `day`, in minor units. `flow`: what came in or left since the point
    before, apart from trading."""

    day: date
    equity: int
    cash: int
    flow: int = 0


@dataclass(frozen=True, slots=True)
class Curve:
    """`initial` equity at `start`, then one point a trading day."""

    start: datetime
    initial: int
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Assessment:
    """The curve and what is measured on it. `trades`: closed round trips, `charges` of all fills in minor units."""

    curve: Curve
    performance: Performance
    win_rate: Metric
    profit_factor: Metric
    trades: int
    charges: int


def beginning(history: History, as_of: datetime) -> datetime:
    """When the account's curve begins: its first money, or just before its first fill.

    Money that the wall clock dated behind the feed's clock cannot tell when it came; it was there from the beginning.
    """
    moments = [entry.at for entry in history.cash] + [trade.at - _INSTANT for trade in history.trades]
    return min([*moments, as_of])


def assess(history: History, *, as_of: datetime, since: datetime | None = None) -> Assessment:
    """Judge what happened from `since` (the beginning, by default) to `as_of`, the feed's watermark."""
    start = max(since, beginning(history, as_of)) if since else beginning(history, as_of)
    curve = equity_curve(history, start=min(start, as_of), as_of=as_of)
    trades = [trade for trade in history.trades if start < trade.at <= as_of]
    trips = trips_of(history, as_of=as_of)
    closed = [trip for trip in trips if trip.closed > start]
    return Assessment(
        curve=curve,
        performance=performance(
            curve.initial, returns_curve(curve), [point.day for point in curve.points], start=start.date()
        ),
        win_rate=win_rate(closed),
        profit_factor=profit_factor(closed),
        trades=len(closed),
        charges=sum(trade.charges for trade in trades),
    )


def equity_curve(history: History, *, start: datetime, as_of: datetime) -> Curve:
    """The equity at every close after `start`, up to and with `as_of`."""
    book = _Book(history.money_exp)
    events: list[tuple[datetime, int, CashEntry | Trade | Action]] = sorted(
        [
            *((start if entry.kind in EXTERNAL and entry.at > as_of else entry.at, 0, entry) for entry in history.cash),
            *((action.at, 1, action) for action in history.actions),
            *((trade.at, 2, trade) for trade in history.trades),
        ],
        key=lambda event: event[:2],
    )
    closes = _closes(history.bars, as_of)
    position, initial, points = 0, None, []
    for at in sorted({*closes, start}):
        if initial is None and at > start:
            continue
        while position < len(events) and events[position][0] <= at:
            book.take(events[position][2])
            position += 1
        for instrument_id, price in closes.get(at, ()):
            book.closes[instrument_id] = price, 1
        if at == start:
            initial, book.flow = book.equity(history.bars), 0
        elif at > start:
            points.append(Point(at.date(), book.equity(history.bars), book.cash, book.flow))
            book.flow = 0
    return Curve(start, initial or 0, points)


def _closes(bars: Mapping[UUID, Bars], as_of: datetime) -> dict[datetime, list[tuple[UUID, int]]]:
    found: dict[datetime, list[tuple[UUID, int]]] = {}
    for instrument_id, series in bars.items():
        known = series.between(None, as_of)
        for at_us, close in zip(known.at_us.tolist(), known.close.tolist(), strict=True):
            found.setdefault(from_us(at_us), []).append((instrument_id, close))
    return found


@dataclass(slots=True)
class _Book:
    money_exp: int
    cash: int = 0
    flow: int = 0
    held: dict[Position, int] = field(default_factory=dict)
    closes: dict[UUID, tuple[int, int]] = field(default_factory=dict)
    restated: dict[UUID, datetime] = field(default_factory=dict)

    def take(self, event: CashEntry | Trade | Action) -> None:
        if isinstance(event, CashEntry):
            self.cash += event.amount
            self.flow += event.amount if event.kind in EXTERNAL else 0
            return
        key = event.position
        if isinstance(event, Trade):
            self.held[key] = self.held.get(key, 0) + event.side.sign * event.quantity
            return
        self.held[key] = self.held.get(key, 0) + event.after - event.before
        # once an instrument, however many positions there were
        if event.numerator and event.denominator and self.restated.get(event.instrument_id) != event.at:
            self.restated[event.instrument_id] = event.at
            if event.instrument_id in self.closes:
                price, unit = self.closes[event.instrument_id]
                self.closes[event.instrument_id] = price * event.denominator, unit * event.numerator

    def equity(self, bars: Mapping[UUID, Bars]) -> int:
        """Each position rounded once, half up, as `portfolio` does."""
        total = self.cash
        for (_, instrument_id, _), quantity in self.held.items():
            if quantity and instrument_id in self.closes:
                price, unit = self.closes[instrument_id]
                shift = bars[instrument_id].price_exp + bars[instrument_id].qty_exp - self.money_exp
                up, down = (1, 10**shift) if shift >= 0 else (10**-shift, 1)
                total += divide(quantity * price * up, unit * down, Rounding.HALF_UP)
        return total


def returns_curve(curve: Curve) -> list[int]:
    """The curve to judge: the equity itself, or, when money came or left on the way, an index of time-weighted returns.

    A flow counts at the end of its day, so it earns from the next one on (GIPS calls it the end-of-day assumption).
    """
    if not any(point.flow for point in curve.points):
        return [point.equity for point in curve.points]
    index, before, found = _INDEX, curve.initial, []
    for point in curve.points:
        index = index * (point.equity - point.flow) // before if before else 0
        before = point.equity
        found.append(divide(curve.initial * index, _INDEX, Rounding.HALF_UP))
    return found


def trips_of(history: History, *, as_of: datetime) -> list[RoundTrip]:
    """The closed round trips of every position, in the order of closing: what is held for delivery is not closed by a
    sale of the same shares intraday."""
    positions: dict[Position, list[_Event]] = {}
    for action in history.actions:
        if action.numerator and action.denominator:
            split = UnitSplit(action.at, action.numerator, action.denominator, action.cash)
            positions.setdefault(action.position, []).append((action.at, 0, split))
    for trade in history.trades:
        execution = Execution(trade.at, trade.side, trade.quantity, trade.notional, trade.charges)
        positions.setdefault(trade.position, []).append((trade.at, 1, execution))
    return sorted(_trips(positions.values(), as_of), key=lambda trip: trip.closed)


def _trips(positions: Iterable[list[_Event]], as_of: datetime) -> Iterable[RoundTrip]:
    for events in positions:
        known = sorted((event for event in events if event[0] <= as_of), key=lambda event: event[:2])
        yield from round_trips(event for *_, event in known)
