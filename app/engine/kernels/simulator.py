"""The order simulator: walks the timeline row by row; everything it knows lies in flat arrays, so it can stop anywhere.

Within a row: actions, then the bar's prices (open, extremes, close) against the order pool, then session ends, then the
decision on the closed bar. An order therefore meets its first price on the next row.
"""

import numpy as np

from app.engine.columns import (
    LIMIT_ORDER,
    Class,
    Counter,
    Event,
    Intended,
    Intrabar,
    Order,
    Reason,
    Role,
    Setting,
    State,
    Static,
    Validity,
)
from app.engine.kernels.book import Book, Machine, Market
from app.engine.kernels.contracts import needed
from app.engine.kernels.dated import INTRADAY, act, close_sessions, next_session, settle
from app.engine.kernels.execution import trade
from app.engine.kernels.exits import leave
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.machine import run
from app.engine.kernels.pool import append, cancel, sweep
from app.engine.kernels.positions import cost_of, notional_of
from app.engine.kernels.signals import signals
from app.engine.kernels.sizing import decide
from app.engine.kernels.stretches import mark, next_move, next_stir, note_seen, quiet_until
from app.engine.kernels.trading import intend
from app.engine.layout import BPS, Code, Op

HELD, COST, CLOSE = int(State.QUANTITY), int(State.COST), int(State.CLOSE)
BARS_HELD, PRICE_SCALE = int(State.BARS_HELD), int(Static.PRICE_SCALE)
OP, FLAT, LONG, SHORTED = int(Code.OP), int(Op.FLAT), int(Op.LONG), int(Op.SHORT)
BARS, ENTRY_PRICE = int(Op.BARS_HELD), int(Op.ENTRY_PRICE)
MULTIPLY, DIVIDE, PRODUCT = int(Static.MULTIPLY), int(Static.DIVIDE), int(Static.PRODUCT)
NEXT_EVENT, POOL, FILLS = int(Counter.EVENT), int(Counter.POOL), int(Counter.FILLS)
MARGIN_CALLS, LAST_DAY = int(Counter.MARGIN_CALLS), int(Counter.DAY)
BORROWED, EARNED, EVENT_ROW = int(Counter.BORROW), int(Counter.INTEREST), int(Event.ROW)
CLASS, EQUITY, CONTRACTS = int(Static.CLASS), int(Class.EQUITY), int(Setting.CONTRACTS)
SLOT, SIDE, LIMIT, TYPE = int(Order.SLOT), int(Order.SIDE), int(Order.LIMIT), int(Order.TYPE)
REMAINING, BUDGET, VALIDITY = int(Order.REMAINING), int(Order.BUDGET), int(Order.VALIDITY)
DAY, PLAIN, CALLED = int(Validity.DAY), int(Role.PLAIN), int(Reason.MARGIN_CALL)
POLICY, PARTICIPATION, LOWER = int(Setting.INTRABAR), int(Setting.PARTICIPATION_BPS), int(Intrabar.LOWER)
TRADE_FROM, ORDER_TYPE, SHORT = int(Setting.TRADE_FROM), int(Setting.ORDER_TYPE), int(Setting.SHORT)
MARGIN, BORROW, INTEREST = int(Setting.MARGIN_BPS), int(Setting.BORROW_BPS), int(Setting.INTEREST_BPS)
WANTED_SLOT, WANTED_SIDE, WANTED, WANTED_LIMIT, WANTED_REASON, WANTED_BUDGET = (int(c) for c in Intended)
TIME_LIMIT = int(Setting.TIME_EXIT)
ORDERS_PER_SLOT, NO_GATE = 8, -1
YEAR = 365


@inlined
def place(book: Book, count: int, row: int) -> None:
    """Turn intents into working DAY orders."""
    for i in range(count):
        wanted = book.intents[i]
        at = append(
            book, wanted[WANTED_SLOT], wanted[WANTED_SIDE], book.settings[ORDER_TYPE], wanted[WANTED], PLAIN,
            wanted[WANTED_REASON], row,
        )  # fmt: skip
        book.pool[at, LIMIT], book.pool[at, BUDGET] = wanted[WANTED_LIMIT], wanted[WANTED_BUDGET]


@inlined
def held_for(book: Book) -> int:
    """What working buys hold of the cash: their value at the limit, or at the last close; of contracts their margin."""
    total = 0
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        if order[SIDE] > 0:
            slot = order[SLOT]
            price = order[LIMIT] if order[TYPE] == LIMIT_ORDER else book.state[slot, CLOSE]
            total += cost_of(order[REMAINING], price, book.static[slot], book.settings)
    return total


