"""The decision: from targets and the book to intents. Simulator, paper and live call this one compiled function.

A slot trades when its flag says REBALANCE; a target of zero with something held is sold again at every known bar until
flat. Targets are shares of the equity at the last closes, less the reserve (room for charges, slippage and the gap to
the next open), or of a fixed number of units; floored to lots. Working quantities count as done. Buys never exceed the
spendable cash less the same reserve (proceeds of sales are not spent before they exist): if they would, all are scaled
by one factor, but for those whose quantity is worked out at the fill: they come after the sales. A position is sold
short only where the program says so. Sells come first, each side in slot order.
"""

import numpy as np

from app.engine.columns import LIMIT_ORDER, Class, Intended, Reason, Setting, Sizing, State, Static
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.positions import cost_of, notional_of, tied, worth_of
from app.engine.layout import BPS, WEIGHT, Flag

QUANTITY, CLOSE = int(State.QUANTITY), int(State.CLOSE)
OPEN_BUY, OPEN_SELL = int(State.OPEN_BUY), int(State.OPEN_SELL)
MULTIPLY, DIVIDE, TICK, LOT = int(Static.MULTIPLY), int(Static.DIVIDE), int(Static.TICK), int(Static.LOT)
RESERVE, TOLERANCE = int(Setting.RESERVE_BPS), int(Setting.TOLERANCE_BPS)
UNITS, UNIT, MONEY = int(Setting.UNITS), int(Static.UNIT), int(Static.MONEY_SCALE)
SHORT, SIZING, FULL = int(Setting.SHORT), int(Setting.SIZING), int(Setting.AMOUNT)
AT_FILL, CASH = int(Setting.AT_FILL), int(Sizing.CASH)
ORDER_TYPE, OFFSET = int(Setting.ORDER_TYPE), int(Setting.OFFSET_BPS)
SLOT, SIDE, AMOUNT, LIMIT, REASON, BUDGET = (int(c) for c in Intended)
ENTER, INCREASE, REDUCE, EXIT = (int(r) for r in list(Reason)[:4])
NOTHING = -1  # there is no equity
UNKNOWN, REBALANCE = int(Flag.UNKNOWN), int(Flag.REBALANCE)
CLASS, EQUITY, GONE = int(Static.CLASS), int(Class.EQUITY), int(State.GONE)


@kernel
def equity_of(state: np.ndarray, static: np.ndarray, cash: int) -> int:
    """cash + Σ quantity × last close, in minor units, each product rounded half up; of futures less their cost."""
    total = cash
    for slot in range(state.shape[0]):
        if state[slot, QUANTITY] != 0:
            total += worth_of(state[slot], state[slot, CLOSE], static[slot])
    return total


@kernel
def free_of(state: np.ndarray, static: np.ndarray, settings: np.ndarray, cash: int) -> int:
    """The cash, with what contracts have gained or lost and without what they tie up."""
    total = cash
    for slot in range(state.shape[0]):
        held, close = state[slot, QUANTITY], state[slot, CLOSE]
        if static[slot, CLASS] != EQUITY and held != 0:
            total += worth_of(state[slot], close, static[slot]) - tied(held, close, static[slot], settings)
    return total


@kernel
def limit_of(close: int, side: int, offset: int, tick: int) -> int:
    """`offset` basis points better than the close, rounded to the tick on the better side, at least one tick."""
    unit = BPS * tick
    ticks = multiply_divide(close, BPS - side * offset, unit, False)
    if side < 0 and ((close % unit) * (BPS + offset)) % unit != 0:
        ticks += 1
    return max(ticks, 1) * tick


@inlined
def less_reserve(settings: np.ndarray, amount: int) -> int:
    """An amount without the share of it that is kept."""
    return multiply_divide(amount, BPS - settings[RESERVE], BPS, False)


@kernel
def full_position(settings: np.ndarray, static: np.ndarray, usable: int, share: int) -> int:
    """The money of `share` (at `WEIGHT`) of a full position, where that is no number of units; of cash, or of the
    equity `less_reserve`."""
    full = settings[FULL] * static[MONEY] if settings[SIZING] == CASH else usable
    return full if share == WEIGHT else multiply_divide(full, share, WEIGHT, False)


