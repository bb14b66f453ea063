"""The decision of a program of trades: from one closed bar's conditions to exits and entries in the order pool.

An entry is decided while the slot is flat, or beside a market exit to the other side; where both sides would enter,
neither does. A new entry replaces the one that still rests, unless it would be the same. Never an unprotected entry:
without a known price, share or distance nothing is sent. Sizes are floored to lots and never exceed what the account
can carry.
"""

import numpy as np

from app.engine.columns import (
    LIMIT_ORDER,
    MARKET,
    STOP_LIMIT,
    Class,
    Counter,
    Order,
    Reason,
    Role,
    Setting,
    Sizing,
    State,
    Static,
)
from app.engine.kernels.book import Book
from app.engine.kernels.exits import leave, leave_at
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.pool import append, away, cancel, on_tick, reduce
from app.engine.kernels.positions import basis_of, margin_of, notional_of, tied
from app.engine.kernels.sizing import equity_of, full_position, less_reserve
from app.engine.layout import BPS, WEIGHT, Output

ENTER_LONG, EXIT_LONG, ENTER_SHORT, EXIT_SHORT, SHARE, PRICE, STOP_LIMIT_PRICE, STOP, TAKE, TRAIL, EXIT_PRICE = (
    int(o) for o in Output
)
HELD, CLOSE, BARS_HELD = int(State.QUANTITY), int(State.CLOSE), int(State.BARS_HELD)
MULTIPLY, DIVIDE, TICK, LOT = int(Static.MULTIPLY), int(Static.DIVIDE), int(Static.TICK), int(Static.LOT)
UNIT, PRICE_SCALE = int(Static.UNIT), int(Static.PRICE_SCALE)
EXIT_TYPE = int(Setting.EXIT_TYPE)
ORDER_TYPE, UNITS, SIZING = int(Setting.ORDER_TYPE), int(Setting.UNITS), int(Setting.SIZING)
AMOUNT, MARGIN = int(Setting.AMOUNT), int(Setting.MARGIN_BPS)
HOW_LONG, TIME_LIMIT, AT_FILL = int(Setting.VALIDITY), int(Setting.TIME_EXIT), int(Setting.AT_FILL)
STOP_RELATIVE, TRAIL_RELATIVE = int(Setting.STOP_RELATIVE), int(Setting.TRAIL_RELATIVE)
SLOT, SIDE, LIMIT, TRIGGER = int(Order.SLOT), int(Order.SIDE), int(Order.LIMIT), int(Order.TRIGGER)
REMAINING, BUDGET, VALIDITY, ROLE = int(Order.REMAINING), int(Order.BUDGET), int(Order.VALIDITY), int(Order.ROLE)
ORDER_STOP, ORDER_TAKE, ORDER_TRAIL = int(Order.STOP), int(Order.TAKE), int(Order.TRAIL)
TYPE, POOL, ORDERS = int(Order.TYPE), int(Counter.POOL), int(Counter.ORDERS)
ENTRY = int(Role.ENTRY)
ENTER, LEAVE, TIMED = int(Reason.ENTER), int(Reason.EXIT), int(Reason.TIME_EXIT)
RISK, CANCELLED = int(Sizing.RISK), int(Counter.CANCELLED)
TAKE_RELATIVE = int(Setting.TAKE_RELATIVE)
CLASS, EQUITY, GONE = int(Static.CLASS), int(Class.EQUITY), int(State.GONE)
ASKED = (SIDE, TYPE, LIMIT, TRIGGER, REMAINING, BUDGET, VALIDITY, ORDER_STOP, ORDER_TAKE, ORDER_TRAIL)
UNKNOWN, MILLION, TOO_FAR = -1, 1_000_000, 2.0**46
PERCENT = 10_000.0  # millionths


@inlined
def holds(columns: np.ndarray, known: np.ndarray, register: int, at: int) -> bool:
    """Is this condition said, known and true?"""
    return bool(register >= 0 and known[register, at] == 1 and columns[register, at] != 0.0)


