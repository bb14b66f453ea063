"""The block machine: runs a register program over rows [start, end) of every slot.

Each instruction fills its column for the block from columns before it; what a value needs of the past lies in the flat
state arrays, so any cutting into blocks, down to one row, gives the same bits. `ok` says where a column has a value:
not during warm-up, not on a missing bar, not where it is undefined (x / 0).
"""

import numpy as np

from app.engine.kernels.book import Machine, Market
from app.engine.kernels.columnwise import arithmetic, lag, latch, logic, select
from app.engine.kernels.indicators import indicator, restate
from app.engine.kernels.integers import day_of_month, month_of
from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.recurrences import follow
from app.engine.kernels.windows import deviation, holding_return, rescale, sma, whole
from app.engine.layout import WEIGHT, Code, Field, Flag, Op, Shared, Signal

OP, A, B, C = int(Code.OP), int(Code.A), int(Code.B), int(Code.C)
I0, I1, STATE, FLOATS, UNIT = int(Code.I0), int(Code.I1), int(Code.STATE), int(Code.FLOATS), int(Code.UNIT)
SHARED, OWN, SAME = int(Code.SHARED), int(Shared.NO), int(Shared.YES)
CONST, FIELD, MONTH, DAY, WEEKDAY = int(Op.CONST), int(Op.FIELD), int(Op.MONTH), int(Op.DAY), int(Op.WEEKDAY)
MONTH_CHANGED, LAG, RETURN, SMA = int(Op.MONTH_CHANGED), int(Op.LAG), int(Op.RETURN), int(Op.SMA)
STDDEV, ZSCORE = int(Op.STDDEV), int(Op.ZSCORE)
GT = int(Op.GT)
SELECT, LATCH, VOLUME = int(Op.SELECT), int(Op.LATCH), int(Field.VOLUME)
KNOWN, LAST, LAST_MONTH = int(Signal.KNOWN), int(Signal.WEIGHT), int(Signal.MONTH)
UNKNOWN, HOLD, REBALANCE = int(Flag.UNKNOWN), int(Flag.HOLD), int(Flag.REBALANCE)
PEER, RANK, FLAT = int(Op.PEER), int(Op.RANK), int(Op.FLAT)
DATE, BAR_OF_DAY, INSTRUMENT = int(Op.DATE_NUMBER), int(Op.BAR_OF_DAY), int(Op.INSTRUMENT)
WEIGHT_SCALE = WEIGHT
AT_CHANGE, BY_MONTH = -1, -2  # a rule, as `Program.rule` numbers them
PURSUED = 2  # of `KNOWN`: a weight was asked for


@kernel
def calendar(op: int, days: np.ndarray, valid: np.ndarray, state: np.ndarray, out: np.ndarray, ok: np.ndarray) -> None:
    """Columns of the trading date."""
    for i in range(out.shape[0]):
        ok[i] = valid[i]
        if valid[i] == 0:
            continue
        if op == MONTH:
            out[i] = float(month_of(days[i]) % 12 + 1)
        elif op == DAY:
            out[i] = float(day_of_month(days[i]))
        elif op == WEEKDAY:
            out[i] = float((days[i] + 3) % 7 + 1)
        elif op == DATE:
            out[i] = float(days[i])
        elif op == BAR_OF_DAY:
            state[1] = state[1] + 1 if state[0] == days[i] else 1
            state[0] = days[i]
            out[i] = float(state[1])
        else:
            month = month_of(days[i])
            out[i] = 1.0 if state[0] == 1 and state[1] != month else 0.0
            ok[i] = state[0]
            state[0], state[1] = 1, month


