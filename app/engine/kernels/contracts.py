"""What futures and options do that shares do not: they expire, and fall below the margin that they tie up."""

import numpy as np

from app.engine.columns import MARKET, Cause, Class, Counter, Reason, Role, Setting, State, Static
from app.engine.kernels.book import Book, Market
from app.engine.kernels.charging import charge
from app.engine.kernels.execution import record
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import kernel
from app.engine.kernels.pool import append, cancel
from app.engine.kernels.positions import notional_of, tied
from app.engine.layout import BPS, Field

CLOSE_PRICE = int(Field.CLOSE)
HELD, CLOSE, GONE = int(State.QUANTITY), int(State.CLOSE), int(State.GONE)
CLASS, UNIT, PRODUCT, MARGINED = int(Static.CLASS), int(Static.UNIT), int(Static.PRODUCT), int(Static.MARGINED)
EQUITY, OPTION, EXIT = int(Class.EQUITY), int(Class.OPTION), int(Role.EXIT)
MAINTENANCE, CALL = int(Setting.MAINTENANCE_BPS), int(Setting.CALL_BPS)
EXPIRED, EXPIRY, SETTLEMENT = int(Counter.EXPIRED), int(Reason.EXPIRY), int(Cause.SETTLEMENT)


@kernel
def expire(book: Book, market: Market, slot: int, price: int, row: int) -> None:
    """After the row's bar: cancel the slot's orders, settle its position in cash at `price` (-1: at the close), and
    trade it no more. Only an exercised option is charged: long, and worth something."""
    own, fixed = book.state[slot], book.static[slot]
    book.counters[EXPIRED] += cancel(book, slot, -1)
    own[GONE] = 1
    held = own[HELD]
    if held == 0:
        return
    if price < 0:
        price = market.fields[CLOSE_PRICE, slot, row] if market.valid[slot, row] != 0 else own[CLOSE]
    book.amounts[:] = 0
    fee = 0
    if fixed[CLASS] == OPTION and held > 0:
        value = notional_of(held, price, fixed)
        fee = charge(
            book.rates, book.units, value, held, fixed[UNIT], 0, fixed[PRODUCT], market.days[row], book.amounts
        )
    at = append(book, slot, -1 if held > 0 else 1, MARKET, abs(held), EXIT, EXPIRY, row)
    record(book, at, abs(held), price, fee, SETTLEMENT, row)


@kernel
def needed(state: np.ndarray, static: np.ndarray, settings: np.ndarray) -> int:
    """The equity below which every position is closed: maintenance of what is paid for, a share of what contracts tie
    up. Long options are paid for and ask for none."""
    gross, bound = 0, 0
    for slot in range(state.shape[0]):
        held, close, fixed = state[slot, HELD], state[slot, CLOSE], static[slot]
        if held == 0:
            continue
        if fixed[CLASS] == EQUITY:
            gross += abs(notional_of(held, close, fixed))
        elif fixed[MARGINED] != 0 or held < 0:
            bound += tied(held, close, fixed, settings)
    if gross == 0 and bound == 0:
        return -1
    return multiply_divide(gross, settings[MAINTENANCE], BPS, True) + multiply_divide(bound, settings[CALL], BPS, True)
