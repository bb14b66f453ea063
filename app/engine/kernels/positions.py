"""The compiled form of `app.engine.apply`: same integers, on one row of the slot state array."""

import numpy as np

from app.engine.columns import State, Static
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import kernel

QUANTITY, COST, REALISED = int(State.QUANTITY), int(State.COST), int(State.REALISED)
MULTIPLY, DIVIDE = int(Static.MULTIPLY), int(Static.DIVIDE)


@kernel
def notional_of(quantity: int, price: int, static: np.ndarray) -> int:
    """quantity × price in minor units, half up."""
    return multiply_divide(quantity, price * static[MULTIPLY], static[DIVIDE], True)


@kernel
def apply_fill(state: np.ndarray, static: np.ndarray, side: int, quantity: int, price: int) -> int:
    """Change one slot by one fill; returns the cash that moved."""
    notional = notional_of(quantity, price, static)
    held = state[QUANTITY]
    state[QUANTITY] = held + side * quantity
    if held * side >= 0:
        state[COST] += side * notional
        return -side * notional
    size = -held if held < 0 else held
    closed = min(size, quantity)
    closed_cost = multiply_divide(state[COST], closed, size, True)
    closed_notional = multiply_divide(notional, closed, quantity, True)
    state[COST] += side * (notional - closed_notional) - closed_cost
    state[REALISED] += -side * closed_notional - closed_cost
    return -side * notional


@kernel
def apply_split(state: np.ndarray, static: np.ndarray, numerator: int, denominator: int, price: int) -> int:
    """Change one slot by a split; returns the cash paid for the fraction at `price` (after the split)."""
    held = state[QUANTITY]
    sign = 1 if held >= 0 else -1
    whole = multiply_divide(sign * held, numerator, denominator, False)
    step = (sign * held) % denominator
    fraction = (step * numerator) % denominator
    cash = sign * multiply_divide(fraction * static[MULTIPLY], price, denominator * static[DIVIDE], True)
    state[REALISED] += cash
    state[QUANTITY] = sign * whole
    if whole == 0:
        state[REALISED] -= state[COST]
        state[COST] = 0
    return cash


@kernel
def apply_dividend(state: np.ndarray, static: np.ndarray, amount: int) -> int:
    """The cash of a dividend of `amount` per unit."""
    return notional_of(state[QUANTITY], amount, static)
