"""Finds the first bar that no market could have shown, in one pass and without memory of its own."""

import numpy as np

from app.engine.kernels.jit import inlined, kernel
from app.engine.layout import PRICE_LIMIT, Field

OPEN, HIGH, LOW, CLOSE, VOLUME = (int(f) for f in Field)
TOO_HIGH = PRICE_LIMIT
FINE, TIMES, DAYS, NOT_POSITIVE, LOW_ABOVE, HIGH_BELOW, ABOVE_LIMIT, VOLUME_RANGE = range(8)


@inlined
def flaw(opened: int, high: int, low: int, closed: int, volume: int) -> int:
    """What no market could have shown in one bar."""
    if low <= 0:
        return NOT_POSITIVE
    if low > opened or low > closed:
        return LOW_ABOVE
    if high < opened or high < closed:
        return HIGH_BELOW
    if high >= TOO_HIGH:
        return ABOVE_LIMIT
    return VOLUME_RANGE if volume < 0 or volume >= TOO_HIGH else FINE


@kernel
def fault(times: np.ndarray, days: np.ndarray, fields: np.ndarray, valid: np.ndarray, place: np.ndarray) -> int:
    """What is wrong first, and in `place` i8 (2,) its slot and row; `FINE` where nothing is. Times and days: the row
    before the fault."""
    for row in range(times.shape[0] - 1):
        if times[row + 1] <= times[row] or days[row + 1] < days[row]:
            place[0], place[1] = 0, row
            return TIMES if times[row + 1] <= times[row] else DAYS
    for slot in range(valid.shape[0]):
        for row in range(valid.shape[1]):
            if valid[slot, row] == 0:
                continue
            what = flaw(
                fields[OPEN, slot, row], fields[HIGH, slot, row], fields[LOW, slot, row], fields[CLOSE, slot, row],
                fields[VOLUME, slot, row],
            )  # fmt: skip
            if what != FINE:
                place[0], place[1] = slot, row
                return what
    return FINE


@kernel
def day_ends(days: np.ndarray, rows: np.ndarray) -> int:
    """How many trading dates there are; the last row of each into `rows` i8 (n,), as far as it reaches."""
    count = 0
    for row in range(days.shape[0]):
        if row + 1 == days.shape[0] or days[row + 1] != days[row]:
            if count < rows.shape[0]:
                rows[count] = row
            count += 1
    return count
