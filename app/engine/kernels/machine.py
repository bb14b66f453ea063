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
from app.engine.kernels.windows import deviation, holding_return, rescale, return_at, sma, whole
from app.engine.layout import Code, Field, Op, Shared

OP, A, B, C = int(Code.OP), int(Code.A), int(Code.B), int(Code.C)
I0, I1, STATE, FLOATS, UNIT = int(Code.I0), int(Code.I1), int(Code.STATE), int(Code.FLOATS), int(Code.UNIT)
SHARED, OWN, SAME, WITHIN = int(Code.SHARED), int(Shared.NO), int(Shared.YES), int(Shared.WITHIN)
CONST, FIELD, MONTH, DAY, WEEKDAY = int(Op.CONST), int(Op.FIELD), int(Op.MONTH), int(Op.DAY), int(Op.WEEKDAY)
MONTH_CHANGED, LAG, RETURN, SMA = int(Op.MONTH_CHANGED), int(Op.LAG), int(Op.RETURN), int(Op.SMA)
STDDEV, ZSCORE = int(Op.STDDEV), int(Op.ZSCORE)
GT, GATHER = int(Op.GT), int(Op.GATHER)
SELECT, LATCH, VOLUME = int(Op.SELECT), int(Op.LATCH), int(Field.VOLUME)
PEER, RANK, FLAT = int(Op.PEER), int(Op.RANK), int(Op.FLAT)
DATE, BAR_OF_DAY, INSTRUMENT = int(Op.DATE_NUMBER), int(Op.BAR_OF_DAY), int(Op.INSTRUMENT)


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
    elif op > LATCH:
        indicator(
            word, market.fields[:, slot, start:end], scales, market.days[start:end], live, columns, known, first,
            state, machine.floats[slot, word[FLOATS] :], out, ok,
        )  # fmt: skip
    elif op == LATCH:
        enter, leave = word[A], word[B]
        latch(columns[enter, first:last], columns[leave, first:last], known[enter, first:last],
              known[leave, first:last], state, out, ok)  # fmt: skip
    else:
        combine(word, columns, known, out, ok, first, last)


@inlined
def combine(
    word: np.ndarray, columns: np.ndarray, known: np.ndarray, out: np.ndarray, ok: np.ndarray, first: int, last: int
) -> None:
    """What needs nothing but the same places [first, last) of other columns."""
    op, a, a_ok = word[OP], columns[word[A], first:last], known[word[A], first:last]
    b, b_ok = columns[word[B], first:last], known[word[B], first:last]
    if op == SELECT:
        select(a, b, columns[word[C], first:last], a_ok, b_ok, known[word[C], first:last], out, ok)
    elif op < GT:
        arithmetic(op, a, b, a_ok, b_ok, out, ok)
    else:
        logic(op, a, b, a_ok, b_ok, out, ok)


@kernel
def rank(machine: Machine, node: int, first: int, last: int) -> None:
    """1 + the number of instruments whose value is larger, or equal and in an earlier slot; at places [first, last)."""
    given, slots = machine.code[node, A], machine.columns.shape[0]
    columns, known, values = machine.columns, machine.known, machine.scratch
    for at in range(first, last):
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


@inlined
def alike(machine: Machine, market: Market, node: int, start: int, end: int) -> bool:
    """Does the first slot's column say the same as every other's?"""
    return bool(machine.code[node, SHARED] == WITHIN and whole(market.valid[0, start:end], 0))


@kernel
def ask(machine: Machine, market: Market, gate: int, before: int, start: int, end: int, base: int) -> int:
    """Note, behind the `before` places noted, those of rows [start, end) at which the condition in register `gate`
    holds for any slot; how many there are now."""
    first, last = start - base, end - base
    marks = machine.asked[1 + before : 1 + before + end - start]
    for i in range(marks.shape[0]):
        marks[i] = 0
    for slot in range(1 if alike(machine, market, gate, start, end) else machine.columns.shape[0]):
        holds, known = machine.columns[slot, gate, first:last], machine.known[slot, gate, first:last]
        for i in range(marks.shape[0]):
            marks[i] |= (1 if holds[i] != 0.0 else 0) & known[i]
    count = 0
    for i in range(marks.shape[0]):
        asked = marks[i]
        marks[count] = first + i
        count += asked
    machine.asked[0] = before + count
    return int(before + count)


@inlined
def thinned(
    machine: Machine, market: Market, slot: int, node: int, before: int, start: int, end: int, base: int
) -> None:
    """One instruction of one slot at the places asked for, from the `before`-th on, into as many places of its
    column."""
    word, places = machine.code[node], machine.asked[1 + before : 1 + machine.asked[0]]
    columns, known, first, last = machine.columns[slot], machine.known[slot], before, machine.asked[0]
    out, ok = columns[node, first:last], known[node, first:last]
    if word[OP] == GATHER:
        given, given_ok = columns[word[A]], known[word[A]]
        for i in range(out.shape[0]):
            out[i], ok[i] = given[places[i]], given_ok[places[i]]
    elif word[OP] == CONST:  # the column holds it already
        for i in range(ok.shape[0]):
            ok[i] = market.valid[slot, base + places[i]]
    elif word[OP] == RETURN:
        values, live = market.fields[word[A], slot, start:end], market.valid[slot, start:end]
        return_at(machine.ints[slot, word[STATE] :], values, live, columns[node], known[node], word[I0], word[I1],
                  places, before, start - base)  # fmt: skip
    else:
        combine(word, columns, known, out, ok, first, last)


@kernel
def run(
    machine: Machine, market: Market, first: int, last: int, sparse: int, gate: int, start: int, end: int, base: int
) -> int:
    """Run nodes [first, last) over rows [start, end) into places row − base. A rank or a peer needs other
    slots' values, so it divides the nodes into stages; position nodes are the simulator's. What depends on the date
    alone is computed for the first slot, where that has every bar.

    Nodes from `sparse` on are read only where the condition in register `gate` holds. They are computed there alone,
    and their columns are as long as `machine.asked`.
    """
    dated, dense = whole(market.valid[0, start:end], 0), min(last, sparse)
    while first < dense:
        stop = first
        while stop < dense and not PEER <= machine.code[stop, OP] <= RANK:
            stop += 1
        for slot in range(market.valid.shape[0]):
            for node in range(first, stop):
                kind = machine.code[node, SHARED] if slot > 0 and dated else OWN
                if kind == SAME:
                    copy_date(machine, market, slot, node, start, end, base)
                elif kind == OWN and machine.code[node, OP] < FLAT:
                    instruction(machine, market, slot, node, start, end, base)
        if stop < dense and machine.code[stop, OP] == RANK:
            rank(machine, stop, start - base, end - base)
        elif stop < dense:
            peer(machine, market, stop, start, end, base)
        first = stop + 1
    if gate >= 0:
        run_asked(machine, market, sparse, last, gate, start, end, base)
    return 0


@inlined
def run_asked(
    machine: Machine, market: Market, first: int, last: int, gate: int, start: int, end: int, base: int
) -> None:
    """Run nodes [first, last) at the places of rows [start, end) at which the condition in register `gate` holds."""
    before = machine.asked[0] if start > base else 0
    count = ask(machine, market, gate, before, start, end, base)
    for node in range(first, last):
        if machine.code[node, OP] == RANK:
            rank(machine, node, before, count)
        else:
            for slot in range(market.valid.shape[0]):
                thinned(machine, market, slot, node, before, start, end, base)


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
