"""Indicators over a window of one field's integers: O(1) a bar, exact sums, one division at the end.

Their state is a header (`layout.Window`) and the ring of raw values, so it depends on the window alone, never on where
the series or a block began. A missing bar is skipped: it neither enters the window nor has a value.
"""

import numpy as np

from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.layout import LIMB, WINDOW, Op, Window

HEAD, COUNT, SUM = int(Window.HEAD), int(Window.COUNT), int(Window.SUM)
HIGH, CROSS, LOW = int(Window.HIGH_SQUARES), int(Window.CROSS_SQUARES), int(Window.LOW_SQUARES)
RING = WINDOW
BITS = LIMB
MASK = 2**LIMB - 1
BASE = float(2**LIMB)
SMA, STDDEV, ZSCORE, RETURN = int(Op.SMA), int(Op.STDDEV), int(Op.ZSCORE), int(Op.RETURN)


@kernel
def spread(n: int, total: int, high: int, cross: int, low: int) -> float:
    """n·Σx² − (Σx)², exact in limbs of 24 bits until the last conversion. Σx² = high·2^48 + cross·2^24 + low."""
    carry = low
    v0, carry = carry & MASK, cross + (carry >> BITS)
    v1, carry = carry & MASK, high + (carry >> BITS)
    v2, carry = carry & MASK, carry >> BITS
    v3, v4 = carry & MASK, carry >> BITS
    t0, t1, t2 = total & MASK, (total >> BITS) & MASK, total >> (2 * BITS)
    e0 = n * v0 - t0 * t0
    e1 = n * v1 - 2 * t0 * t1 + (e0 >> BITS)
    e2 = n * v2 - 2 * t0 * t2 - t1 * t1 + (e1 >> BITS)
    e3 = n * v3 - 2 * t1 * t2 + (e2 >> BITS)
    e4 = n * v4 - t2 * t2 + (e3 >> BITS)
    upper = (float(e4) * BASE + float(e3 & MASK)) * BASE + float(e2 & MASK)
    return (upper * BASE + float(e1 & MASK)) * BASE + float(e0 & MASK)


@inlined
def whole(marks: np.ndarray, start: int) -> bool:
    """Is every mark from `start` on set?"""
    missing = 0
    for i in range(start, marks.shape[0]):
        missing |= 1 - marks[i]
    return missing == 0


@kernel
def sma(
    state: np.ndarray, values: np.ndarray, valid: np.ndarray, out: np.ndarray, ok: np.ndarray, window: int, scale: float
) -> None:
    """Arithmetic mean of the last `window` values: Σx / n, in units of `scale`."""
    rows, at = values.shape[0], 0
    divisor = float(window) * scale
    full = whole(valid, 0)
    while at < rows and (state[COUNT] < window or not full):
        ok[at] = 0
        if valid[at] != 0:
            head, value = state[HEAD], values[at]
            state[SUM] += value - state[RING + head]
            state[RING + head] = value
            state[HEAD] = 0 if head + 1 == window else head + 1
            state[COUNT] = min(state[COUNT] + 1, window)
            if state[COUNT] == window:
                out[at] = float(state[SUM]) / divisor
                ok[at] = 1
        at += 1
    if at < rows:
        steady(state, values[at:], out[at:], window)
        means, marks = out[at:], ok[at:]
        for i in range(means.shape[0]):
            means[i] = means[i] / divisor
        for i in range(marks.shape[0]):
            marks[i] = 1


@inlined
def steady(state: np.ndarray, values: np.ndarray, out: np.ndarray, window: int) -> None:
    """The sums of a full window over rows of which none is missing: what leaves it is read from the rows themselves."""
    rows, head, total = values.shape[0], state[HEAD], state[SUM]
    early = min(window, rows)
    for i in range(early):
        total += values[i] - state[RING + (head + i if head + i < window else head + i - window)]
        out[i] = float(total)
    entering, leaving, rest = values[early:], values[: rows - early], out[early:]
    for i in range(rest.shape[0]):
        total += entering[i] - leaving[i]
        rest[i] = float(total)
    for i in range(rows - early, rows):
        state[RING + (head + i) % window] = values[i]
    state[HEAD], state[SUM] = (head + rows) % window, total


