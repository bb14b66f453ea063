"""Decides how charges are computed: a schedule is dated rates as data, and one interpreter of integers reads them.

Each head is worked out exactly to 10^-8 of a minor unit (`FINE`), summed over the trades of one contract note, and
only then rounded, half up, to the head's own unit: 1 for a paisa or a cent, 100 for a whole rupee. Brokerage limits
apply per trade, so pass one trade per executed order. `charges` is the note of a single trade.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import IntEnum
from functools import cache

from app.engine.layout import FINE, RATE
from app.kernel.errors import invalid, not_found
from app.kernel.money import Rounding, divide
from app.kernel.orders import Product, Side

BOTH = (Side.BUY, Side.SELL)
ALL = tuple(Product)


class Base(IntEnum):
    """What a rate multiplies. NOTIONAL: the trade's value. UNITS: whole units traded (the rate is in minor units).
    HEADS: the sum of the heads named in `of`, unrounded (a tax on fees). FLAT: one per trade (rate in minor units)."""

    NOTIONAL = 0
    UNITS = 1
    HEADS = 2
    FLAT = 3


@dataclass(frozen=True, slots=True)
class Rate:
    """One dated row of one head. `since` included, `until` excluded. Limits in minor units, per trade.

    `limit_notional` caps the amount at this share of the notional (scale `RATE`), after the minimum. `exercise`: the
    row is for exercised options alone, whose notional is their worth at expiry and whose side does not matter.
    """

    head: str
    base: Base
    rate: int
    sides: tuple[Side, ...] = BOTH
    products: tuple[Product, ...] = ALL
    minimum: int = 0
    maximum: int | None = None
    limit_notional: int | None = None
    of: tuple[str, ...] = ()
    since: date = date.min
    until: date = date.max
    exercise: bool = False

    def applies(self, side: Side, product: Product, on: date, exercise: bool = False) -> bool:
        if not self.since <= on < self.until or product not in self.products or self.exercise is not exercise:
            return False
        return exercise or side in self.sides


@dataclass(frozen=True, slots=True)
class Trade:
    """What charges depend on. `notional` in minor units, unsigned; `quantity` unsigned, in whole units × 10^qty_exp.

    `exercise`: no trade, but a long option exercised at expiry.
    """

    notional: int
    quantity: int
    side: Side
    product: Product
    on: date
    qty_exp: int = 0
    exercise: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    name: str
    minor: int


@dataclass(frozen=True, slots=True)
class Charges:
    heads: tuple[Head, ...]

    @property
    def total(self) -> int:
        """Minor units."""
        return sum(head.minor for head in self.heads)

    def as_dict(self) -> dict[str, int]:
        return {head.name: head.minor for head in self.heads}


@dataclass(frozen=True, slots=True)
class Schedule:
    """A plug-in of `app/engine/charges`. `currency` None: any. `heads` maps each head to its rounding unit in minor
    units, in contract-note order; a HEADS row may name only heads that stand before it."""

    name: str
    title: str
    currency: str | None
    heads: dict[str, int]
    rates: tuple[Rate, ...]
    sources: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        order = list(self.heads)
        for row in self.rates:
            if row.head not in self.heads:
                raise ValueError(f"{self.name}: a rate names the unknown head {row.head!r}")
            if any(name not in order[: order.index(row.head)] for name in row.of):
                raise ValueError(f"{self.name}: {row.head!r} may only build on heads before it")

    def covers(self, on: date) -> bool:
        """False before the first dated rate: the schedule knows nothing of that time."""
        return not self.rates or any(row.since <= on < row.until for row in self.rates)

    def trading_from(self, on: date) -> "Schedule":
        """The same for a run that trades from `on`: the history before it needs no rates, as nothing trades there."""
        if not self.rates:
            return self
        return replace(self, rates=(*self.rates, Rate(next(iter(self.heads)), Base.FLAT, 0, until=on)))


def charges(
    schedule: Schedule, *, notional: int, quantity: int, side: Side, product: Product, on: date, qty_exp: int = 0
) -> Charges:
    """The heads of one executed order, in minor units. `on` is the trade date at the venue."""
    return note(schedule, [Trade(notional, quantity, side, product, on, qty_exp)])


def note(schedule: Schedule, trades: Sequence[Trade]) -> Charges:
    """The heads of one contract note (one client's trades of a day), each rounded once. Raises `charges_unknown`."""
    fine = dict.fromkeys(schedule.heads, 0)
    for trade in trades:
        if not schedule.covers(trade.on):
            raise invalid("charges_unknown", f"The schedule {schedule.name!r} has no rates for {trade.on}.", param="on")
        for name, amount in _fine_heads(schedule, trade).items():
            fine[name] += amount
    return Charges(
        tuple(Head(n, divide(fine[n], FINE * unit, Rounding.HALF_UP) * unit) for n, unit in schedule.heads.items())
    )


def _fine_heads(schedule: Schedule, trade: Trade) -> dict[str, int]:
    amounts = dict.fromkeys(schedule.heads, 0)
    for row in schedule.rates:
        if row.applies(trade.side, trade.product, trade.on, trade.exercise):
            amounts[row.head] += _fine_amount(row, trade, amounts)
    return amounts


def _fine_amount(row: Rate, trade: Trade, amounts: dict[str, int]) -> int:
    match row.base:
        case Base.NOTIONAL:
            amount = divide(trade.notional * row.rate, RATE // FINE, Rounding.HALF_UP)
        case Base.UNITS:
            amount = divide(trade.quantity * row.rate, 10**trade.qty_exp * (RATE // FINE), Rounding.HALF_UP)
        case Base.HEADS:
            amount = divide(sum(amounts[name] for name in row.of) * row.rate, RATE, Rounding.HALF_UP)
        case Base.FLAT:
            amount = divide(row.rate, RATE // FINE, Rounding.HALF_UP)
    amount = max(amount, row.minimum * FINE)
    if row.maximum is not None:
        amount = min(amount, row.maximum * FINE)
    if row.limit_notional is not None:
        amount = min(amount, divide(trade.notional * row.limit_notional, RATE // FINE, Rounding.HALF_UP))
    return amount


@cache
def schedules() -> dict[str, Schedule]:
    """Every charge schedule installed, by name."""
    from app.kernel.plugins import discover

    return discover("app.engine.charges")


def schedule_named(name: str) -> Schedule:
    """Raises `charge_schedule_not_found`."""
    found = schedules().get(name)
    if found is None:
        raise not_found("charge_schedule", name)
    return found
