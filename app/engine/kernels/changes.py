"""What one bar, or a bar and the one before it, says: on the integers, so ties are ties."""

import numpy as np

from app.engine.kernels.jit import kernel
from app.engine.layout import Before, Field, Op

HIGH, LOW, CLOSE, VOLUME = int(Field.HIGH), int(Field.LOW), int(Field.CLOSE), int(Field.VOLUME)
SEEN, FIRST, SECOND = int(Before.SEEN), int(Before.FIRST), int(Before.SECOND)
PLUS_DM = int(Op.PLUS_DM)
MOST = 2**53


@kernel
def typical(fields: np.ndarray, scales: np.ndarray, valid: np.ndarray, out: np.ndarray, ok: np.ndarray) -> None:
    """(high + low + close) / 3."""
    divisor = 3.0 * scales[CLOSE]
    for i in range(out.shape[0]):
        ok[i] = valid[i]
        out[i] = float(fields[HIGH, i] + fields[LOW, i] + fields[CLOSE, i]) / divisor


@kernel
def directional(
    op: int,
    fields: np.ndarray,
    scales: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """PLUS_DM: the rise of the high where it exceeds the fall of the low and 0, else 0; MINUS_DM the other way round.

    J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
    """
    for i in range(out.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        high, low = fields[HIGH, i], fields[LOW, i]
        rise, fall = high - state[FIRST], state[SECOND] - low
        own, other = (rise, fall) if op == PLUS_DM else (fall, rise)
        out[i] = float(own) / scales[HIGH] if own > other and own > 0 else 0.0
        ok[i] = state[SEEN]
        state[SEEN], state[FIRST], state[SECOND] = 1, high, low


@kernel
def growth(
    fields: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    memory: np.ndarray,
    scales: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """The close as a multiple of the first one, which follows splits."""
    for i in range(out.shape[0]):
        ok[i] = valid[i]
        if valid[i] == 1:
            close = float(fields[CLOSE, i]) / scales[CLOSE]
            if state[SEEN] == 0:
                state[SEEN], memory[0] = 1, close
            out[i] = close / memory[0]


@kernel
def balance(
    fields: np.ndarray, scales: np.ndarray, valid: np.ndarray, state: np.ndarray, out: np.ndarray, ok: np.ndarray
) -> None:
    """On-balance volume: Σ volume × sign of the close's change, the first bar's as a rise. Bounded by 2^53: up to
    there a float is exact.

    J. E. Granville, New Key to Stock Market Profits, 1963.
    """
    for i in range(out.shape[0]):
        ok[i] = valid[i]
        if valid[i] == 0:
            continue
        close, volume, total = fields[CLOSE, i], fields[VOLUME, i], state[SECOND]
        if state[SEEN] == 0 or close > state[FIRST]:
            total = min(total + volume, MOST)
        elif close < state[FIRST]:
            total = max(total - volume, -MOST)
        state[SEEN], state[FIRST], state[SECOND] = 1, close, total
        out[i] = float(total) / scales[VOLUME]