@kernel
def carry(book: Book, day: int) -> None:
    """At a new trading date, for the actual days of 365 since the last one: what borrowed shares and borrowed cash
    cost, and what cash earns that is no proceeds of shares sold short."""
    days = day - book.counters[LAST_DAY]
    if book.counters[LAST_DAY] != 0 and days > 0:
        owed = 0
        for slot in range(book.state.shape[0]):
            if book.state[slot, HELD] < 0 and book.static[slot, CLASS] == EQUITY:
                owed -= notional_of(book.state[slot, HELD], book.state[slot, CLOSE], book.static[slot])
        borrowed, idle = owed + max(-book.cash[0], 0), max(book.cash[0] - owed, 0)
        cost = multiply_divide(borrowed, book.settings[BORROW] * days, BPS * YEAR, True)
        gain = multiply_divide(idle, book.settings[INTEREST] * days, BPS * YEAR, False)
        book.cash[0] += gain - cost
        book.counters[BORROWED] += cost
        book.counters[EARNED] += gain
    book.counters[LAST_DAY] = day


@kernel
def call(book: Book, worth: int, row: int) -> bool:
    """Below the maintenance margin every position is closed at the next open, and nothing else is done."""
    least = needed(book.state, book.static, book.settings)
    if least < 0 or worth >= least:
        return False
    book.counters[MARGIN_CALLS] += 1
    cancel(book, -1, -1)
    sweep(book)
    for slot in range(book.state.shape[0]):
        if book.state[slot, HELD] != 0:
            leave(book, slot, CALLED, row)
    return True


@kernel
def positions(book: Book, market: Market, machine: Machine, row: int, at: int) -> None:
    """Fill the columns of the position's words at one row."""
    for node in range(machine.code.shape[0]):
        op = machine.code[node, OP]
        if op < FLAT:
            continue
        for slot in range(book.state.shape[0]):
            own = book.state[slot]
            held, value, fixed = own[HELD], 0.0, book.static[slot]
            if op == FLAT:
                value = 1.0 if held == 0 else 0.0
            elif op == LONG:
                value = 1.0 if held > 0 else 0.0
            elif op == SHORTED:
                value = 1.0 if held < 0 else 0.0
            elif op == BARS:
                value = float(own[BARS_HELD])
            elif op == ENTRY_PRICE:
                value = float(own[CLOSE]) / fixed[PRICE_SCALE]
                if held != 0:
                    value = float(own[COST]) * fixed[DIVIDE] / (float(held) * fixed[MULTIPLY] * fixed[PRICE_SCALE])
            elif held != 0 and own[COST] != 0:
                worth = notional_of(held, own[CLOSE], fixed)
                value = float(worth - own[COST]) / abs(float(own[COST])) * 100.0
            machine.columns[slot, node, at] = value
            machine.known[slot, node, at] = market.valid[slot, row]


@kernel
def evaluate(
    book: Book,
    market: Market,
    machine: Machine,
    weights: np.ndarray,
    flags: np.ndarray,
    early: int,
    target: int,
    rule: int,
    row: int,
    at: int,
) -> None:
    """At one row, the nodes that depend on the position, and the signals that follow from them."""
    positions(book, market, machine, row, at)
    nodes = machine.code.shape[0]
    run(machine, market, early, nodes, nodes, NO_GATE, row, row + 1, row - at)
    if target >= 0:
        signals(machine, market, weights, flags, target, rule, NO_GATE, -book.settings[SHORT], row, row + 1, row - at)


@inlined
def decide_row(
    book: Book,
    market: Market,
    machine: Machine,
    weights: np.ndarray,
    flags: np.ndarray,
    target: int,
    row: int,
    at: int,
) -> None:
    """The decision on a closed bar."""
    if target >= 0:
        reserved = held_for(book) if book.counters[POOL] > 0 else 0
        count = decide(weights, flags, book.state, book.static, book.settings, book.intents, at, book.cash[0], reserved)
        place(book, count, row)
        return
    for slot in range(book.state.shape[0]):
        if market.valid[slot, row] != 0:
            intend(book, machine.columns[slot], machine.known[slot], machine.outputs, slot, at, row)
    sweep(book)


