"""What dates bring: corporate actions before a row's bar, expiries and ends of sessions after it."""

import numpy as np

from app.engine.columns import Counter, Event, Kind, Order, Reason, Role, State, Static, Validity
from app.engine.kernels.book import Book, Machine, Market
from app.engine.kernels.contracts import expire
from app.engine.kernels.execution import liquidate
from app.engine.kernels.exits import restate_exits
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.machine import split
from app.engine.kernels.pool import cancel, reduce, sweep
from app.engine.kernels.positions import apply_dividend, apply_split
from app.kernel.orders import Product

CLOSE, PRODUCT, CURRENCY = int(State.CLOSE), int(Static.PRODUCT), int(Static.CURRENCY)
NEXT_EVENT, NEXT_SESSION, POOL = int(Counter.EVENT), int(Counter.SESSION), int(Counter.POOL)
EXPIRED, SQUARED_OFF = int(Counter.EXPIRED), int(Reason.SQUARE_OFF)
EVENT_ROW, EVENT_KIND, EVENT_SLOT, EVENT_A, EVENT_B = (int(c) for c in Event)
SPLIT, DIVIDEND, BAR, EXPIRY = int(Kind.SPLIT), int(Kind.DIVIDEND), int(Kind.BAR), int(Kind.EXPIRY)
SLOT, REMAINING, VALIDITY = int(Order.SLOT), int(Order.REMAINING), int(Order.VALIDITY)
DAY, PLAIN, ENTRY = int(Validity.DAY), int(Role.PLAIN), int(Role.ENTRY)
STRIDE = 16  # sessions passed at once
INTRADAY = list(Product).index(Product.INTRADAY)


@kernel
def act(book: Book, market: Market, machine: Machine, early: int, row: int) -> None:
    """Corporate actions dated before the row's bar. Other working orders of a split slot are cancelled, as exchanges
    do."""
    events, counters = market.actions, book.counters
    while counters[NEXT_EVENT] < events.shape[0]:
        event = events[counters[NEXT_EVENT]]
        if event[EVENT_ROW] != row or event[EVENT_KIND] > BAR:
            return
        counters[NEXT_EVENT] += 1
        slot = event[EVENT_SLOT]
        own, fixed = book.state[slot], book.static[slot]
        if event[EVENT_KIND] == SPLIT:
            price = multiply_divide(own[CLOSE], event[EVENT_B], event[EVENT_A], True)
            book.cash[fixed[CURRENCY]] += apply_split(own, fixed, event[EVENT_A], event[EVENT_B], price)
            own[CLOSE] = price
            counters[EXPIRED] += cancel(book, slot, PLAIN) + cancel(book, slot, ENTRY)
            restate_exits(book, slot, event[EVENT_A], event[EVENT_B])
            sweep(book)
            split(machine, early, machine.code.shape[0], slot, event[EVENT_A], event[EVENT_B])
        elif event[EVENT_KIND] == DIVIDEND:
            book.cash[fixed[CURRENCY]] += apply_dividend(own, fixed, event[EVENT_A])


@kernel
def settle(book: Book, market: Market, row: int) -> None:
    """Expiries after the row's bar."""
    counters = book.counters
    while counters[NEXT_EVENT] < market.actions.shape[0]:
        event = market.actions[counters[NEXT_EVENT]]
        if event[EVENT_ROW] != row:
            break
        counters[NEXT_EVENT] += 1
        if event[EVENT_KIND] == EXPIRY:
            expire(book, market, event[EVENT_SLOT], event[EVENT_A], row)
    sweep(book)


@kernel
def close_session(book: Book, market: Market, slot: int, row: int) -> None:
    """A session ends after the row's bar: working DAY orders of the slot (-1: all) expire, intraday positions are
    squared off at the close."""
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        if order[VALIDITY] == DAY and slot in (-1, order[SLOT]):
            reduce(book, index, order[REMAINING])
            book.counters[EXPIRED] += 1
    for own in range(book.state.shape[0]):
        if book.static[own, PRODUCT] == INTRADAY and slot in (-1, own):
            liquidate(book, market, own, SQUARED_OFF, row)


@inlined
def session_from(sessions: np.ndarray, at: int, row: int) -> int:
    """The first session from place `at` on that does not end before `row`."""
    while at + STRIDE < sessions.shape[0] and sessions[at + STRIDE, EVENT_ROW] < row:
        at += STRIDE
    while at < sessions.shape[0] and sessions[at, EVENT_ROW] < row:
        at += 1
    return at


@inlined
def close_sessions(book: Book, market: Market, row: int) -> None:
    """The sessions that end with this row; those before it ended while there was nothing to expire or square off."""
    sessions = market.sessions
    first = session_from(sessions, book.counters[NEXT_SESSION], row)
    at = first
    while at < sessions.shape[0] and sessions[at, EVENT_ROW] == row:
        close_session(book, market, sessions[at, EVENT_SLOT], row)
        at += 1
    book.counters[NEXT_SESSION] = at
    if at > first:
        sweep(book)


@inlined
def next_session(book: Book, market: Market, row: int, end: int) -> int:
    """The first row from `row` on with which a session ends."""
    sessions = market.sessions
    at = session_from(sessions, book.counters[NEXT_SESSION], row)
    book.counters[NEXT_SESSION] = at
    return int(min(sessions[at, EVENT_ROW], end)) if at < sessions.shape[0] else end