@inlined
def change_of(
    weight: int, flag: int, state: np.ndarray, static: np.ndarray, settings: np.ndarray, usable: int, least: int
) -> int:
    """Signed quantity one slot wants to trade, before the cash limit: with `usable`, the equity less the reserve, or
    `NOTHING`; and of what is held not less than `least`."""
    held: int = state[QUANTITY]
    close: int = state[CLOSE]
    lot: int = static[LOT]
    free: int = held - state[OPEN_SELL]
    if flag == UNKNOWN or close <= 0 or usable == NOTHING or state[GONE] != 0:
        return 0
    if weight == 0 and settings[SHORT] == 0:
        return -free if free > 0 else 0
    if flag != REBALANCE and weight != 0:
        return 0
    if settings[UNITS] > 0:
        wanted = multiply_divide(settings[UNITS] * static[UNIT], abs(weight), WEIGHT, False)
    else:
        budget = full_position(settings, static, usable, abs(weight))
        wanted = multiply_divide(budget, static[DIVIDE], close * static[MULTIPLY], False)
    wanted -= wanted % lot
    change: int = (wanted if weight > 0 else -wanted) - (free + state[OPEN_BUY])
    size = abs(change)
    if held != 0 and least > 0 and notional_of(size, close, static) < least:
        return 0
    if settings[SHORT] != 0:
        size -= size % lot
        return size if change > 0 else -size
    if change > 0:
        return change - change % lot
    size = min(size, max(free, 0))
    return size % lot - size


@kernel
def reason_of(weight: int, held: int, side: int) -> int:
    """Why a slot trades on this side."""
    if held * side < 0:
        return REDUCE if weight * held > 0 else EXIT
    return ENTER if held == 0 else INCREASE


@kernel
def decide(
    weights: np.ndarray,
    flags: np.ndarray,
    state: np.ndarray,
    static: np.ndarray,
    settings: np.ndarray,
    intents: np.ndarray,
    at: int,
    cash: int,
    reserved: int,
) -> int:
    """Write intents (rows of `Intended`) and return their number.

    weights i8 (slots, rows) at `WEIGHT` and flags u1 (slots, rows), read at place `at`; state (slots, STATE); static
    (slots, STATIC); `cash` all settled cash and `reserved` what working orders hold of it, in minor units.
    """
    slots = state.shape[0]
    equity = equity_of(state, static, cash)
    usable = less_reserve(settings, equity) if equity > 0 else NOTHING
    least = multiply_divide(max(equity, 0), settings[TOLERANCE], BPS, False)
    count, cost = 0, 0
    for slot in range(slots):
        change = change_of(weights[slot, at], flags[slot, at], state[slot], static[slot], settings, usable, least)
        intents[slot, BUDGET] = change  # its place for now: no row is read before its budget is written, below
        if change < 0:
            row = intents[count]
            row[SLOT], row[SIDE], row[AMOUNT] = slot, -1, -change
            row[REASON] = reason_of(weights[slot, at], state[slot, QUANTITY], -1)
            count += 1
        elif change > 0:
            cost += cost_of(change, state[slot, CLOSE], static[slot], settings)
    if cost > 0:
        free = free_of(state, static, settings, cash)
        spendable = less_reserve(settings, max(free - reserved, 0))
        for slot in range(slots):
            change = intents[slot, BUDGET]
            if change <= 0:
                continue
            if cost > spendable and settings[SHORT] == 0 and settings[AT_FILL] == 0:
                change = multiply_divide(change, spendable, cost, False)
                change -= change % static[slot, LOT]
            if change > 0:
                row = intents[count]
                row[SLOT], row[SIDE], row[AMOUNT] = slot, 1, change
                row[REASON] = reason_of(weights[slot, at], state[slot, QUANTITY], 1)
                count += 1
    for index in range(count):
        row = intents[index]
        row[LIMIT], row[BUDGET] = 0, 0
        if settings[AT_FILL] != 0 and row[SIDE] > 0:
            slot = row[SLOT]
            held = notional_of(state[slot, QUANTITY], state[slot, CLOSE], static[slot])
            row[BUDGET] = max(full_position(settings, static[slot], usable, abs(weights[slot, at])) - held, 1)
        if settings[ORDER_TYPE] == LIMIT_ORDER:
            slot = row[SLOT]
            row[LIMIT] = limit_of(state[slot, CLOSE], row[SIDE], settings[OFFSET], static[slot, TICK])
    return count
