"""Indicators that look at every value of a short window, oldest first, because no exact O(1) recurrence exists.

So they depend on the window alone, never on where the series began. An unknown value on a valid bar empties the window.
"""

import numpy as np

from app.engine.kernels.jit import kernel
from app.engine.layout import Op

MEAN, MEAN_DEVIATION, DEVIATION = int(Op.MEAN), int(Op.MEAN_DEVIATION), int(Op.DEVIATION)
PERCENT_RANK = int(Op.PERCENT_RANK)


@kernel
def mean(ring: np.ndarray, oldest: int, window: int) -> float:
    """As distance from the oldest value: the mean of equal values is exactly that value."""
    base, total = ring[oldest], 0.0
    for i in range(window):
        at = oldest + i
        total += ring[at if at < window else at - window] - base
    return float(base + total / window)


@kernel
def spread(op: int, ring: np.ndarray, oldest: int, window: int, centre: float, ddof: int) -> float:
    """How far the values lie from their mean."""
    total = 0.0
    for i in range(window):
        at = oldest + i
        apart = ring[at if at < window else at - window] - centre
        total += abs(apart) if op == MEAN_DEVIATION else apart * apart
    return float(total / window if op == MEAN_DEVIATION else np.sqrt(total / (window - ddof)))


@kernel
def scan(
    op: int,
    given: np.ndarray,
    given_ok: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    ring: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
    window: int,
    ddof: int,
) -> None:
    """MEAN: Σx/n. MEAN_DEVIATION: Σ|x − mean|/n. DEVIATION: √(Σ(x − mean)²/(n − ddof)). PERCENT_RANK: 100 × the share
    of the `window` values before that are not above the new one."""
    for i in range(out.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        if given_ok[i] == 0:
            state[0], state[1] = 0, 0
            continue
        value, head = given[i], state[0]
        if op == PERCENT_RANK and state[1] == window:
            below = 0
            for j in range(window):
                below += 1 if ring[j] <= value else 0
            out[i] = 100.0 * below / window
            ok[i] = 1
        ring[head] = value
        head = 0 if head + 1 == window else head + 1
        state[0], state[1] = head, min(state[1] + 1, window)
        if op != PERCENT_RANK and state[1] == window:
            centre = mean(ring, head, window)
            out[i] = centre if op == MEAN else spread(op, ring, head, window, centre, ddof)
            ok[i] = 1
