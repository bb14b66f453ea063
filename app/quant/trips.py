"""Decides what a round trip is: each closing quantity against the oldest open lot (FIFO), net of charges.

Value and charges of a fill are spread over its parts in integers, each part a rounded share of what is left, so the
parts always sum to the fill.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from app.kernel.money import Rounding, divide
from app.kernel.orders import Side
from app.quant.performance import Metric


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill of one instrument: `quantity` unsigned, `notional` and `charges` in minor units."""

    at: datetime
    side: Side
    quantity: int
    notional: int
    charges: int = 0


@dataclass(frozen=True, slots=True)
class UnitSplit:
    """`numerator` new for `denominator` old units; `cash` paid for the fraction, in minor units."""

    at: datetime
    numerator: int
    denominator: int
    cash: int = 0


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """`side`: of the opening fill. `profit` in minor units, net of both fills' `charges`."""

    opened: datetime
    closed: datetime
    side: Side
    quantity: int
    entry: int
    exit: int
    charges: int
    profit: int


@dataclass(slots=True)
class _Part:
    at: datetime
    quantity: int
    notional: int
    charges: int

    def take(self, quantity: int) -> tuple[int, int]:
        notional = divide(self.notional * quantity, self.quantity, Rounding.HALF_UP)
        charges = divide(self.charges * quantity, self.quantity, Rounding.HALF_UP)
        self.quantity, self.notional, self.charges = (
            self.quantity - quantity,
            self.notional - notional,
            self.charges - charges,
        )
        return notional, charges


def round_trips(history: Iterable[Execution | UnitSplit]) -> list[RoundTrip]:
    """The closed trips of one instrument, in the order of closing. `history` must be in time order."""
    trips: list[RoundTrip] = []
    lots: list[_Part] = []
    side = Side.BUY
    for event in history:
        if isinstance(event, UnitSplit):
            lots = _split(lots, event, side)
            continue
        part = _Part(event.at, event.quantity, event.notional, event.charges)
        while lots and event.side is not side and part.quantity:
            size = min(lots[0].quantity, part.quantity)
            trips.append(_trip(lots[0], part, size, side))
            if lots[0].quantity == 0:
                lots.pop(0)
        if part.quantity:
            side = event.side
            lots.append(part)
    return trips


def _trip(lot: _Part, part: _Part, size: int, side: Side) -> RoundTrip:
    entry, entry_charges = lot.take(size)
    exit_, exit_charges = part.take(size)
    charges = entry_charges + exit_charges
    return RoundTrip(lot.at, part.at, side, size, entry, exit_, charges, side.sign * (exit_ - entry) - charges)


def _split(lots: list[_Part], event: UnitSplit, side: Side) -> list[_Part]:
    """Units restated so that they sum to the whole units of the position.

    A lot without units left passes its cost to the next one; the paid fraction lowers the last cost.
    """
    before, done, notional, charges = 0, 0, 0, 0
    kept: list[_Part] = []
    for lot in lots:
        before += lot.quantity
        after = before * event.numerator // event.denominator
        lot.quantity, done = after - done, after
        notional, charges = notional + lot.notional, charges + lot.charges
        if lot.quantity:
            lot.notional, lot.charges, notional, charges = notional, charges, 0, 0
            kept.append(lot)
    if kept:
        kept[-1].notional += notional - side.sign * event.cash
        kept[-1].charges += charges
    return kept


def win_rate(trips: Iterable[RoundTrip]) -> Metric:
    """Share of trips with a profit."""
    profits = [trip.profit for trip in trips]
    if not profits:
        return Metric(None, "no round trip is closed yet")
    return Metric(sum(profit > 0 for profit in profits) / len(profits))


def profit_factor(trips: Iterable[RoundTrip]) -> Metric:
    """Sum of the profits over the sum of the losses."""
    profits = [trip.profit for trip in trips]
    if not profits:
        return Metric(None, "no round trip is closed yet")
    lost = -sum(profit for profit in profits if profit < 0)
    if lost == 0:
        return Metric(None, "no round trip lost money")
    return Metric(sum(profit for profit in profits if profit > 0) / lost)
