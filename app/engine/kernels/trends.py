"""A band that follows the price and turns to its other side when the close breaks it."""

import numpy as np

from app.engine.kernels.jit import kernel
from app.engine.layout import Op

TREND_LINE = int(Op.TREND_LINE)
UPPER, LOWER, LAST, REMEMBERED = 0, 1, 2, 3
STARTED, RISING = 0, 1


@kernel
def trend(
    op: int,
    upper: np.ndarray,
    lower: np.ndarray,
    upper_ok: np.ndarray,
    lower_ok: np.ndarray,
    closes: np.ndarray,
    scale: float,
    valid: np.ndarray,
    state: np.ndarray,
    memory: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """The upper band only falls and the lower only rises, unless the close before lay beyond it. A falling trend turns
    when the close is above the upper band, a rising one when it is below the lower; the first is a falling one.

    TREND_LINE: the lower band while rising, else the upper. TREND_UP: 1 while rising. As `ta.supertrend` of the Pine
    Script reference (O. Seban's Supertrend).
    """
    for i in range(out.shape[0]):
        ok[i] = 0
        if valid[i] == 0 or upper_ok[i] == 0 or lower_ok[i] == 0:
            continue
        close = float(closes[i]) / scale
        if state[STARTED] == 0 or upper[i] < memory[UPPER] or memory[LAST] > memory[UPPER]:
            memory[UPPER] = upper[i]
        if state[STARTED] == 0 or lower[i] > memory[LOWER] or memory[LAST] < memory[LOWER]:
            memory[LOWER] = lower[i]
        if state[RISING] == 1:
            state[RISING] = 0 if close < memory[LOWER] else 1
        elif state[STARTED] == 1:
            state[RISING] = 1 if close > memory[UPPER] else 0
        state[STARTED], memory[LAST] = 1, close
        if op == TREND_LINE:
            out[i] = memory[LOWER] if state[RISING] == 1 else memory[UPPER]
        else:
            out[i] = float(state[RISING])
        ok[i] = 1
