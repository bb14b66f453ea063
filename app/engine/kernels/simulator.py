"""The order simulator: walks the timeline row by row; everything it knows lies in flat arrays, so it can stop anywhere.

Within a row: actions, then the bar's prices (open, extremes, close) against the order pool, then session ends, then the
decision on the closed bar. An order therefore meets its first price on the next row.
"""

import numpy as np

from app.engine.kernels.charging import charge
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import kernel
from app.engine.kernels.matching import match
from app.engine.kernels.positions import apply_dividend, apply_fill, apply_split, notional_of
from app.engine.kernels.sizing import decide
from app.engine.layout import (
    LIMIT_ORDER,
    MARKET,
    Counter,
    Event,
    Field,
    FillColumn,
    Flag,
    Intended,
    Kind,
    Order,
    Setting,
    State,
    Static,
)  # fmt: skip

OPEN, HIGH, LOW, CLOSE_PRICE = int(Field.OPEN), int(Field.HIGH), int(Field.LOW), int(Field.CLOSE)
QUANTITY, CLOSE = int(State.QUANTITY), int(State.CLOSE)
OPEN_BUY, OPEN_SELL = int(State.OPEN_BUY), int(State.OPEN_SELL)
MULTIPLY, DIVIDE = int(Static.MULTIPLY), int(Static.DIVIDE)
HOLD, REBALANCE = int(Flag.HOLD), int(Flag.REBALANCE)
TICK, UNIT, PRODUCT, CURRENCY = int(Static.TICK), int(Static.UNIT), int(Static.PRODUCT), int(Static.CURRENCY)
NEXT_EVENT, ORDERS, POOL, FILLS = int(Counter.EVENT), int(Counter.ORDERS), int(Counter.POOL), int(Counter.FILLS)
EXPIRED, UNAFFORDABLE = int(Counter.EXPIRED), int(Counter.UNAFFORDABLE)
EVENT_ROW, EVENT_KIND, EVENT_SLOT, EVENT_A, EVENT_B = (int(c) for c in Event)
SPLIT, DIVIDEND, BAR = int(Kind.SPLIT), int(Kind.DIVIDEND), int(Kind.BAR)
(ORDER_ID, ORDER_SLOT, ORDER_SIDE, ORDER_TYPE, ORDER_LIMIT, ORDER_QUANTITY, REMAINING, VALIDITY, GROUP, PARENT, ROLE,
 SEEN, ORDER_REASON, ORDER_ROW) = (int(c) for c in Order)  # fmt: skip
(FILL_ROW, FILL_SLOT, FILL_SIDE, FILL_QUANTITY, FILL_PRICE, FILL_NOTIONAL, FILL_CHARGES, FILL_ORDER, FILL_REASON,
 FILL_CAUSE, FILL_CASH) = (int(c) for c in FillColumn)  # fmt: skip
SLIPPAGE, TRADE_FROM, TYPE = int(Setting.SLIPPAGE_BPS), int(Setting.TRADE_FROM), int(Setting.ORDER_TYPE)
INTENT_SLOT, INTENT_SIDE, INTENT_QUANTITY, INTENT_LIMIT, INTENT_REASON = (int(c) for c in Intended)


@kernel("void(i8[:, ::1], i8[:, ::1], i8[::1], i8)")
def drop(pool: np.ndarray, state: np.ndarray, counters: np.ndarray, index: int) -> None:
    """Take an order out of the pool, keeping the others' order, and free what it held open."""
    order = pool[index]
    state[order[ORDER_SLOT], OPEN_BUY if order[ORDER_SIDE] > 0 else OPEN_SELL] -= order[REMAINING]
    for i in range(index, counters[POOL] - 1):
        for column in range(pool.shape[1]):  # a row assigned to a row would be copied through fresh memory
            pool[i, column] = pool[i + 1, column]
    counters[POOL] -= 1


@kernel("void(i8[:, ::1], i8[:, ::1], i8[:, ::1], i8[::1], i8[:, ::1], i8[::1], i8)")
def act(
    events: np.ndarray,
    state: np.ndarray,
    static: np.ndarray,
    cash: np.ndarray,
    pool: np.ndarray,
    counters: np.ndarray,
    row: int,
) -> None:
    """Corporate actions dated before the row's bar. Working orders of a split slot are cancelled, as exchanges do."""
    while counters[NEXT_EVENT] < events.shape[0]:
        event = events[counters[NEXT_EVENT]]
        if event[EVENT_ROW] != row or event[EVENT_KIND] > BAR:
            return
        counters[NEXT_EVENT] += 1
        slot = event[EVENT_SLOT]
        own, fixed = state[slot], static[slot]
        if event[EVENT_KIND] == SPLIT:
            price = multiply_divide(own[CLOSE], event[EVENT_B], event[EVENT_A], True)
            cash[fixed[CURRENCY]] += apply_split(own, fixed, event[EVENT_A], event[EVENT_B], price)
            own[CLOSE] = price
            for index in range(counters[POOL] - 1, -1, -1):
                if pool[index, ORDER_SLOT] == slot:
                    drop(pool, state, counters, index)
                    counters[EXPIRED] += 1
        elif event[EVENT_KIND] == DIVIDEND:
            cash[fixed[CURRENCY]] += apply_dividend(own, fixed, event[EVENT_A])


