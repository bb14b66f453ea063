"""Decides how a contradiction between finer bars and bars is told: by instrument, time and prices, not row and slot."""

from bisect import bisect_left

import numpy as np

from app.engine.bars import Bars
from app.engine.finer import within
from app.engine.layout import Field
from app.insight.backtest.domain import Listed, Plan
from app.kernel.errors import DomainError, invalid
from app.kernel.money import format_scaled
from app.kernel.times import format_time
from app.market.data.domain import from_us

_REMEDY = "Leave finer_interval out or send another one, or have bars imported that agree."


def explain(error: DomainError, plan: Plan, bars: Bars, finer: Bars) -> DomainError:
    """The engine's `error` about the first instrument and bar at fault; as it is where none is found."""
    for slot, one in enumerate(plan.listed):
        own, fine = _slot(bars, slot), _slot(finer, slot)
        row = _first(own, fine)
        if row is not None:
            at = format_time(from_us(int(bars.times[row])))
            reason = f"{plan.finer_interval} and {plan.interval} bars of {one.symbol} disagree about {at}: "
            return invalid(error.code, f"{reason}{_difference(one, own, fine, row)}. {_REMEDY}", param=error.param)
    return error


def _slot(bars: Bars, slot: int) -> Bars:
    return Bars(bars.times, bars.days, bars.fields[:, slot : slot + 1], bars.valid[slot : slot + 1])


def _first(bars: Bars, finer: Bars) -> int | None:
    """The first row at fault: the engine says whether there is one among the first so many."""

    def faulty(rows: int) -> bool:
        try:
            within(Bars(bars.times[:rows], bars.days[:rows], bars.fields[:, :, :rows], bars.valid[:, :rows]), finer)
        except DomainError:
            return True
        return False

    row = bisect_left(range(1, bars.rows + 1), True, key=faulty)
    return row if row < bars.rows else None


def _difference(one: Listed, bars: Bars, finer: Bars, row: int) -> str:
    if not bars.valid[0, row]:
        return "there are finer bars and no bar"
    start, end = np.searchsorted(finer.times, bars.times[row - 1 : row + 1], side="right")
    prices = finer.fields[:, 0, start:end][:, finer.valid[0, start:end] == 1]
    made = {
        Field.OPEN: prices[Field.OPEN, 0],
        Field.HIGH: prices[Field.HIGH].max(),
        Field.LOW: prices[Field.LOW].min(),
        Field.CLOSE: prices[Field.CLOSE, -1],
    }
    differing = [
        f"the {field.name.lower()} is {format_scaled(int(value), one.price_exp)} by the finer ones and "
        f"{format_scaled(int(bars.fields[field, 0, row]), one.price_exp)} by the bar"
        for field, value in made.items()
        if value != bars.fields[field, 0, row]
    ]
    return differing[0]
