"""The largest and the smallest of a moving window: comparisons only, so as exact as what they are given."""

import numpy as np

from app.engine.kernels.jit import kernel
from app.engine.layout import EXTREME, Extreme, Op

HIGHEST = int(Op.HIGHEST)
HEAD, SIZE, SEEN = int(Extreme.HEAD), int(Extreme.SIZE), int(Extreme.SEEN)
TIMES = EXTREME


@kernel
def extreme(
    op: int,
    given: np.ndarray,
    given_ok: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    queue: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
    window: int,
) -> None:
    """HIGHEST or LOWEST of the last `window` values; an unknown value on a valid bar empties the window.

    A ring holds the candidates, best first, with the time of each (D. Lemire, Streaming maximum-minimum filter using no
    more than three comparisons per element, 2006): each value enters and leaves once.
    """
    sign = 1.0 if op == HIGHEST else -1.0
    head, size, seen = state[HEAD], state[SIZE], state[SEEN]
    for i in range(out.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        if given_ok[i] == 0:
            head, size, seen = 0, 0, 0
            continue
        value = given[i]
        if size > 0 and state[TIMES + head] == seen - window:
            head = 0 if head + 1 == window else head + 1
            size -= 1
        while size > 0:
            last = head + size - 1
            if last >= window:
                last -= window
            if sign * queue[last] > sign * value:
                break
            size -= 1
        at = head + size
        if at >= window:
            at -= window
        queue[at] = value
        state[TIMES + at] = seen
        size += 1
        seen += 1
        if seen >= window:
            out[i] = queue[head]
            ok[i] = 1
    state[HEAD], state[SIZE], state[SEEN] = head, size, seen
