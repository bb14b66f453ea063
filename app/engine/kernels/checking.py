"""Finds the first bar that no market could have shown, in one pass and without memory of its own."""

import numpy as np

from app.engine.kernels.jit import entry
from app.engine.layout import PRICE_LIMIT, Field

OPEN, HIGH, LOW, CLOSE, VOLUME = (int(f) for f in Field)
TOO_HIGH = PRICE_LIMIT
FINE, TIMES, DAYS, NOT_POSITIVE, LOW_ABOVE, HIGH_BELOW, ABOVE_LIMIT, VOLUME_RANGE = range(8)


@entry("UniTuple(i8, 3)(i8[::1], i8[::1], i8[:, :, ::1], u1[:, ::1])")
def fault(times: np.ndarray, days: np.ndarray, fields: np.ndarray, valid: np.ndarray) -> tuple[int, int, int]:
    """(what, slot, row) of the first fault; `FINE` where there is none. Times and days: the row before the fault."""
    for row in range(times.shape[0] - 1):
        if times[row + 1] <= times[row]:
            return TIMES, 0, row
        if days[row + 1] < days[row]:
            return DAYS, 0, row
    for slot in range(valid.shape[0]):
        for row in range(valid.shape[1]):
            if valid[slot, row] == 0:
                continue
            opened, closed = fields[OPEN, slot, row], fields[CLOSE, slot, row]
            high, low, volume = fields[HIGH, slot, row], fields[LOW, slot, row], fields[VOLUME, slot, row]
            if low <= 0:
                return NOT_POSITIVE, slot, row
            if low > opened or low > closed:
                return LOW_ABOVE, slot, row
            if high < opened or high < closed:
                return HIGH_BELOW, slot, row
            if high >= TOO_HIGH:
                return ABOVE_LIMIT, slot, row
            if volume < 0 or volume >= TOO_HIGH:
                return VOLUME_RANGE, slot, row
    return FINE, 0, 0
