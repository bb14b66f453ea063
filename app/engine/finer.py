"""Decides which finer bars lie within which bar, and refuses those that contradict it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.engine.bars import Bars, Int64
from app.engine.layout import Field
from app.kernel.errors import DomainError, invalid


@dataclass(frozen=True, slots=True)
class Finer:
    """Row r has the finer bars from `spans`[r] to `spans`[r + 1], i8 (rows + 1,); `alone` u1 (slots, rows): 1 for a bar
    that has none, and is shown its own four prices."""

    bars: Bars
    spans: Int64
    alone: npt.NDArray[np.uint8]

    @property
    def most(self) -> int:
        """Of one row."""
        return int(np.diff(self.spans).max())

    @property
    def lacking(self) -> int:
        """Bars that could be traded on and have no finer ones."""
        return int(self.alone[:, 1:].sum())


def within(bars: Bars, finer: Bars) -> Finer:
    """Finer bars by row: those that close after the bar before, and not after the row's own. What closes no later than
    the first bar, on which nothing can trade yet, or after the last one is left out.

    Raises `invalid_bars`, with row and slot, where open, high, low or close of a row's finer bars are not the bar's.
    """
    if finer.check().slots != bars.slots:
        reason = f"{finer.slots} finer series for {bars.slots}: give one for each instrument, in their order."
        raise invalid("invalid_bars", reason, param="finer")
    ends = np.searchsorted(finer.times, bars.times, side="right").astype(np.int64)
    alone = bars.valid.copy()
    for slot in range(bars.slots):
        alone[slot, _checked(bars, finer, slot)] = 0
    return Finer(finer, np.concatenate([ends[:1], ends]), alone)


def _checked(bars: Bars, finer: Bars, slot: int) -> Int64:
    """The rows on which a slot has finer bars."""
    found = np.flatnonzero(finer.valid[slot])
    rows = np.searchsorted(bars.times, finer.times[found], side="left")
    inside = (rows > 0) & (rows < bars.rows)
    found, rows = found[inside], rows[inside]
    if len(rows) == 0:
        return rows
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    last = np.append(first[1:], len(rows)) - 1
    at, prices = rows[first], finer.fields[:, slot, found]
    missing = at[bars.valid[slot, at] == 0]
    if len(missing):
        raise _contradiction(slot, int(missing[0]), "there are finer bars, and no bar")
    made = {
        Field.OPEN: prices[Field.OPEN, first],
        Field.HIGH: np.maximum.reduceat(prices[Field.HIGH], first),
        Field.LOW: np.minimum.reduceat(prices[Field.LOW], first),
        Field.CLOSE: prices[Field.CLOSE, last],
    }
    for field, values in made.items():
        wrong = np.flatnonzero(values != bars.fields[field, slot, at])
        if len(wrong):
            row, value = int(at[wrong[0]]), int(values[wrong[0]])
            name, own = field.name.lower(), int(bars.fields[field, slot, row])
            raise _contradiction(slot, row, f"the {name} of the finer bars is {value}, of the bar {own}")
    return at


def _contradiction(slot: int, row: int, reason: str) -> DomainError:
    return invalid(
        "invalid_bars",
        f"Row {row}, slot {slot}: {reason}. Make the bars from the finer ones, or leave the row's finer ones out.",
        param="finer",
    )
