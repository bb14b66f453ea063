"""Stretches of rows in which nothing trades: how long one lasts, and what the account is worth along it."""

import numpy as np

from app.engine.columns import LIMIT_ORDER, MARKET, Order, State, Static, Validity
from app.engine.kernels.book import Book, Market
from app.engine.kernels.integers import NEAR, multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.windows import whole
from app.engine.layout import Field, Flag, Output

HIGH, LOW, CLOSE_PRICE = int(Field.HIGH), int(Field.LOW), int(Field.CLOSE)
HELD, CLOSE, BARS_HELD = int(State.QUANTITY), int(State.CLOSE), int(State.BARS_HELD)
MULTIPLY, DIVIDE, MARGINED = int(Static.MULTIPLY), int(Static.DIVIDE), int(Static.MARGINED)
COST = int(State.COST)
HOLD, REBALANCE = int(Flag.HOLD), int(Flag.REBALANCE)
SLOT, SIDE, TYPE, LIMIT, TRIGGER = (int(c) for c in (Order.SLOT, Order.SIDE, Order.TYPE, Order.LIMIT, Order.TRIGGER))
VALIDITY, SEEN, TRAIL, ONE_BAR = int(Order.VALIDITY), int(Order.SEEN), int(Order.TRAIL), int(Validity.BAR)
ENTER_LONG, EXIT_LONG, ENTER_SHORT, EXIT_SHORT = (int(o) for o in list(Output)[:4])
STRIDE = 64  # rows looked at together
SURE = 2.0**62
"""A product whose factors multiply to less is exact in 64 bits."""


@kernel
def reached(order: np.ndarray, fields: np.ndarray, valid: np.ndarray, row: int, stop: int) -> int:
    """The first row in [row, stop) whose range could fill this limit or stop order, or `stop`."""
    slot = order[SLOT]
    buys, limited = order[SIDE] > 0, order[TYPE] == LIMIT_ORDER
    price = order[LIMIT] if limited else order[TRIGGER]
    marks, at, rows = valid[slot, row:stop], 0, stop - row
    if buys == limited:
        lows = fields[LOW, slot, row:stop]
        bound = price if limited else price + 1  # a limit is traded through, a stop is touched
        while at < rows and (lows[at] >= bound or marks[at] == 0):
            at += 1
    else:
        highs = fields[HIGH, slot, row:stop]
        bound = price if limited else price - 1
        while at < rows and (highs[at] <= bound or marks[at] == 0):
            at += 1
    return row + at


@inlined
def quiet_until(pool: np.ndarray, count: int, fields: np.ndarray, valid: np.ndarray, row: int, stop: int) -> int:
    """The first row, at most `stop`, on which a working order may trade, or changes by itself. Most rows are not."""
    for index in range(count):
        order = pool[index]
        if order[TYPE] == MARKET or order[TRAIL] != 0 or order[VALIDITY] == ONE_BAR:
            return row
        stop = reached(order, fields, valid, row, stop)
        if stop == row:
            return row
    return stop


@inlined
def note_seen(pool: np.ndarray, count: int, valid: np.ndarray, row: int, stop: int) -> None:
    """The orders that have met a price by the end of rows [row, stop)."""
    for index in range(count):
        order, at = pool[index], row
        while order[SEEN] == 0 and at < stop:
            order[SEEN] = valid[order[SLOT], at]
            at += 1


@inlined
def next_stir(state: np.ndarray, weights: np.ndarray, flags: np.ndarray, first: int, last: int) -> int:
    """The first place in [first, last) at which a slot of a program of targets asks for a decision, or `last`: it is to
    be rebalanced, or is held at a weight of zero. A weight changes only where a slot is rebalanced."""
    for slot in range(state.shape[0]):
        if state[slot, HELD] != 0 and weights[slot, first] == 0:
            at, said, asked = 0, flags[slot, first:last], weights[slot, first:last]
            while at < said.shape[0] and (said[at] != HOLD or asked[at] != 0):
                at += 1
            last = first + at
    while first < last and not stirred(flags, first, min(first + STRIDE, last)):
        first += STRIDE
    last = min(first + STRIDE, last)
    for slot in range(state.shape[0] if first < last else 0):
        at, said = 0, flags[slot, first:last]
        while at < said.shape[0] and said[at] != REBALANCE:
            at += 1
        last = first + at
    return last


