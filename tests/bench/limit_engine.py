"""The bare limit of the backtest W1b: one hand-written loop for this one strategy, with its fills and equity curve."""

import numpy as np
import numpy.typing as npt
from numba import njit

FAST, SLOW = 10, 30
QUANTITY = 100


@njit("i8(i8[::1], i8[::1], i8, i8[::1], i8[:, ::1])", cache=False, fastmath=False, error_model="numpy")
def crossover(
    opens: npt.NDArray[np.int64],
    closes: npt.NDArray[np.int64],
    cash: int,
    equity: npt.NDArray[np.int64],
    fills: npt.NDArray[np.int64],
) -> int:
    """SMA10 against SMA30, 100 units at the next open, 0.1 % of each side. Prices and cash in cents."""
    fast, slow, held, above, wanted, count = 0, 0, 0, -1, 0, 0
    for row in range(closes.shape[0]):
        if wanted != 0:
            notional = QUANTITY * opens[row]
            fee = (notional + 500) // 1000
            cash -= wanted * notional + fee
            held += wanted * QUANTITY
            fills[count, 0], fills[count, 1], fills[count, 2], fills[count, 3] = row, wanted, opens[row], fee
            count += 1
            wanted = 0
        fast += closes[row]
        slow += closes[row]
        if row >= FAST:
            fast -= closes[row - FAST]
        if row >= SLOW:
            slow -= closes[row - SLOW]
        equity[row] = cash + held * closes[row]
        if row >= SLOW - 1:
            now = 1 if 3 * fast > slow else 0
            if above >= 0 and now != above:
                wanted = 1 if now == 1 and held == 0 else -1 if now == 0 and held > 0 else 0
            above = now
    return count
