"""The bare limit of each work: one hand-written loop for this one strategy, with its fills and equity curve.

Integers where the engine has integers, so that results must be equal to the last digit. Each kernel writes its fills as
rows of (row, slot, side, quantity, price, charges) and returns their number. All arrays i8; opens and closes in cents.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from tests.bench.works import FAST, SLOW, W3_EVERY, W3_HELD, W3_WINDOW

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
QUANTITY = 100
FILL = 6


@njit(cache=False, fastmath=False, error_model="numpy")
def _record(fill: Int64, row: int, slot: int, side: int, quantity: int, price: int, fee: int) -> None:
    fill[0], fill[1], fill[2], fill[3], fill[4], fill[5] = row, slot, side, quantity, price, fee


@njit("i8(i8[::1], i8[::1], i8, i8[::1], i8[:, ::1])", cache=False, fastmath=False, error_model="numpy")
def crossover(opens: Int64, closes: Int64, cash: int, equity: Int64, fills: Int64) -> int:
    """W1b: SMA10 against SMA30, 100 units at the next open, 0.1 % of each side. Cash in cents."""
    fast, slow, held, above, wanted, count = 0, 0, 0, -1, 0, 0
    for row in range(closes.shape[0]):
        if wanted != 0:
            notional = QUANTITY * opens[row]
            fee = (notional + 500) // 1000
            cash -= wanted * notional + fee
            held += wanted * QUANTITY
            _record(fills[count], row, 0, wanted, QUANTITY, opens[row], fee)
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


def _book(multiply: int, divide: int) -> tuple[Any, Any, Any]:
    """(notional, affordable, mark) where notional = quantity × price × multiply / divide, half up: compiled with both
    as constants, because a division by a constant is a multiplication."""

    @njit(cache=False, fastmath=False, error_model="numpy", inline="always")
    def notional_of(quantity: int, price: int) -> int:
        return (quantity * price * multiply + divide // 2) // divide

    @njit(cache=False, fastmath=False, error_model="numpy")
    def affordable(cash: int, price: int) -> int:
        """The most that `cash` pays for, with 0.1 %."""
        quantity = cash * divide // (price * multiply) * 1000 // 1001 + 2
        notional = notional_of(quantity, price)
        while notional + (notional + 500) // 1000 > cash:
            quantity -= 1
            notional = notional_of(quantity, price)
        return quantity

    @njit(cache=False, fastmath=False, error_model="numpy", inline="always")
    def mark(equity: Int64, closes: Int64, start: int, end: int, cash: int, held: int) -> None:
        """The curve over rows [start, end), in which nothing is traded."""
        if held == 0:
            equity[start:end] = cash
        else:
            worth, close = equity[start:end], closes[start:end]
            for at in range(worth.shape[0]):
                worth[at] = cash + notional_of(held, close[at])

    return notional_of, affordable, mark


def _all_in(multiply: int, divide: int) -> Callable[[Int64, Int64, Float64, int, int, int, Int64, Int64], int]:
    """The kernel of W1a and W2: all-in at the next open, 0.1 % of each side. The signal first, in vector registers;
    then from change to change. `sums`: `running(closes)`."""
    notional_of, affordable, mark = _book(multiply, divide)

    @njit(
        "i8(i8[::1], i8[::1], f8[::1], i8, i8, i8, i8[::1], i8[:, ::1])",
        cache=False,
        fastmath=False,
        error_model="numpy",
    )
    def kernel(
        opens: Int64, closes: Int64, sums: Float64, fast: int, slow: int, cash: int, equity: Int64, fills: Int64
    ) -> int:
        rows, held, count = closes.shape[0], 0, 0
        above = np.empty(rows + 1 - slow, np.bool_)
        ends, short, long = sums[slow:], sums[slow - fast :], sums
        by_fast, by_slow = float(fast), float(slow)
        for at in range(above.shape[0]):
            above[at] = by_slow * (ends[at] - short[at]) > by_fast * (ends[at] - long[at])
        start = 0  # of the rows with this position
        for at in range(1, above.shape[0] - 1):
            if above[at] == above[at - 1] or (held == 0) != above[at]:
                continue
            row = slow + at
            mark(equity, closes, start, row, cash, held)
            start, price, side = row, opens[row], 1 if held == 0 else -1
            quantity = affordable(cash, price) if side > 0 else held
            notional = notional_of(quantity, price)
            fee = (notional + 500) // 1000
            cash -= side * notional + fee
            held += side * quantity
            _record(fills[count], row, 0, side, quantity, price, fee)
            count += 1
        mark(equity, closes, start, rows, cash, held)
        return count

    return kernel


all_in_whole = _all_in(1_000_000, 1)
"""Whole shares, money at 10^-8."""
all_in_fractions = _all_in(1, 10_000)
"""10^-10 shares, money at 10^-8."""


@njit(cache=False)
def running(closes: Int64) -> Float64:
    """f8 (rows + 1,): Σ of the first n closes. Whole numbers far below 2^53, so exact; floats fill vector registers."""
    sums, total = np.empty(closes.shape[0] + 1, np.float64), 0
    sums[0] = 0.0
    for row in range(closes.shape[0]):
        total += closes[row]
        sums[row + 1] = float(total)
    return sums


@njit(cache=False, fastmath=False, error_model="numpy")
def _strongest(closes: Int64, row: int, scores: Float64, places: Int64, chosen: Int64) -> None:
    """Mark the `W3_HELD` slots that rose most; of equal ones the earlier."""
    chosen[:] = 0
    count = 0
    for slot in range(closes.shape[0]):
        old = closes[slot, row - W3_WINDOW]
        score = float(closes[slot, row] - old) / float(old)
        if count == W3_HELD and score <= scores[count - 1]:
            continue
        at = min(count, W3_HELD - 1)
        while at > 0 and scores[at - 1] < score:
            scores[at], places[at] = scores[at - 1], places[at - 1]
            at -= 1
        scores[at], places[at] = score, slot
        count = min(count + 1, W3_HELD)
    for at in range(W3_HELD):
        chosen[places[at]] = 1


@njit("i8(i8[:, ::1], i8[:, ::1], i8, i8[::1], i8[:, ::1])", cache=False, fastmath=False, error_model="numpy")
def momentum(opens: Int64, closes: Int64, cash: int, equity: Int64, fills: Int64) -> int:
    """W3, arrays (slots, rows), cash in cents. A tenth of the equity at the deciding closes; at the next opens the
    sales come first, then each purchase spends its tenth, or the cash if that is less, with 0.1 %."""
    slots, rows = closes.shape
    held, wanted, budget = np.zeros(slots, np.int64), np.zeros(slots, np.int64), np.zeros(slots, np.int64)
    scores, places, chosen = np.empty(W3_HELD, np.float64), np.empty(W3_HELD, np.int64), np.empty(slots, np.int64)
    count, decided = 0, False
    for row in range(rows):
        if decided:
            for slot in range(slots):
                if wanted[slot] < 0:
                    quantity, price = -wanted[slot], opens[slot, row]
                    fee = (quantity * price + 500) // 1000
                    cash += quantity * price - fee
                    held[slot] -= quantity
                    _record(fills[count], row, slot, -1, quantity, price, fee)
                    count += 1
            for slot in range(slots):
                if wanted[slot] > 0:
                    money, price = min(budget[slot], cash), opens[slot, row]
                    quantity = money * 1000 // (price * 1001) + 1
                    while quantity > 0 and quantity * price + (quantity * price + 500) // 1000 > money:
                        quantity -= 1
                    if quantity == 0:
                        continue
                    fee = (quantity * price + 500) // 1000
                    cash -= quantity * price + fee
                    held[slot] += quantity
                    _record(fills[count], row, slot, 1, quantity, price, fee)
                    count += 1
            decided = False
        worth = cash
        for slot in range(slots):
            worth += held[slot] * closes[slot, row]
        equity[row] = worth
        if row % W3_EVERY == 0 and row >= W3_WINDOW:
            _strongest(closes, row, scores, places, chosen)
            full = worth // W3_HELD
            for slot in range(slots):
                close = closes[slot, row]
                wanted[slot] = chosen[slot] * (full // close) - held[slot]
                budget[slot] = max(full - held[slot] * close, 1)
            decided = True
    return count
