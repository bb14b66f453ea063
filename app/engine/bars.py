"""Decides what the engine reads: aligned integer bars of several instruments, and the dated events between them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from app.engine.columns import EVENT, Event, Kind
from app.engine.layout import FIELDS, PRICE_LIMIT, Field
from app.kernel.errors import invalid

Int64 = npt.NDArray[np.int64]
EPOCH = date(1970, 1, 1).toordinal()


def day_number(on: date) -> int:
    """Days since 1970-01-01."""
    return on.toordinal() - EPOCH


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed bars on one grid of close times, one row per time and one slot per instrument.

    `times` i8 (rows,): close times in µs since the epoch (UTC), strictly rising. `days` i8 (rows,): the venue's trading
    date as days since 1970-01-01, never falling. `fields` i8 (FIELDS, slots, rows): open, high, low, close at each
    slot's `price_exp`, volume at its `qty_exp`. `valid` u1 (slots, rows): 0 where the bar is missing.
    """

    times: Int64
    days: Int64
    fields: Int64
    valid: npt.NDArray[np.uint8]
    checked: bool = field(default=False, init=False, compare=False, repr=False)

    @property
    def rows(self) -> int:
        return int(self.times.shape[0])

    @property
    def slots(self) -> int:
        return int(self.valid.shape[0])

    def check(self) -> "Bars":
        """Itself, its arrays read-only from now on, or `invalid_bars` naming what, slot and row."""
        if self.checked:
            return self
        rows, slots = self.rows, self.slots
        if self.fields.shape != (FIELDS, slots, rows) or self.valid.shape != (slots, rows) or len(self.days) != rows:
            raise invalid("invalid_bars", "fields, valid, times and days must agree in shape.", param="bars")
        for name in ("times", "days", "fields"):
            if getattr(self, name).dtype != np.int64:
                raise invalid("invalid_bars", f"{name} must be int64.", param=f"bars.{name}")
        if self.valid.dtype != np.uint8:
            raise invalid("invalid_bars", "valid must be uint8.", param="bars.valid")
        from app.engine.kernels import native

        found = np.zeros(2, np.int64)
        arrays = (np.ascontiguousarray(one) for one in (self.times, self.days, self.fields, self.valid))
        what = native.bind("fault", *arrays, found)()
        if what:
            slot, row = found.tolist()
            name, reason = _FAULTS[what]
            place = f"row {row}" if name in ("times", "days") else f"row {row}, slot {slot}"
            raise invalid("invalid_bars", f"{reason} ({place}).", param=f"bars.{name}")
        for name in ("times", "days", "fields", "valid"):
            kept = np.ascontiguousarray(getattr(self, name)).view()
            kept.flags.writeable = False
            object.__setattr__(self, name, kept)
        object.__setattr__(self, "checked", True)
        return self


_FAULTS = {  # as `app.engine.kernels.checking` numbers them
    1: ("times", "close times must rise strictly"),
    2: ("days", "trading dates must not fall"),
    3: ("fields.low", "prices must be positive"),
    4: ("fields.low", "the low lies above open or close"),
    5: ("fields.high", "the high lies below open or close"),
    6: ("fields.high", f"prices must lie below {PRICE_LIMIT}"),
    7: ("fields.volume", "volume is out of range"),
}


def align(series: Iterable[dict[str, Any]]) -> Bars:
    """Put several instruments on the union of their close times.

    Each item: `times`, `days`, `open`, `high`, `low`, `close`, `volume`, one-dimensional and of equal length, times in
    µs. Where an instrument has no bar at a time, it is missing there.
    """
    items = [{name: np.asarray(values, dtype=np.int64) for name, values in one.items()} for one in series]
    for slot, item in enumerate(items):
        falls = np.flatnonzero(item["times"][1:] <= item["times"][:-1])
        if len(falls):
            reason = f"close times must rise strictly (row {falls[0]})."
            raise invalid("invalid_bars", reason, param=f"bars[{slot}].times")
    times = _union([item["times"] for item in items])
    days = np.zeros(len(times), np.int64)
    fields = np.zeros((FIELDS, len(items), len(times)), np.int64)
    valid = np.zeros((len(items), len(times)), np.uint8)
    for slot, item in enumerate(items):
        # Where nothing is missing, whole columns are copied: no table of places is needed.
        at = slice(None) if len(item["times"]) == len(times) else np.searchsorted(times, item["times"])
        days[at] = item["days"]
        valid[slot, at] = 1
        for column in Field:
            fields[column, slot, at] = item[column.name.lower()]
    return Bars(times, days, fields, valid).check()