@inlined
def whole(columns: np.ndarray, known: np.ndarray, register: int, at: int, scale: float) -> int:
    """value × scale to the nearest integer; 0 where the program says nothing; `UNKNOWN` unless positive and known."""
    if register < 0:
        return 0
    value = columns[register, at] * scale
    if known[register, at] == 0 or not 0.5 <= value < TOO_FAR:
        return UNKNOWN
    return int(np.floor(value + 0.5))


@inlined
def power(book: Book, but: int) -> int:
    """What positions may still be opened, at margin: equity less reserve, less the margin of positions and entries, but
    for those of slot `but`, which a new one replaces."""
    used, bound, margin = 0, 0, book.settings[MARGIN]
    for slot in range(book.state.shape[0]):
        held, close, fixed = book.state[slot, HELD], book.state[slot, CLOSE], book.static[slot]
        if held != 0 and fixed[CLASS] == EQUITY:
            used += abs(notional_of(held, close, fixed))
        elif held != 0:
            bound += tied(held, close, fixed, book.settings)
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        if order[ROLE] == ENTRY and order[SLOT] != but:
            price, fixed = max(order[LIMIT], order[TRIGGER]), book.static[order[SLOT]]
            price = price if price > 0 else book.state[order[SLOT], CLOSE]
            if fixed[CLASS] == EQUITY:
                used += notional_of(order[REMAINING], price, fixed)
            else:
                bound += tied(order[SIDE] * order[REMAINING], price, fixed, book.settings)
    equity = equity_of(book.state, book.static, book.cash[0])
    if equity <= 0:
        return 0
    spare = less_reserve(book.settings, equity)
    return spare - multiply_divide(used, margin, BPS, True) - bound


@inlined
def size_of(book: Book, slot: int, side: int, price: int, share: int, risked: int, free: int) -> int:
    """Quantity of an entry at `price`, whole lots; `share` at `WEIGHT`, `risked`: the stop's distance at this price."""
    fixed, settings = book.static[slot], book.settings
    most = multiply_divide(free, BPS, margin_of(fixed, settings, side), False)
    most = multiply_divide(most, fixed[DIVIDE], basis_of(fixed, price, side) * fixed[MULTIPLY], False)
    equity = equity_of(book.state, book.static, book.cash[0])
    if settings[UNITS] > 0:
        quantity = multiply_divide(settings[UNITS] * fixed[UNIT], share, WEIGHT, False)
    elif settings[SIZING] == RISK:
        budget = multiply_divide(multiply_divide(equity, settings[AMOUNT], MILLION, False), share, WEIGHT, False)
        quantity = multiply_divide(budget, fixed[DIVIDE], risked * fixed[MULTIPLY], False)
    else:
        budget = full_position(settings, fixed, less_reserve(settings, equity), share)
        quantity = multiply_divide(budget, fixed[DIVIDE], price * fixed[MULTIPLY], False)
    quantity = min(quantity, most)
    return int(quantity - quantity % fixed[LOT])


@inlined
def enter(
    book: Book, columns: np.ndarray, known: np.ndarray, outputs: np.ndarray, slot: int, side: int, at: int, row: int
) -> None:
    """Send an entry, in place of one that rests. That one stays where the new one would be the same."""
    rests = -1
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        if order[SLOT] == slot and order[ROLE] == ENTRY and order[REMAINING] > 0:
            rests = index
    sent = draft(book, columns, known, outputs, slot, side, at, row)
    if rests < 0:
        return
    if sent >= 0 and same(book.pool[rests], book.pool[sent]):
        book.counters[POOL] -= 1
        book.counters[ORDERS] -= 1
    else:
        reduce(book, rests, book.pool[rests, REMAINING])
        book.counters[CANCELLED] += 1


@kernel
def same(order: np.ndarray, other: np.ndarray) -> bool:
    """Do two entries of a slot ask for the same?"""
    equal = True
    for column in ASKED:
        equal = equal and order[column] == other[column]
    return equal


