"""The exits of a position: those that its entry activates, market exits, exits by limit; and how they end together."""

import numpy as np

from app.engine.columns import (
    LIMIT_ORDER,
    MARKET,
    STOP_ORDER,
    Counter,
    Order,
    Reason,
    Role,
    Setting,
    State,
    Static,
    Validity,
)
from app.engine.kernels.book import Bar, Book
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.pool import append, away, on_tick, reduce
from app.engine.layout import Field

HIGH, LOW = int(Field.HIGH), int(Field.LOW)
HELD, TICK = int(State.QUANTITY), int(Static.TICK)
POOL, AMBIGUOUS = int(Counter.POOL), int(Counter.AMBIGUOUS)
SLOT, SIDE, TYPE, LIMIT, TRIGGER = (int(c) for c in (Order.SLOT, Order.SIDE, Order.TYPE, Order.LIMIT, Order.TRIGGER))
QUANTITY, REMAINING, ROLE, REASON = int(Order.QUANTITY), int(Order.REMAINING), int(Order.ROLE), int(Order.REASON)
VALIDITY, SEEN, UNSURE = int(Order.VALIDITY), int(Order.SEEN), int(Order.UNSURE)
STOP, TAKE, TRAIL = int(Order.STOP), int(Order.TAKE), int(Order.TRAIL)
STOP_RELATIVE, TAKE_RELATIVE = int(Setting.STOP_RELATIVE), int(Setting.TAKE_RELATIVE)
TRAIL_RELATIVE, EXIT_VALIDITY = int(Setting.TRAIL_RELATIVE), int(Setting.EXIT_VALIDITY)
ENTRY, EXIT, TILL_CANCELLED = int(Role.ENTRY), int(Role.EXIT), int(Validity.TILL_CANCELLED)
STOP_LOSS, TAKE_PROFIT, TRAILING = int(Reason.STOP_LOSS), int(Reason.TAKE_PROFIT), int(Reason.TRAILING_STOP)
LEAVE = int(Reason.EXIT)


@kernel
def exit_of(pool: np.ndarray, count: int, slot: int, kind: int) -> int:
    """The place of the slot's working exit of this type among the first `count` orders, or -1."""
    for index in range(count):
        order = pool[index]
        if order[SLOT] == slot and order[ROLE] == EXIT and order[TYPE] == kind and order[REMAINING] > 0:
            return index
    return -1


@inlined
def exit_for(book: Book, slot: int, side: int, kind: int, quantity: int, row: int) -> int:
    """The place of the slot's exit of this type, raised by the quantity, or of a new one."""
    at = exit_of(book.pool, book.counters[POOL], slot, kind)
    if at >= 0:
        book.pool[at, QUANTITY] += quantity
        book.pool[at, REMAINING] += quantity
        return at
    at = append(book, slot, side, kind, quantity, EXIT, STOP_LOSS, row)
    book.pool[at, SEEN], book.pool[at, VALIDITY] = 1, TILL_CANCELLED
    return at


@inlined
def activate(book: Book, index: int, quantity: int, price: int, row: int, within: bool) -> None:
    """After a fill of an entry: raise its exits by the quantity, or make them, at distances from this price.

    A stop-loss and a trailing stop are one stop order, at the nearer of the two. `within`: the fill came after the
    bar's open, so that some of the bar's prices may have come before it.
    """
    entry = book.pool[index]
    slot, side, settings, tick = entry[SLOT], entry[SIDE], book.settings, book.static[entry[SLOT], TICK]
    loss, trail = away(price, entry[STOP], settings[STOP_RELATIVE]), away(price, entry[TRAIL], settings[TRAIL_RELATIVE])
    if loss > 0 or trail > 0:
        fresh = exit_of(book.pool, book.counters[POOL], slot, STOP_ORDER) < 0
        order = book.pool[exit_for(book, slot, -side, STOP_ORDER, quantity, row)]
        if fresh:
            nearer = trail if loss == 0 or 0 < trail < loss else loss
            order[REASON] = STOP_LOSS if nearer == loss else TRAILING
            order[TRIGGER], order[TRAIL] = on_tick(price - side * nearer, tick, -side), trail
            order[UNSURE] = 1 if within and entry[TYPE] == STOP_ORDER else 0
    gain = away(price, entry[TAKE], settings[TAKE_RELATIVE])
    if gain > 0:
        fresh = exit_of(book.pool, book.counters[POOL], slot, LIMIT_ORDER) < 0
        order = book.pool[exit_for(book, slot, -side, LIMIT_ORDER, quantity, row)]
        if fresh:
            order[REASON], order[LIMIT] = TAKE_PROFIT, on_tick(price + side * gain, tick, side)
            order[UNSURE] = 1 if within and entry[TYPE] == LIMIT_ORDER else 0


