"""What a trading date's bars say so far."""

import numpy as np

from app.engine.kernels.jit import kernel
from app.engine.layout import LIMB, Field, Op, Session

HIGH, LOW, CLOSE, VOLUME = int(Field.HIGH), int(Field.LOW), int(Field.CLOSE), int(Field.VOLUME)
OPENING_HIGH = int(Op.OPENING_HIGH)
DAY, COUNT, EXTREME = 0, 1, 2
UPPER, CROSS, LOWER, TRADED = int(Session.HIGH), int(Session.CROSS), int(Session.LOW), int(Session.VOLUME)
BITS = LIMB
MASK = 2**LIMB - 1
BASE = float(2**LIMB)


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


@kernel
def weighted_price(
    fields: np.ndarray,
    scales: np.ndarray,
    days: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """VWAP: Σ typical price × volume / Σ volume of the trading date's bars; unknown before anything traded.

    The products are summed in limbs of 24 bits, exactly, and divided once (S. Berkowitz, D. Logue, E. Noser, The total
    cost of transactions on the NYSE, 1988).
    """
    for i in range(out.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        if state[DAY] != days[i]:
            state[DAY], state[UPPER], state[CROSS], state[LOWER], state[TRADED] = days[i], 0, 0, 0, 0
        price, volume = fields[HIGH, i] + fields[LOW, i] + fields[CLOSE, i], fields[VOLUME, i]
        over, under, more, less = price >> BITS, price & MASK, volume >> BITS, volume & MASK
        state[UPPER] += over * more
        state[CROSS] += over * less + under * more
        state[LOWER] += under * less
        state[TRADED] += volume
        if state[TRADED] > 0:
            total = (float(state[UPPER]) * BASE + float(state[CROSS])) * BASE + float(state[LOWER])
            out[i] = total / (float(state[TRADED]) * 3.0 * scales[CLOSE])
            ok[i] = 1