@kernel("void(i8[:, ::1], i8[:, ::1], i8[:, ::1], i8[::1], i8)")
def close_sessions(events: np.ndarray, state: np.ndarray, pool: np.ndarray, counters: np.ndarray, row: int) -> None:
    """Session ends after the row's bar: working DAY orders of the slot (-1: all) expire."""
    while counters[NEXT_EVENT] < events.shape[0]:
        event = events[counters[NEXT_EVENT]]
        if event[EVENT_ROW] != row:
            return
        counters[NEXT_EVENT] += 1
        for index in range(counters[POOL] - 1, -1, -1):
            order = pool[index]
            if order[VALIDITY] == 0 and (event[EVENT_SLOT] < 0 or event[EVENT_SLOT] == order[ORDER_SLOT]):
                drop(pool, state, counters, index)
                counters[EXPIRED] += 1


@kernel(
    "b1(i8[::1], i8, i8, i8, i8, i8, i8[:, ::1], i8[:, ::1], i8[::1], i8[::1], i8[:, ::1], i8[:, ::1], i8[::1],"
    " i8[::1], i8[::1])"
)
def execute(
    order: np.ndarray,
    quantity: int,
    price: int,
    cause: int,
    row: int,
    day: int,
    state: np.ndarray,
    static: np.ndarray,
    cash: np.ndarray,
    counters: np.ndarray,
    fills: np.ndarray,
    rates: np.ndarray,
    units: np.ndarray,
    amounts: np.ndarray,
    totals: np.ndarray,
) -> bool:
    """Book one fill with its charges. False, and nothing booked, when a buy costs more than the cash there is."""
    slot, side = order[ORDER_SLOT], order[ORDER_SIDE]
    fixed = static[slot]
    notional = notional_of(quantity, price, fixed)
    fee = charge(rates, units, notional, quantity, fixed[UNIT], side, fixed[PRODUCT], day, amounts)
    if side > 0 and notional + fee > cash[fixed[CURRENCY]]:
        return False
    for head in range(totals.shape[0]):
        totals[head] += amounts[head]
    cash[fixed[CURRENCY]] += apply_fill(state[slot], fixed, side, quantity, price) - fee
    order[REMAINING] -= quantity
    state[slot, OPEN_BUY if side > 0 else OPEN_SELL] -= quantity
    fill = fills[counters[FILLS]]
    fill[FILL_ROW], fill[FILL_SLOT], fill[FILL_SIDE], fill[FILL_QUANTITY] = row, slot, side, quantity
    fill[FILL_PRICE], fill[FILL_NOTIONAL], fill[FILL_CHARGES] = price, notional, fee
    fill[FILL_ORDER], fill[FILL_REASON], fill[FILL_CAUSE] = order[ORDER_ID], order[ORDER_REASON], cause
    fill[FILL_CASH] = cash[fixed[CURRENCY]]
    counters[FILLS] += 1
    return True


@kernel(
    "void(i8[:, :, ::1], u1[:, ::1], i8, i8, i8, i8[:, ::1], i8[:, ::1], i8[::1], i8[:, ::1], i8[::1], i8[:, ::1],"
    " i8[:, ::1], i8[::1], i8[::1], i8[::1])"
)
def trade(
    fields: np.ndarray,
    valid: np.ndarray,
    row: int,
    day: int,
    bps: int,
    state: np.ndarray,
    static: np.ndarray,
    cash: np.ndarray,
    pool: np.ndarray,
    counters: np.ndarray,
    fills: np.ndarray,
    rates: np.ndarray,
    units: np.ndarray,
    amounts: np.ndarray,
    totals: np.ndarray,
) -> None:
    """Show the row's prices to the working orders: every open first, then the extremes and the close."""
    for step in range(4):
        index = 0
        while index < counters[POOL]:
            order = pool[index]
            slot = order[ORDER_SLOT]
            index += 1
            if valid[slot, row] == 0:
                continue
            rising = fields[CLOSE_PRICE, slot, row] >= fields[OPEN, slot, row]
            if step == 0:
                price = fields[OPEN, slot, row]
            elif step == 3:
                price = fields[CLOSE_PRICE, slot, row]
            else:
                price = fields[LOW if (step == 1) == rising else HIGH, slot, row]
            first_seen = order[SEEN] == 0
            order[SEEN] = 1
            paid, cause = match(
                order[ORDER_SIDE], order[ORDER_TYPE], order[ORDER_LIMIT], price, step == 0, first_seen,
                static[slot, TICK], bps,
            )  # fmt: skip
            if paid == 0:
                continue
            if not execute(
                order, order[REMAINING], paid, cause, row, day, state, static, cash, counters, fills, rates, units,
                amounts, totals,
            ):  # fmt: skip
                counters[UNAFFORDABLE] += 1
            index -= 1
            drop(pool, state, counters, index)