@inlined
def draft(
    book: Book, columns: np.ndarray, known: np.ndarray, outputs: np.ndarray, slot: int, side: int, at: int, row: int
) -> int:
    """Append an entry; its place in the pool, or -1 where there is none to send."""
    settings, fixed, close = book.settings, book.static[slot], book.state[slot, CLOSE]
    kind, scale = settings[ORDER_TYPE], float(fixed[PRICE_SCALE])
    asked = whole(columns, known, outputs[PRICE], at, scale)
    limit = whole(columns, known, outputs[STOP_LIMIT_PRICE], at, scale)
    stop = whole(columns, known, outputs[STOP], at, PERCENT if settings[STOP_RELATIVE] != 0 else scale)
    take = whole(columns, known, outputs[TAKE], at, PERCENT if settings[TAKE_RELATIVE] != 0 else scale)
    trail = whole(columns, known, outputs[TRAIL], at, PERCENT if settings[TRAIL_RELATIVE] != 0 else scale)
    share = whole(columns, known, outputs[SHARE], at, float(WEIGHT))
    if min(asked, limit, stop, take, trail, share) < 0 or close <= 0:
        return -1
    share = min(share, WEIGHT)
    if kind == LIMIT_ORDER:
        asked = on_tick(asked, fixed[TICK], -side)
    elif kind != MARKET:
        asked, limit = on_tick(asked, fixed[TICK], side), on_tick(max(limit, 1), fixed[TICK], -side)
    price = close if kind == MARKET else limit if kind == STOP_LIMIT else asked
    loss, follows = away(price, stop, settings[STOP_RELATIVE]), away(price, trail, settings[TRAIL_RELATIVE])
    risked = follows if loss == 0 or 0 < follows < loss else loss
    quantity = size_of(book, slot, side, price, share, max(risked, 1), max(power(book, slot), 0))
    if quantity <= 0:
        return -1
    place = append(book, slot, side, kind, quantity, ENTRY, ENTER, row)
    order = book.pool[place]
    order[VALIDITY] = settings[HOW_LONG]
    order[ORDER_STOP], order[ORDER_TAKE], order[ORDER_TRAIL] = stop, take, trail
    if kind == LIMIT_ORDER:
        order[LIMIT] = asked
    elif kind != MARKET:
        order[TRIGGER], order[LIMIT] = asked, limit
    if settings[AT_FILL] != 0 and side > 0:
        equity = equity_of(book.state, book.static, book.cash[0])
        order[BUDGET] = full_position(settings, fixed, less_reserve(settings, equity), share)
    return int(place)


@inlined
def intend(
    book: Book, columns: np.ndarray, known: np.ndarray, outputs: np.ndarray, slot: int, at: int, row: int
) -> None:
    """One slot's decision after its closed bar; column `at` is that bar."""
    own = book.state[slot]
    held, side = own[HELD], 0
    if own[GONE] != 0:
        return
    if held != 0:
        asked = holds(columns, known, outputs[EXIT_LONG if held > 0 else EXIT_SHORT], at)
        timed = 0 < book.settings[TIME_LIMIT] <= own[BARS_HELD]
        limited = book.settings[EXIT_TYPE] == LIMIT_ORDER
        if asked and not limited:
            leave(book, slot, LEAVE, row)
        elif timed:
            leave(book, slot, TIMED, row)
        elif asked:
            price = whole(columns, known, outputs[EXIT_PRICE], at, float(book.static[slot, PRICE_SCALE]))
            if price > 0:
                leave_at(book, slot, price, row)
                book.counters[CANCELLED] += cancel(book, slot, ENTRY)
        if not timed and (limited or not asked):
            return
        side = 1 if held > 0 else -1
        book.counters[CANCELLED] += cancel(book, slot, ENTRY)
    up, down = holds(columns, known, outputs[ENTER_LONG], at), holds(columns, known, outputs[ENTER_SHORT], at)
    if up and not down and side <= 0:
        enter(book, columns, known, outputs, slot, 1, at, row)
    elif down and not up and side >= 0:
        enter(book, columns, known, outputs, slot, -1, at, row)
