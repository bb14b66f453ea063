"""The yearly volatility of a field."""

import numpy as np

from app.engine.kernels.jit import kernel

HEAD, COUNT, LAST = 0, 1, 2


@kernel
def volatility(
    values: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    ring: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
    window: int,
    periods: int,
) -> None:
    """Sample deviation (divisor window − 1) of the last `window` simple returns, times √periods.

    Both sums run over the whole window on each bar, in the ring's order from its oldest value: a running sum would keep
    the rounding of returns long gone, and so depend on where the history began.
    """
    for i in range(out.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        value, last = values[i], state[LAST]
        state[LAST] = value
        if last <= 0:
            continue
        ring[state[HEAD]] = float(value - last) / float(last)
        state[HEAD] = 0 if state[HEAD] + 1 == window else state[HEAD] + 1
        state[COUNT] = min(state[COUNT] + 1, window)
        if state[COUNT] < window:
            continue
        mean, squares, at = 0.0, 0.0, state[HEAD]
        for k in range(window):
            mean += ring[at + k if at + k < window else at + k - window]
        mean /= window
        for k in range(window):
            apart = ring[at + k if at + k < window else at + k - window] - mean
            squares += apart * apart
        out[i] = np.sqrt(squares / (window - 1.0) * periods)
        ok[i] = 1
