"""What the first bars of a trading date say of the rest of it."""

import numpy as np

from app.engine.kernels.jit import kernel
from app.engine.layout import Field, Op

HIGH, LOW, OPENING_HIGH = int(Field.HIGH), int(Field.LOW), int(Op.OPENING_HIGH)
DAY, COUNT, EXTREME = 0, 1, 2


@kernel
def opening(
    op: int,
    fields: np.ndarray,
    scales: np.ndarray,
    days: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
    bars: int,
) -> None:
    """The highest high (OPENING_LOW: the lowest low) of the date's first `bars` bars, from the last of them on.

    T. Crabel, Day Trading with Short Term Price Patterns and Opening Range Breakout, 1990.
    """
    field = HIGH if op == OPENING_HIGH else LOW
    for i in range(out.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        if state[DAY] != days[i]:
            state[DAY], state[COUNT] = days[i], 0
        price = fields[field, i]
        if state[COUNT] < bars:
            state[COUNT] += 1
            if state[COUNT] == 1 or (price > state[EXTREME]) == (op == OPENING_HIGH):
                state[EXTREME] = price
        if state[COUNT] == bars:
            out[i] = float(state[EXTREME]) / scales[field]
            ok[i] = 1