@kernel
def source(
    op: int,
    scale: float,
    values: np.ndarray,
    days: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """Columns that no other column feeds: constants, fields, calendar."""
    if op == FIELD:
        for i in range(out.shape[0]):
            out[i] = float(values[i]) / scale
        for i in range(ok.shape[0]):
            ok[i] = valid[i]
    elif op in (CONST, INSTRUMENT):  # the column holds it already
        for i in range(ok.shape[0]):
            ok[i] = valid[i]
    else:
        calendar(op, days, valid, state, out, ok)


@inlined
def instruction(machine: Machine, market: Market, slot: int, node: int, start: int, end: int, base: int) -> None:
    """Fill columns[slot, node] for rows [start, end), at places row − base."""
    word, first, last = machine.code[node], start - base, end - base
    op, state, scales = word[OP], machine.ints[slot, word[STATE] :], machine.scales[slot]
    columns, known, live = machine.columns[slot], machine.known[slot], market.valid[slot, start:end]
    out, ok = columns[node, first:last], known[node, first:last]
    if op < SMA:
        field = word[A]
        source(
            op, scales[field], market.fields[field, slot, start:end], market.days[start:end],
            live, state, out, ok,
        )  # fmt: skip
    elif op < LAG:
        values, scale = market.fields[word[A], slot, start:end], scales[word[A]]
        if op == SMA:
            sma(state, values, live, out, ok, word[I0], scale)
        elif op == RETURN:
            holding_return(state, values, live, out, ok, word[I0], word[I1])
        else:
            deviation(op, state, values, live, out, ok, word[I0], word[I1], scale)
    elif op == LAG:
        lag(columns[word[A], first:last], known[word[A], first:last], live, state,
            machine.floats[slot, word[FLOATS] :], out, ok, word[I0])  # fmt: skip
    elif op == SELECT:
        when, then, other = word[A], word[B], word[C]
        select(
            columns[when, first:last], columns[then, first:last], columns[other, first:last],
            known[when, first:last], known[then, first:last], known[other, first:last], out, ok,
        )  # fmt: skip
    elif op > LATCH:
        indicator(
            word, market.fields[:, slot, start:end], scales, market.days[start:end], live, columns, known, first,
            state, machine.floats[slot, word[FLOATS] :], out, ok,
        )  # fmt: skip
    else:
        a, b = columns[word[A], first:last], columns[word[B], first:last]
        a_ok, b_ok = known[word[A], first:last], known[word[B], first:last]
        if op == LATCH:
            latch(a, b, a_ok, b_ok, state, out, ok)
        elif op < GT:
            arithmetic(op, a, b, a_ok, b_ok, out, ok)
        else:
            logic(op, a, b, a_ok, b_ok, out, ok)


@kernel
def rank(machine: Machine, node: int, first: int, last: int) -> None:
    """1 + the number of instruments whose value is larger, or equal and in an earlier slot; at places [first, last).

    I1 − 1 is the register of a condition: where it holds for no instrument the rank is not read, and is unknown.
    """
    given, gate, slots = machine.code[node, A], machine.code[node, I1] - 1, machine.columns.shape[0]
    columns, known, values = machine.columns, machine.known, machine.scratch
    for slot in range(slots):
        marks = known[slot, node, first:last]
        for i in range(marks.shape[0]):
            marks[i] = 0
    asked = known[0, node, first:last]
    for slot in range(slots):
        if gate >= 0:
            holds = columns[slot, gate, first:last]
            for i in range(asked.shape[0]):
                asked[i] |= 1 if holds[i] != 0.0 else 0
    for at in range(first, last):
        if gate >= 0 and asked[at - first] == 0:
            continue
        for slot in range(slots):
            values[slot] = columns[slot, given, at] if known[slot, given, at] == 1 else np.nan
        for slot in range(slots):
            columns[slot, node, at] = float(1 + beaten(values, slot))
            known[slot, node, at] = known[slot, given, at]


@inlined
def beaten(values: np.ndarray, slot: int) -> int:
    """How many values come before this one, largest first, ties in their order; NaN stands for none."""
    value, count = values[slot], 0
    before, after = values[:slot], values[slot + 1 :]
    for i in range(before.shape[0]):
        count += 1 if before[i] >= value else 0
    for i in range(after.shape[0]):
        count += 1 if after[i] > value else 0
    return count


@kernel
def peer(machine: Machine, market: Market, node: int, start: int, end: int, base: int) -> None:
    """The value of another slot, on the rows on which both have a bar."""
    given, other = machine.code[node, A], machine.code[node, I0] - 1
    for slot in range(machine.columns.shape[0]):
        for row in range(start, end):
            at = row - base
            machine.columns[slot, node, at] = machine.columns[other, given, at]
            machine.known[slot, node, at] = machine.known[other, given, at] & market.valid[slot, row]


@kernel
def copy_date(machine: Machine, market: Market, slot: int, node: int, start: int, end: int, base: int) -> None:
    """What depends on the date alone, as the first slot has it."""
    given, given_ok = (
        machine.columns[0, node, start - base : end - base],
        machine.known[0, node, start - base : end - base],
    )
    out, ok = (
        machine.columns[slot, node, start - base : end - base],
        machine.known[slot, node, start - base : end - base],
    )
    live = market.valid[slot, start:end]
    for i in range(out.shape[0]):
        out[i] = given[i]
    for i in range(ok.shape[0]):
        ok[i] = given_ok[i] & live[i]


@kernel
def run(machine: Machine, market: Market, first: int, last: int, start: int, end: int, base: int) -> int:
    """Run nodes [first, last) over rows [start, end) into places row − base. A rank or a peer needs other
    slots' values, so it divides the nodes into stages; position nodes are the simulator's. What depends on the date
    alone is computed for the first slot, where that has every bar."""
    dated = whole(market.valid[0, start:end], 0)
    while first < last:
        stop = first
        while stop < last and not PEER <= machine.code[stop, OP] <= RANK:
            stop += 1
        for slot in range(market.valid.shape[0]):
            for node in range(first, stop):
                kind = machine.code[node, SHARED] if slot > 0 and dated else OWN
                if kind == SAME:
                    copy_date(machine, market, slot, node, start, end, base)
                elif kind == OWN and machine.code[node, OP] < FLAT:
                    instruction(machine, market, slot, node, start, end, base)
        if stop < last and machine.code[stop, OP] == RANK:
            rank(machine, stop, start - base, end - base)
        elif stop < last:
            peer(machine, market, stop, start, end, base)
        first = stop + 1
    return 0


@kernel
def split(machine: Machine, first: int, last: int, slot: int, numerator: int, denominator: int) -> int:
    """Before the first row after a split: restate what nodes [first, last) remember of prices and volumes."""
    for node in range(first, last):
        word = machine.code[node]
        state, memory = machine.ints[slot, word[STATE] :], machine.floats[slot, word[FLOATS] :]
        if SMA <= word[OP] < LAG:
            size = word[I0] + 1 if word[OP] == RETURN else word[I0]
            if word[A] == VOLUME:
                rescale(state, size, numerator, denominator)
            else:
                rescale(state, size, denominator, numerator)
        elif word[OP] == LAG:
            follow(memory, word[I0], word[UNIT], numerator, denominator)
        elif LATCH < word[OP] < PEER or RANK < word[OP] < FLAT:
            restate(word, state, memory, numerator, denominator)
    return 0


@kernel
def weight_of(value: float, least: float) -> int:
    """At `WEIGHT`, clipped to least…1."""
    return int(np.floor(min(max(value, least), 1.0) * WEIGHT_SCALE + 0.5))


@kernel
def on_change(
    given: np.ndarray, given_ok: np.ndarray, own: np.ndarray, weights: np.ndarray, flags: np.ndarray, least: float
) -> None:
    """Rebalance where the weight differs from the last known one; the first known one trades nothing."""
    rows, at = given.shape[0], 0
    full = whole(given_ok, 0)
    while at < rows and (not full or at == 0):
        flags[at] = UNKNOWN
        if given_ok[at] == 1:
            weight = weight_of(given[at], least)
            flags[at] = REBALANCE if own[KNOWN] != 0 and weight != own[LAST] else HOLD
            own[KNOWN], own[LAST] = 1, weight
        weights[at] = own[LAST]
        at += 1
    if at < rows:
        now, before, values, said = weights[at:], weights[at - 1 :], given[at:], flags[at:]
        for i in range(values.shape[0]):
            now[i] = int(np.floor(min(max(values[i], least), 1.0) * WEIGHT_SCALE + 0.5))
        for i in range(said.shape[0]):
            said[i] = REBALANCE if now[i] != before[i] else HOLD
        own[LAST] = weights[rows - 1]


@kernel
def by_rule(
    given: np.ndarray, given_ok: np.ndarray, holds: np.ndarray, holds_ok: np.ndarray, valid: np.ndarray,
    own: np.ndarray, weights: np.ndarray, flags: np.ndarray, least: float,
) -> None:  # fmt: skip
    """Rebalance where a condition holds, and pursue that weight until it holds again."""
    state, weight = own[KNOWN], own[LAST]
    for i in range(given.shape[0]):
        flag = HOLD if state == PURSUED and valid[i] == 1 else UNKNOWN
        if holds[i] != 0.0 and holds_ok[i] == 1 and given_ok[i] == 1:
            state, weight, flag = PURSUED, weight_of(given[i], least), REBALANCE
        flags[i] = flag
        weights[i] = weight
    own[KNOWN], own[LAST] = state, weight


@kernel
def monthly(
    given: np.ndarray, given_ok: np.ndarray, days: np.ndarray, valid: np.ndarray,
    own: np.ndarray, weights: np.ndarray, flags: np.ndarray, least: float,
) -> None:  # fmt: skip
    """As `by_rule`, at the first known bar of a month after one of another month."""
    for i in range(given.shape[0]):
        flags[i] = HOLD if own[KNOWN] == PURSUED and valid[i] == 1 else UNKNOWN
        if given_ok[i] == 1:
            month = month_of(days[i])
            if own[KNOWN] != 0 and own[LAST_MONTH] != month:
                own[KNOWN], own[LAST] = PURSUED, weight_of(given[i], least)
                flags[i] = REBALANCE
            own[KNOWN], own[LAST_MONTH] = max(own[KNOWN], 1), month
        weights[i] = own[LAST]


@kernel
def signals(
    machine: Machine,
    market: Market,
    weights: np.ndarray,
    flags: np.ndarray,
    target: int,
    rule: int,
    least: int,
    start: int,
    end: int,
    base: int,
) -> int:
    """Turn the target column into weights (scale `WEIGHT`, clipped to least…1) and flags, at places row − base of the
    (slots, rows) outputs.

    A `rule` that is not negative is a condition's register.
    """
    first, last = start - base, end - base
    for slot in range(machine.signal.shape[0]):
        own, valid = machine.signal[slot], market.valid[slot, start:end]
        given, known = machine.columns[slot, target, first:last], machine.known[slot, target, first:last]
        pursued, said = weights[slot, first:last], flags[slot, first:last]
        if rule == AT_CHANGE:
            on_change(given, known, own, pursued, said, float(least))
        elif rule == BY_MONTH:
            monthly(given, known, market.days[start:end], valid, own, pursued, said, float(least))
        else:
            holds, holds_known = machine.columns[slot, rule, first:last], machine.known[slot, rule, first:last]
            by_rule(given, known, holds, holds_known, valid, own, pursued, said, float(least))
    return 0