@inlined
def still(book: Book, market: Market, intraday: bool, row: int, end: int) -> int:
    """The first row from `row` on, at most `end`, with which something may happen before its decision."""
    counters, actions = book.counters, market.actions
    stop = end
    if counters[NEXT_EVENT] < actions.shape[0]:
        stop = min(stop, actions[counters[NEXT_EVENT], EVENT_ROW])
    if counters[POOL] > 0:
        stop = quiet_until(book.pool, counters[POOL], market.fields, market.valid, row, stop)
    if stop > row and (intraday or expiring(book)):
        stop = next_session(book, market, row, stop)
    return stop


@inlined
def squares_off(book: Book) -> bool:
    """Is any position closed at the end of its session?"""
    found = False
    for slot in range(book.static.shape[0]):
        found = found or book.static[slot, PRODUCT] == INTRADAY
    return found


@inlined
def expiring(book: Book) -> bool:
    """Does an order work for the day?"""
    found = False
    for index in range(book.counters[POOL]):
        found = found or book.pool[index, VALIDITY] == DAY
    return found


@inlined
def happen(book: Book, market: Market, machine: Machine, early: int, row: int) -> None:
    """What a row brings before its decision: interest, actions, trades, expiries, ends of sessions."""
    counters, settings, day = book.counters, book.settings, market.days[row]
    carries = settings[BORROW] + settings[INTEREST] > 0 and row >= settings[TRADE_FROM]
    if carries and counters[LAST_DAY] != day:
        carry(book, day)
    act(book, market, machine, early, row)
    if counters[POOL] > 0:
        trade(book, market, row)
    if settings[CONTRACTS] != 0:
        settle(book, market, row)
    close_sessions(book, market, row)


@inlined
def wanted(
    book: Book,
    machine: Machine,
    weights: np.ndarray,
    flags: np.ndarray,
    target: int,
    now: int,
    first: int,
    stop: int,
) -> int:
    """The first place in [first, stop) at which a decision is asked for, or `stop`."""
    if first >= stop:
        return stop
    if target >= 0:
        return next_stir(book.state, weights, flags, first, stop)
    return next_move(book.state, machine.columns, machine.outputs, book.settings[TIME_LIMIT], now, first, stop)


@inlined
def most_fills(book: Book, market: Market, row: int) -> int:
    """Of a row: one of each order and of two exits that it activates; where volume is capped, in each finer bar."""
    most = 3 * book.counters[POOL]
    if book.settings[POLICY] == LOWER and book.settings[PARTICIPATION] > 0:
        most *= 1 + market.spans[row + 1] - market.spans[row]
    return int(most)


@kernel
def simulate(
    book: Book,
    market: Market,
    machine: Machine,
    weights: np.ndarray,
    flags: np.ndarray,
    equity: np.ndarray,
    early: int,
    target: int,
    rule: int,
    start: int,
    end: int,
    base: int,
) -> int:
    """Run rows [start, end); weights and flags are (slots, rows) from row `base`, and so are the machine's columns.

    Nodes from `early` on depend on the position and are run here, row by row. `target` -1: a program of trades.
    Where nothing can trade, expire or be decided, many rows are valued at once.
    Returns the first row not run: less than `end` when there is no more room for fills, or -1 - row when the pool
    is too small.
    """
    counters, settings, state = book.counters, book.settings, book.state
    slots, nodes = state.shape[0], machine.code.shape[0]
    room, fill_room = book.pool.shape[0] - ORDERS_PER_SLOT * slots, book.fills.shape[0] - slots
    margin, since = settings[SHORT] != 0 or settings[MARGIN] != BPS or settings[CONTRACTS] != 0, settings[TRADE_FROM]
    by_row = margin or settings[BORROW] + settings[INTEREST] > 0 or early < nodes
    row, intraday = start, squares_off(book)
    while row < end:
        if counters[FILLS] + most_fills(book, market, row) > fill_room:
            return row
        if counters[POOL] > room:
            return -1 - row
        happen(book, market, machine, early, row)
        stop = row + 1 if by_row else still(book, market, intraday, row + 1, end)
        first, now = max(row, since), row - base
        if by_row:
            mark(book, market, equity, row, stop)
            if early < nodes:
                evaluate(book, market, machine, weights, flags, early, target, rule, row, now)
            if margin and call(book, equity[row], row):
                first = stop
        asked = base + wanted(book, machine, weights, flags, target, now, first - base, stop - base)
        if not by_row:
            stop = min(asked + 1, stop)
            note_seen(book.pool, counters[POOL], market.valid, row, stop)
            mark(book, market, equity, row, stop)
        if asked < stop:
            decide_row(book, market, machine, weights, flags, target, asked, asked - base)
        row = stop
    return row