@inlined
def stirred(flags: np.ndarray, first: int, last: int) -> bool:
    """Is any slot to be rebalanced at places [first, last)?"""
    found = 0
    for slot in range(flags.shape[0]):
        said = flags[slot, first:last]
        for i in range(said.shape[0]):
            found |= said[i]
    return bool((found & REBALANCE) != 0)


@inlined
def next_move(
    state: np.ndarray, columns: np.ndarray, outputs: np.ndarray, limit: int, now: int, first: int, last: int
) -> int:
    """The first place in [first, last) at which a slot of a program of trades might act, or `last`. Whether its
    conditions are known, and bars are missing from `now` on, is looked at later."""
    for slot in range(state.shape[0]):
        held = state[slot, HELD]
        if held != 0:
            if limit > 0:
                last = min(last, max(now + limit - state[slot, BARS_HELD] - 1, first))
            last = raised(columns[slot], outputs[EXIT_LONG if held > 0 else EXIT_SHORT], first, last)
        else:
            last = raised(columns[slot], outputs[ENTER_LONG], first, last)
            last = raised(columns[slot], outputs[ENTER_SHORT], first, last)
    return last


@inlined
def raised(columns: np.ndarray, register: int, first: int, last: int) -> int:
    """The first place in [first, last) at which a condition is not 0, or `last`."""
    if register < 0:
        return last
    column, at = columns[register, first:last], 0
    while at < column.shape[0] and column[at] == 0.0:
        at += 1
    return first + at


@kernel
def add_worth(equity: np.ndarray, closes: np.ndarray, valid: np.ndarray, own: np.ndarray, fixed: np.ndarray) -> None:
    """Add what a position is worth at each close, of what is margined less its cost; a missing bar has the last one."""
    held, multiply, divide = own[HELD], fixed[MULTIPLY], fixed[DIVIDE]
    if fixed[MARGINED] != 0:
        for i in range(equity.shape[0]):
            equity[i] -= own[COST]
    rows, unit = equity.shape[0], held * multiply
    if whole(valid, 0):
        top = 0
        for i in range(rows):
            top = max(top, closes[i])
        if divide == 1 and abs(float(held)) * float(multiply) * float(top) < SURE:
            for i in range(rows):
                equity[i] += unit * closes[i]
        elif abs(float(held)) * float(multiply) * float(top) < min(SURE, NEAR * float(divide)):
            # As `multiply_divide`, for many rows at a time.
            sign, size, half, divisor = (1 if held > 0 else -1), abs(unit), divide // 2, float(divide)
            for i in range(rows):
                product = size * closes[i] + half
                quotient = int(float(product) / divisor)
                rest = product - quotient * divide
                equity[i] += sign * (quotient - (1 if rest < 0 else 0) + (1 if rest >= divide else 0))
        else:
            for i in range(rows):
                equity[i] += multiply_divide(held, closes[i] * multiply, divide, True)
        own[CLOSE] = closes[rows - 1]
        own[BARS_HELD] += rows
        return
    for i in range(rows):
        if valid[i] != 0:
            own[CLOSE] = closes[i]
            own[BARS_HELD] += 1
        equity[i] += multiply_divide(held, own[CLOSE] * multiply, divide, True)


@inlined
def mark(book: Book, market: Market, equity: np.ndarray, row: int, stop: int) -> None:
    """Take in the closes of rows [row, stop), in which nothing trades: cash and positions at each."""
    for at in range(row, stop):
        equity[at] = book.cash[0]
    for slot in range(book.state.shape[0]):
        own, valid = book.state[slot], market.valid[slot, row:stop]
        closes = market.fields[CLOSE_PRICE, slot, row:stop]
        if own[HELD] != 0:
            add_worth(equity[row:stop], closes, valid, own, book.static[slot])
            continue
        own[BARS_HELD] = 0
        at = stop - row - 1
        while at >= 0 and valid[at] == 0:
            at -= 1
        if at >= 0:
            own[CLOSE] = closes[at]