@kernel("void(i8[:, ::1], i8, i8[:, ::1], i8[:, ::1], i8[::1], i8, i8)")
def place(
    intents: np.ndarray, count: int, pool: np.ndarray, state: np.ndarray, counters: np.ndarray, kind: int, row: int
) -> None:
    """Turn intents into working DAY orders, ids dense from 1."""
    for i in range(count):
        order = pool[counters[POOL]]
        order[:] = 0
        counters[POOL] += 1
        counters[ORDERS] += 1
        wanted = intents[i]
        order[ORDER_ID], order[ORDER_SLOT], order[ORDER_SIDE] = (
            counters[ORDERS],
            wanted[INTENT_SLOT],
            wanted[INTENT_SIDE],
        )
        order[ORDER_TYPE] = LIMIT_ORDER if kind == LIMIT_ORDER else MARKET
        order[ORDER_LIMIT], order[ORDER_REASON], order[ORDER_ROW] = wanted[INTENT_LIMIT], wanted[INTENT_REASON], row
        order[ORDER_QUANTITY], order[REMAINING] = wanted[INTENT_QUANTITY], wanted[INTENT_QUANTITY]
        column = OPEN_BUY if order[ORDER_SIDE] > 0 else OPEN_SELL
        state[order[ORDER_SLOT], column] += order[REMAINING]


@kernel("i8(i8[:, ::1], i8, i8[:, ::1], i8[:, ::1])")
def held_for(pool: np.ndarray, count: int, state: np.ndarray, static: np.ndarray) -> int:
    """What working buys hold of the cash: their value at the limit, or at the last close."""
    total = 0
    for index in range(count):
        order = pool[index]
        if order[ORDER_SIDE] > 0:
            slot = order[ORDER_SLOT]
            price = order[ORDER_LIMIT] if order[ORDER_TYPE] == LIMIT_ORDER else state[slot, CLOSE]
            total += notional_of(order[REMAINING], price, static[slot])
    return total


@kernel(
    "i8(i8[:, :, ::1], u1[:, ::1], i8[::1], i8[:, ::1], i8[:, ::1], u1[:, ::1], i8[:, ::1], i8[:, ::1], i8[::1],"
    " i8[::1], i8[:, ::1], i8[::1], i8[:, ::1], i8[:, ::1], i8[:, ::1], i8[::1], i8[::1], i8[::1], i8[::1], i8, i8, i8)"
)
def simulate(
    fields: np.ndarray,
    valid: np.ndarray,
    days: np.ndarray,
    events: np.ndarray,
    weights: np.ndarray,
    flags: np.ndarray,
    state: np.ndarray,
    static: np.ndarray,
    settings: np.ndarray,
    cash: np.ndarray,
    pool: np.ndarray,
    counters: np.ndarray,
    fills: np.ndarray,
    intents: np.ndarray,
    rates: np.ndarray,
    units: np.ndarray,
    amounts: np.ndarray,
    totals: np.ndarray,
    equity: np.ndarray,
    start: int,
    end: int,
    base: int,
) -> int:
    """Run rows [start, end); weights and flags are (rows, slots) from row `base`. Returns the first row not run: less
    than `end` when the fill buffer must be emptied first, or -1 - row when the pool is too small."""
    row = start
    slots = state.shape[0]
    eventful = events[counters[NEXT_EVENT], EVENT_ROW] if counters[NEXT_EVENT] < events.shape[0] else end
    while row < end:
        if counters[FILLS] + counters[POOL] > fills.shape[0]:
            return row
        if row == eventful:
            act(events, state, static, cash, pool, counters, row)
        if counters[POOL] > 0:
            trade(
                fields, valid, row, days[row], settings[SLIPPAGE], state, static, cash, pool, counters, fills, rates,
                units, amounts, totals,
            )  # fmt: skip
        if row == eventful:
            close_sessions(events, state, pool, counters, row)
            eventful = events[counters[NEXT_EVENT], EVENT_ROW] if counters[NEXT_EVENT] < events.shape[0] else end
        at = row - base
        worth, stirred = cash[0], False
        for slot in range(slots):
            if valid[slot, row] != 0:
                state[slot, CLOSE] = fields[CLOSE_PRICE, slot, row]
            held, flag = state[slot, QUANTITY], flags[at, slot]
            if held != 0:
                price = state[slot, CLOSE] * static[slot, MULTIPLY]
                worth += multiply_divide(held, price, static[slot, DIVIDE], True)
            if flag == REBALANCE or (flag == HOLD and held > 0 and weights[at, slot] == 0):
                stirred = True
        equity[row] = worth
        if stirred and row >= settings[TRADE_FROM]:
            reserved = held_for(pool, counters[POOL], state, static)
            count = decide(weights[at], flags[at], state, static, settings, cash[0], reserved, intents)
            if counters[POOL] + count > pool.shape[0]:
                return -1 - row
            place(intents, count, pool, state, counters, settings[TYPE], row)
        row += 1
    return row
