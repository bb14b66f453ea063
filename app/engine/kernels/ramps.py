"""Indicators that weigh a field's integers by their age: two exact sums, one division at the end."""

import numpy as np

from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import kernel
from app.engine.layout import RAMP, Op, Ramp

HEAD, COUNT, SUM, WEIGHTED = int(Ramp.HEAD), int(Ramp.COUNT), int(Ramp.SUM), int(Ramp.WEIGHTED)
RING = RAMP
WMA = int(Op.WMA)


@kernel
def ramp(
    op: int,
    state: np.ndarray,
    values: np.ndarray,
    valid: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
    window: int,
    scale: float,
) -> None:
    """With W = Σk·x, k = 1 for the oldest of n values to n: WMA is W / (n(n + 1)/2). SLOPE, of the least-squares line,
    is 6(2W − (n + 1)Σx) / (n(n² − 1)) a bar. In int64 for n up to `nodes.MAX_RAMP`."""
    head, count, total, weighted = state[HEAD], state[COUNT], state[SUM], state[WEIGHTED]
    shares = window * (window + 1) // 2 if op == WMA else window * (window * window - 1)
    divisor = float(shares) * scale
    for i in range(values.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        value = values[i]
        weighted += window * value - total
        total += value - state[RING + head]
        state[RING + head] = value
        head = 0 if head + 1 == window else head + 1
        count = min(count + 1, window)
        if count == window:
            if op == WMA:
                out[i] = float(weighted) / divisor
            else:
                out[i] = 6.0 * float(2 * weighted - (window + 1) * total) / divisor
            ok[i] = 1
    state[HEAD], state[COUNT], state[SUM], state[WEIGHTED] = head, count, total, weighted


@kernel
def rescale_ramp(state: np.ndarray, window: int, multiply: int, divide: int) -> None:
    """Restate the window in the units after a split: each value × multiply / divide, half up, and the sums anew."""
    total, weighted, at = 0, 0, state[HEAD]
    for k in range(1, window + 1):
        value = multiply_divide(state[RING + at], multiply, divide, True)
        state[RING + at] = value
        total += value
        weighted += k * value
        at = 0 if at + 1 == window else at + 1
    state[SUM], state[WEIGHTED] = total, weighted