@kernel
def deviation(
    op: int,
    state: np.ndarray,
    values: np.ndarray,
    valid: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
    window: int,
    ddof: int,
    scale: float,
) -> None:
    """STDDEV: sqrt(Σ(x − mean)² / (n − ddof)). ZSCORE: (x − mean) / that, unknown when the window is constant."""
    freedom = float(window - ddof)
    for i in range(values.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        value = values[i]
        head = state[HEAD]
        old = state[RING + head]
        state[RING + head] = value
        state[HEAD] = 0 if head + 1 == window else head + 1
        state[COUNT] = min(state[COUNT] + 1, window)
        state[SUM] += value - old
        upper, lower, gone_upper, gone_lower = value >> BITS, value & MASK, old >> BITS, old & MASK
        state[HIGH] += upper * upper - gone_upper * gone_upper
        state[CROSS] += 2 * (upper * lower - gone_upper * gone_lower)
        state[LOW] += lower * lower - gone_lower * gone_lower
        if state[COUNT] < window:
            continue
        numerator = spread(window, state[SUM], state[HIGH], state[CROSS], state[LOW])
        if op == STDDEV:
            out[i] = np.sqrt(numerator / (float(window) * freedom)) / scale
            ok[i] = 1
        elif numerator > 0.0:
            out[i] = float(window * value - state[SUM]) / np.sqrt(numerator * float(window) / freedom)
            ok[i] = 1


@kernel
def holding_return(
    state: np.ndarray, values: np.ndarray, valid: np.ndarray, out: np.ndarray, ok: np.ndarray, bars: int, skip: int
) -> None:
    """x[t − skip] / x[t − bars] − 1."""
    size, rows, at = bars + 1, values.shape[0], 0
    full = whole(valid, 0)
    while at < rows and (state[COUNT] < size or not full or at < bars):
        ok[at] = 0
        if valid[at] != 0:
            head = state[HEAD]
            state[RING + head] = values[at]
            place = head - skip if head >= skip else head - skip + size
            head = 0 if head + 1 == size else head + 1
            state[HEAD] = head
            state[COUNT] = min(state[COUNT] + 1, size)
            oldest = state[RING + head]
            if state[COUNT] == size and oldest > 0:
                out[at] = float(state[RING + place] - oldest) / float(oldest)
                ok[at] = 1
        at += 1
    if at < rows:
        recent, old, returns, marks = values[at - skip :], values[at - bars :], out[at:], ok[at:]
        for i in range(returns.shape[0]):
            returns[i] = float(recent[i] - old[i]) / float(old[i])
        for i in range(marks.shape[0]):
            marks[i] = 1 if old[i] > 0 else 0
        head = state[HEAD]
        for i in range(max(rows - size, at), rows):
            state[RING + (head + i - at) % size] = values[i]
        state[HEAD] = (head + rows - at) % size


@kernel
def return_at(
    state: np.ndarray, values: np.ndarray, valid: np.ndarray, out: np.ndarray, ok: np.ndarray, bars: int, skip: int,
    places: np.ndarray, into: int, first: int,
) -> None:  # fmt: skip
    """`holding_return` of rows that lie at places from `first` on, at these places only; the results from `into` on."""
    size, rows, count = bars + 1, values.shape[0], places.shape[0]
    if state[COUNT] < size or not whole(valid, 0):
        every, known = out[first : first + rows], ok[first : first + rows]
        holding_return(state, values, valid, every, known, bars, skip)
        for i in range(count):
            out[into + i], ok[into + i] = every[places[i] - first], known[places[i] - first]
        return
    head = state[HEAD]
    for i in range(count):
        now, then = places[i] - first - skip, places[i] - first - bars
        recent = values[now] if now >= 0 else state[RING + (head + now + size) % size]
        old = values[then] if then >= 0 else state[RING + (head + then + size) % size]
        ok[into + i] = 1 if old > 0 else 0
        if old > 0:
            out[into + i] = float(recent - old) / float(old)
    for i in range(max(rows - size, 0), rows):
        state[RING + (head + i) % size] = values[i]
    state[HEAD] = (head + rows) % size


@kernel
def rescale(state: np.ndarray, size: int, multiply: int, divide: int) -> None:
    """Restate a window in the units after a split: each value × multiply / divide, half up, and the sums anew."""
    total, high, cross, low = 0, 0, 0, 0
    for i in range(size):
        value = multiply_divide(state[RING + i], multiply, divide, True)
        state[RING + i] = value
        upper, lower = value >> BITS, value & MASK
        total += value
        high += upper * upper
        cross += 2 * upper * lower
        low += lower * lower
    state[SUM], state[HIGH], state[CROSS], state[LOW] = total, high, cross, low
