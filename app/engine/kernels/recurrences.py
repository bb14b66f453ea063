"""Recurrences over a column of numbers: what they need of the past is a few floats.

A bar without a value is skipped: it changes no state and has no value of its own.
"""

import numpy as np

from app.engine.kernels.jit import kernel
from app.engine.layout import Op

EMA = int(Op.EMA)


@kernel
def follow(memory: np.ndarray, count: int, unit: int, numerator: int, denominator: int) -> None:
    """Restate the first `count` remembered values at a split; `unit` is the power with which they follow it."""
    for i in range(count):
        value = memory[i]
        for _ in range(unit):
            value = value * denominator / numerator
        for _ in range(-unit):
            value = value * numerator / denominator
        memory[i] = value


@kernel
def smooth(
    op: int,
    given: np.ndarray,
    given_ok: np.ndarray,
    state: np.ndarray,
    memory: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
    window: int,
) -> None:
    """y += α·(x − y), starting from the mean of the first `window` values; α = 2/(window + 1) for EMA, 1/window for
    WILDER (J. W. Wilder, New Concepts in Technical Trading Systems, 1978).

    The mean is a running one (α = 1/count), so a constant column stays exactly constant.
    """
    alpha = 2.0 / (window + 1.0) if op == EMA else 1.0 / window
    count, value = state[0], memory[0]
    for i in range(out.shape[0]):
        ok[i] = 0
        if given_ok[i] == 0:
            continue
        if count < window:
            count += 1
            value += (given[i] - value) / count
        else:
            value += alpha * (given[i] - value)
        if count == window:
            out[i] = value
            ok[i] = 1
    state[0], memory[0] = count, value
