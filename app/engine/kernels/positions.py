"""The compiled form of `app.engine.apply`: same integers, on one row of the slot state array. And what it ties up."""

import numpy as np

from app.engine.columns import Class, Setting, State, Static
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.layout import BPS

QUANTITY, COST, REALISED = int(State.QUANTITY), int(State.COST), int(State.REALISED)
MULTIPLY, DIVIDE = int(Static.MULTIPLY), int(Static.DIVIDE)
CLASS, MARGINED, STRIKE = int(Static.CLASS), int(Static.MARGINED), int(Static.STRIKE)
EQUITY, FUTURE, OPTION = int(Class.EQUITY), int(Class.FUTURE), int(Class.OPTION)
MARGIN, FUTURE_MARGIN = int(Setting.MARGIN_BPS), int(Setting.FUTURE_MARGIN_BPS)
OPTION_MARGIN = int(Setting.OPTION_MARGIN_BPS)


@kernel
def notional_of(quantity: int, price: int, static: np.ndarray) -> int:
    """quantity × price in minor units, half up."""
    return multiply_divide(quantity, price * static[MULTIPLY], static[DIVIDE], True)


@kernel
def worth_of(state: np.ndarray, price: int, static: np.ndarray) -> int:
    """What the slot's position adds to the cash at `price`: its value, of what is margined less its cost."""
    return notional_of(state[QUANTITY], price, static) - int(static[MARGINED] * state[COST])


@kernel
def margin_of(static: np.ndarray, settings: np.ndarray, side: int) -> int:
    """The share that a position of this side ties up of what `basis_of` says."""
    if static[CLASS] == FUTURE:
        return int(settings[FUTURE_MARGIN])
    if static[CLASS] == OPTION:
        return BPS if side > 0 else int(settings[OPTION_MARGIN])
    return int(settings[MARGIN])


@kernel
def basis_of(static: np.ndarray, price: int, side: int) -> int:
    """The price whose share is tied up: a short option's is its strike."""
    return int(static[STRIKE]) if static[CLASS] == OPTION and side < 0 else price


@kernel
def tied(quantity: int, price: int, static: np.ndarray, settings: np.ndarray) -> int:
    """The equity that a signed quantity of a contract ties up; a long option all that it is worth."""
    side = 1 if quantity > 0 else -1
    size = abs(notional_of(quantity, basis_of(static, price, side), static))
    return multiply_divide(size, margin_of(static, settings, side), BPS, True)


@kernel
def cost_of(quantity: int, price: int, static: np.ndarray, settings: np.ndarray) -> int:
    """What a buy of `quantity` takes of the spendable cash, without charges."""
    if static[CLASS] == EQUITY:
        return notional_of(quantity, price, static)
    return tied(quantity, price, static, settings)


@kernel
def apply_fill(state: np.ndarray, static: np.ndarray, side: int, quantity: int, price: int) -> int:
    """Change one slot by one fill; returns the cash that moved."""
    return apply_notional(state, static, side, quantity, notional_of(quantity, price, static))


@inlined
def apply_notional(state: np.ndarray, static: np.ndarray, side: int, quantity: int, notional: int) -> int:
    """As `apply_fill`, at what the quantity is worth."""
    held, cost = state[QUANTITY], state[COST]
    state[QUANTITY] = held + side * quantity
    if held * side >= 0:
        state[COST] += side * notional
        return -side * notional + int(static[MARGINED] * (state[COST] - cost))
    size = -held if held < 0 else held
    closed = min(size, quantity)
    closed_cost = multiply_divide(state[COST], closed, size, True)
    closed_notional = multiply_divide(notional, closed, quantity, True)
    state[COST] += side * (notional - closed_notional) - closed_cost
    state[REALISED] += -side * closed_notional - closed_cost
    return -side * notional + int(static[MARGINED] * (state[COST] - cost))


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
        cash -= static[MARGINED] * state[COST]
        state[COST] = 0
    return cash


@kernel
def apply_dividend(state: np.ndarray, static: np.ndarray, amount: int) -> int:
    """The cash of a dividend of `amount` per unit."""
    return notional_of(state[QUANTITY], amount, static)
