"""The order pool: orders enter at its end, die by having nothing remaining, and are swept once a row."""

from app.engine.columns import Counter, Order, Role, State, Static
from app.engine.kernels.book import Book
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel

ID, SLOT, SIDE, TYPE = int(Order.ID), int(Order.SLOT), int(Order.SIDE), int(Order.TYPE)
QUANTITY, REMAINING, ROLE = int(Order.QUANTITY), int(Order.REMAINING), int(Order.ROLE)
REASON, ROW = int(Order.REASON), int(Order.ROW)
OPEN_BUY, OPEN_SELL = int(State.OPEN_BUY), int(State.OPEN_SELL)
ORDERS, POOL = int(Counter.ORDERS), int(Counter.POOL)
PLAIN = int(Role.PLAIN)
TICK, TRIGGER, TRAIL = int(Static.TICK), int(Order.TRIGGER), int(Order.TRAIL)
MILLION = 1_000_000


@inlined
def append(book: Book, slot: int, side: int, kind: int, quantity: int, role: int, reason: int, row: int) -> int:
    """A new working order; its place in the pool. Ids are dense from 1. The caller saw to it that there is room."""
    at = book.counters[POOL]
    order = book.pool[at]
    order[:] = 0
    book.counters[POOL] += 1
    book.counters[ORDERS] += 1
    order[ID], order[SLOT], order[SIDE], order[TYPE] = book.counters[ORDERS], slot, side, kind
    order[QUANTITY], order[REMAINING], order[ROLE] = quantity, quantity, role
    order[REASON], order[ROW] = reason, row
    if role == PLAIN:
        book.state[slot, OPEN_BUY if side > 0 else OPEN_SELL] += quantity
    return int(at)


@inlined
def reduce(book: Book, index: int, quantity: int) -> None:
    """Take `quantity` off what remains of an order, and off what it held open."""
    order = book.pool[index]
    order[REMAINING] -= quantity
    if order[ROLE] == PLAIN:
        book.state[order[SLOT], OPEN_BUY if order[SIDE] > 0 else OPEN_SELL] -= quantity


@kernel
def cancel(book: Book, slot: int, role: int) -> int:
    """Cancel the slot's orders of a role (-1: of every role; slot -1: of every slot); how many there were."""
    count = 0
    for index in range(book.counters[POOL]):
        order = book.pool[index]
        if (slot < 0 or order[SLOT] == slot) and (role < 0 or order[ROLE] == role) and order[REMAINING] > 0:
            reduce(book, index, order[REMAINING])
            count += 1
    return count


@inlined
def sweep(book: Book) -> None:
    """Take the dead orders out, keeping the others' order."""
    kept = 0
    for index in range(book.counters[POOL]):
        if book.pool[index, REMAINING] > 0:
            if kept != index:
                for column in range(book.pool.shape[1]):  # a row assigned to a row is copied through fresh memory
                    book.pool[kept, column] = book.pool[index, column]
            kept += 1
    book.counters[POOL] = kept


@kernel
def on_tick(price: int, tick: int, side: int) -> int:
    """The price on the tick grid at or beyond it: up where `side` is 1, down where it is -1; at least one tick."""
    ticks = price // tick
    if side > 0 and ticks * tick != price:
        ticks += 1
    return max(ticks, 1) * tick


@kernel
def away(price: int, distance: int, relative: int) -> int:
    """A distance in units of price; relative: `distance` millionths of the price, half up."""
    return multiply_divide(price, distance, MILLION, True) if relative != 0 else distance