@kernel
def within_reach(order: np.ndarray, low: int, high: int) -> bool:
    """Could the bar's range fill this working exit?"""
    if order[TYPE] == STOP_ORDER:
        return bool(order[TRIGGER] >= low if order[SIDE] < 0 else order[TRIGGER] <= high)
    return bool(order[TYPE] == LIMIT_ORDER and (high > order[LIMIT] if order[SIDE] < 0 else low < order[LIMIT]))


@inlined
def settle_exit(book: Book, bar: Bar, index: int, quantity: int, step: int) -> None:
    """After a fill of an exit: the slot's other exits lose that quantity, and what is left of its entry is cancelled.

    Within the bar, another exit that its range could have filled too makes the bar ambiguous.
    """
    filled = book.pool[index]
    slot = filled[SLOT]
    low, high = bar.fields[LOW, slot, bar.at], bar.fields[HIGH, slot, bar.at]
    ambiguous = 0 < step < 3 and filled[UNSURE] == 1  # at the close nothing is unsure
    for other in range(book.counters[POOL]):
        order = book.pool[other]
        if other == index or order[SLOT] != slot or order[REMAINING] == 0:
            continue
        if order[ROLE] == EXIT:
            ambiguous |= step > 0 and within_reach(order, low, high)
            reduce(book, other, min(quantity, order[REMAINING]))
        elif order[ROLE] == ENTRY and order[SIDE] != filled[SIDE]:
            reduce(book, other, order[REMAINING])
    if ambiguous:
        book.counters[AMBIGUOUS] += 1


@inlined
def leave(book: Book, slot: int, reason: int, row: int) -> None:
    """Send the position's market exit, unless one already works."""
    held = book.state[slot, HELD]
    if exit_of(book.pool, book.counters[POOL], slot, MARKET) >= 0:
        return
    at = append(book, slot, -1 if held > 0 else 1, MARKET, abs(held), EXIT, reason, row)
    book.pool[at, VALIDITY] = TILL_CANCELLED


@kernel
def leave_at(book: Book, slot: int, price: int, row: int) -> None:
    """Let the position's exit by limit rest at a price, on the tick away from the market. It takes the place of the
    take-profit, which it remembers. Nothing where a market exit works."""
    if exit_of(book.pool, book.counters[POOL], slot, MARKET) >= 0:
        return
    held = book.state[slot, HELD]
    side = -1 if held > 0 else 1
    at = exit_of(book.pool, book.counters[POOL], slot, LIMIT_ORDER)
    if at < 0:
        at = append(book, slot, side, LIMIT_ORDER, abs(held), EXIT, LEAVE, row)
    order = book.pool[at]
    if order[REASON] == TAKE_PROFIT:
        order[REASON], order[TAKE] = LEAVE, order[LIMIT]
    order[LIMIT] = on_tick(price, book.static[slot, TICK], -side)
    order[VALIDITY], order[SEEN] = book.settings[EXIT_VALIDITY], 0


@kernel
def resume(book: Book, index: int) -> bool:
    """An exit by limit that is over becomes the take-profit again whose place it took. False: there was none."""
    order = book.pool[index]
    if order[ROLE] != EXIT or order[TAKE] == 0:
        return False
    order[REASON], order[LIMIT], order[TAKE] = TAKE_PROFIT, order[TAKE], 0
    order[VALIDITY] = TILL_CANCELLED
    return True


@kernel
def restate_exits(book: Book, slot: int, numerator: int, denominator: int) -> None:
    """A position's exits follow a split: they are for what is held, at prices rounded away from the market."""
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        if order[SLOT] == slot and order[ROLE] == EXIT and order[REMAINING] > 0:
            order[REMAINING] = abs(book.state[slot, HELD])
            order[TRAIL] = multiply_divide(order[TRAIL], denominator, numerator, True)
            for column in (LIMIT, TRIGGER, TAKE):
                if order[column] > 0:
                    price = multiply_divide(order[column], denominator, numerator, True)
                    outward = order[SIDE] if column == TRIGGER else -order[SIDE]
                    order[column] = on_tick(price, book.static[slot, TICK], outward)
