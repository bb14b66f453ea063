"""Turns a charge schedule into the rows that kernels read, and refuses one that does not fit the run."""

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np

from app.engine.bars import EPOCH, AnyEvent, Bars, Expiry, Int64
from app.engine.columns import RATE_COLUMNS, RateColumn
from app.engine.instruments import Instrument
from app.engine.schedule import Schedule
from app.kernel.errors import invalid
from app.kernel.orders import Product, Side

NEVER = 2**40
EXERCISE = 4


def rate_table(schedule: Schedule, currency: str, bars: Bars) -> tuple[Int64, Int64]:
    """Rows i8 (rates, RATE_COLUMNS) and each head's rounding unit i8 (heads,). Raises `charges_unknown`."""
    if schedule.currency not in (None, currency):
        raise invalid(
            "charges_unknown", f"{schedule.name!r} charges {schedule.currency}, not {currency}.", param="charges"
        )
    rows = _rows(schedule, bars)
    if schedule.rates and not _covers(rows, bars.days):
        raise invalid("charges_unknown", f"{schedule.name!r} has no rates for some of the dates.", param="charges")
    return rows, np.array(list(schedule.heads.values()), np.int64).reshape(-1)


def _covers(rows: Int64, days: Int64) -> bool:
    """Does each of the days, which never fall, lie within some rate? Mostly they all lie within one."""
    since, until = rows[:, RateColumn.SINCE, None], rows[:, RateColumn.UNTIL, None]
    if len(days) == 0 or ((since <= days[0]) & (days[-1] < until)).any():
        return True
    return bool(((since <= days) & (days < until)).any(axis=0).all())


def check_exercise(
    schedule: Schedule, instruments: Sequence[Instrument], bars: Bars, events: Iterable[AnyEvent]
) -> None:
    """Raises `charges_unknown` for an option that may be exercised before the schedule knows what that costs."""
    rows = [row for row in schedule.rates if row.exercise]
    for event in events:
        if not rows or not isinstance(event, Expiry) or event.price == 0 or instruments[event.slot].kind != "option":
            continue
        on = date.fromordinal(int(bars.days[event.row]) + EPOCH)
        if not any(row.since <= on < row.until for row in rows):
            reason = f"{schedule.name!r} does not know what an exercise cost on {on}; close before, without an expiry."
            raise invalid("charges_unknown", reason, param="charges")


def _rows(schedule: Schedule, bars: Bars) -> Int64:
    """The rates that hold on one of the bars' dates: a fill looks at every row, and a history has many."""
    first, last = (int(bars.days[0]) + EPOCH, int(bars.days[-1]) + EPOCH) if bars.rows else (0, 0)
    names = list(schedule.heads)
    rows = [
        (
            names.index(row.head),
            int(row.base),
            row.rate,
            EXERCISE if row.exercise else sum(1 << list(Side).index(side) for side in row.sides),
            sum(1 << list(Product).index(product) for product in row.products),
            row.minimum,
            -1 if row.maximum is None else row.maximum,
            -1 if row.limit_notional is None else row.limit_notional,
            sum(1 << names.index(name) for name in row.of),
            max(row.since.toordinal() - EPOCH, -NEVER),
            min(row.until.toordinal() - EPOCH, NEVER),
        )
        for row in schedule.rates
        if row.since.toordinal() <= last and first < row.until.toordinal()
    ]
    return np.array(rows, np.int64).reshape(len(rows), RATE_COLUMNS)