def _union(columns: list[Int64]) -> Int64:
    """All the times there are, rising."""
    if all(np.array_equal(one, columns[0]) for one in columns[1:]):
        return columns[0].copy() if columns else np.empty(0, np.int64)
    return np.unique(np.concatenate(columns))


@dataclass(frozen=True, slots=True)
class Split:
    """`numerator` new for `denominator` old units, before the first price of row `row`."""

    row: int
    slot: int
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Dividend:
    """`amount` per unit at `price_exp`, before the first price of row `row` (the ex-date)."""

    row: int
    slot: int
    amount: int


@dataclass(frozen=True, slots=True)
class SessionClose:
    """After the bar of row `row`: DAY orders of the slot expire (None: of every slot)."""

    row: int
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Expiry:
    """After the bar of row `row` a contract is settled in cash and trades no more.

    `price`: of settlement, at `price_exp`; of an option what it is worth then, 0 for nothing. None: the bar's close, or
    the last one where the bar is missing.
    """

    row: int
    slot: int
    price: int | None = None


AnyEvent = Split | Dividend | SessionClose | Expiry


def session_ends(bars: Bars) -> Int64:
    """The `timeline` of one close after the last row of each trading date."""
    from app.engine.kernels import native

    dates = min(bars.rows, int(bars.days[-1] - bars.days[0]) + 1) if bars.rows else 0
    rows = np.zeros(dates, np.int64)
    rows = rows[: native.bind("day_ends", bars.days, rows)()]
    found = np.zeros((len(rows), EVENT), np.int64)
    found[:, Event.ROW], found[:, Event.KIND], found[:, Event.SLOT] = rows, Kind.SESSION_CLOSE, -1
    return found


def timeline(bars: Bars, events: Iterable[AnyEvent]) -> Int64:
    """The one event timeline, i8 (events, EVENT), sorted by row and by `layout.Kind` within a row.

    Bars are not stored: every row has one, after the actions of the row. Raises `invalid_event`.
    """
    found = [_encode(event, bars) for event in events]
    found.sort()
    return np.array(found, dtype=np.int64).reshape(len(found), EVENT)


def _encode(event: AnyEvent, bars: Bars) -> tuple[int, ...]:
    if not 0 <= event.row < bars.rows:
        raise invalid("invalid_event", f"{event} lies outside the {bars.rows} bars.", param="events")
    if event.slot is not None and not 0 <= event.slot < bars.slots:
        raise invalid("invalid_event", f"{event} names a slot that does not exist.", param="events")
    kind, a, b = Kind.SESSION_CLOSE, 0, 0
    match event:
        case Split(numerator=numerator, denominator=denominator):
            if not (0 < numerator < 2**31 and 0 < denominator < 2**31):
                raise invalid("invalid_event", f"{event} needs a positive ratio.", param="events")
            kind, a, b = Kind.SPLIT, numerator, denominator
        case Dividend(amount=amount):
            if not 0 <= amount < PRICE_LIMIT:
                raise invalid("invalid_event", f"{event} has an amount out of range.", param="events")
            kind, a = Kind.DIVIDEND, amount
        case Expiry(price=price):
            if price is not None and not 0 <= price < PRICE_LIMIT:
                raise invalid("invalid_event", f"{event} has a price out of range.", param="events")
            kind, a = Kind.EXPIRY, -1 if price is None else price
    return event.row, int(kind), -1 if event.slot is None else event.slot, a, b  # as `layout.Event`
