"""The block machine: runs a register program over rows [start, end) of every slot.

Each instruction fills its column for the block from columns before it; what a value needs of the past lies in the flat
state arrays, so any cutting into blocks, down to one row, gives the same bits. `ok` says where a column has a value:
not during warm-up, not on a missing bar, not where it is undefined (x / 0).
"""

import numpy as np

from app.engine.kernels.book import I8, KNOWN_T, MACHINE_T, MARKET_T, ROWS_T, VOID, Machine, Market
from app.engine.kernels.indicators import indicator, restate
from app.engine.kernels.integers import day_of_month, month_of
from app.engine.kernels.jit import entry, kernel
from app.engine.kernels.recurrences import follow
from app.engine.kernels.windows import deviation, holding_return, rescale, sma
from app.engine.layout import WEIGHT, Code, Field, Flag, Op, Signal

OP, A, B, C = int(Code.OP), int(Code.A), int(Code.B), int(Code.C)
I0, I1, STATE, FLOATS, UNIT = int(Code.I0), int(Code.I1), int(Code.STATE), int(Code.FLOATS), int(Code.UNIT)
CONST, FIELD, MONTH, DAY, WEEKDAY = int(Op.CONST), int(Op.FIELD), int(Op.MONTH), int(Op.DAY), int(Op.WEEKDAY)
MONTH_CHANGED, LAG, RETURN, SMA = int(Op.MONTH_CHANGED), int(Op.LAG), int(Op.RETURN), int(Op.SMA)
STDDEV, ZSCORE = int(Op.STDDEV), int(Op.ZSCORE)
ADD, SUB, MUL, DIV, MIN, MAX = int(Op.ADD), int(Op.SUB), int(Op.MUL), int(Op.DIV), int(Op.MIN), int(Op.MAX)
NEG, ABS, GT, GE, LT, LE = int(Op.NEG), int(Op.ABS), int(Op.GT), int(Op.GE), int(Op.LT), int(Op.LE)
EQ, NE, AND, OR, NOT = int(Op.EQ), int(Op.NE), int(Op.AND), int(Op.OR), int(Op.NOT)
SELECT, LATCH, VOLUME = int(Op.SELECT), int(Op.LATCH), int(Field.VOLUME)
KNOWN, LAST, LAST_MONTH = int(Signal.KNOWN), int(Signal.WEIGHT), int(Signal.MONTH)
UNKNOWN, HOLD, REBALANCE = int(Flag.UNKNOWN), int(Flag.HOLD), int(Flag.REBALANCE)
PEER, RANK, FLAT, MOD, SQRT = int(Op.PEER), int(Op.RANK), int(Op.FLAT), int(Op.MOD), int(Op.SQRT)
DATE, BAR_OF_DAY, INSTRUMENT = int(Op.DATE_NUMBER), int(Op.BAR_OF_DAY), int(Op.INSTRUMENT)
WEIGHT_SCALE = WEIGHT
BY_MONTH = -2  # a rule, as `Program.rule` numbers them


@kernel
def source(
    op: int,
    constant: float,
    scale: float,
    values: np.ndarray,
    days: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """Columns that no other column feeds: constants, fields, calendar."""
    for i in range(out.shape[0]):
        ok[i] = valid[i]
        if op in (CONST, INSTRUMENT):
            out[i] = constant
        elif valid[i] == 0:
            continue
        elif op == FIELD:
            out[i] = float(values[i]) / scale
        elif op == MONTH:
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
def lag(
    given: np.ndarray,
    given_ok: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    ring: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
    bars: int,
) -> None:
    """The value `bars` valid bars ago; NaN in the ring stands for a bar without one."""
    for i in range(out.shape[0]):
        ok[i] = 0
        if valid[i] == 0:
            continue
        head = state[0]
        if state[1] == bars and not np.isnan(ring[head]):
            out[i] = ring[head]
            ok[i] = 1
        ring[head] = given[i] if given_ok[i] == 1 else np.nan
        state[0] = 0 if head + 1 == bars else head + 1
        state[1] = min(state[1] + 1, bars)


@kernel
def arithmetic(
    op: int, a: np.ndarray, b: np.ndarray, a_ok: np.ndarray, b_ok: np.ndarray, out: np.ndarray, ok: np.ndarray
) -> None:
    """IEEE arithmetic; a result that is not finite has no value."""
    for i in range(out.shape[0]):
        if op == ADD:
            value = a[i] + b[i]
        elif op == SUB:
            value = a[i] - b[i]
        elif op == MUL:
            value = a[i] * b[i]
        elif op == DIV:
            value = a[i] / b[i] if b[i] != 0.0 else np.inf
        elif op == MIN:
            value = min(a[i], b[i])
        elif op == MAX:
            value = max(a[i], b[i])
        elif op == NEG:
            value = -a[i]
        elif op == MOD:
            value = a[i] - b[i] * np.floor(a[i] / b[i]) if b[i] != 0.0 else np.inf
        elif op == SQRT:
            value = np.sqrt(a[i]) if a[i] >= 0.0 else np.inf
        else:
            value = abs(a[i])
        out[i] = value
        ok[i] = a_ok[i] & b_ok[i] if np.isfinite(value) else 0


@kernel
def logic(
    op: int, a: np.ndarray, b: np.ndarray, a_ok: np.ndarray, b_ok: np.ndarray, out: np.ndarray, ok: np.ndarray
) -> None:
    """Comparisons and connectives, 1.0 for true. Known only where both sides are."""
    for i in range(out.shape[0]):
        x, y = a[i], b[i]
        if op == GT:
            true = x > y
        elif op == GE:
            true = x >= y
        elif op == LT:
            true = x < y
        elif op == LE:
            true = x <= y
        elif op == EQ:
            true = x == y
        elif op == NE:
            true = x != y
        elif op == AND:
            true = x != 0.0 and y != 0.0
        elif op == OR:
            true = x != 0.0 or y != 0.0
        else:
            true = x == 0.0
        out[i] = 1.0 if true else 0.0
        ok[i] = a_ok[i] & b_ok[i]


@kernel
def latch(
    enter: np.ndarray,
    leave: np.ndarray,
    enter_ok: np.ndarray,
    leave_ok: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """Off until `enter`, then on until `leave`; keeps its state where either is unknown."""
    for i in range(out.shape[0]):
        ok[i] = enter_ok[i] & leave_ok[i]
        if ok[i] == 1:
            if state[0] == 0:
                state[0] = 1 if enter[i] != 0.0 else 0
            elif leave[i] != 0.0:
                state[0] = 0
        out[i] = float(state[0])


@kernel
def select(
    columns: np.ndarray,
    known: np.ndarray,
    when: int,
    then: int,
    other: int,
    first: int,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """`then` where `when` holds, else `other`; only the chosen side must be known. Reads from place `first` on."""
    for i in range(out.shape[0]):
        at = first + i
        chosen = then if columns[when, at] != 0.0 else other
        out[i] = columns[chosen, at]
        ok[i] = known[when, at] & known[chosen, at]


@kernel
def instruction(machine: Machine, market: Market, slot: int, node: int, start: int, end: int, base: int) -> None:
    """Fill columns[slot, node] for rows [start, end), at places row − base."""
    word, first, last = machine.code[node], start - base, end - base
    op, state, scales = word[OP], machine.ints[slot, word[STATE] :], machine.scales[slot]
    columns, known, live = machine.columns[slot], machine.known[slot], market.valid[slot, start:end]
    out, ok = columns[node, first:last], known[node, first:last]
    if op < SMA:
        field = word[A]
        constant = float(slot + 1) if op == INSTRUMENT else machine.constants[node]
        source(
            op, constant, scales[field], market.fields[field, slot, start:end], market.days[start:end],
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
        select(columns, known, word[A], word[B], word[C], first, out, ok)
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
    """1 + the number of instruments whose value is larger, or equal and in an earlier slot; at places [first, last)."""
    given, slots = machine.code[node, A], machine.columns.shape[0]
    columns, known = machine.columns, machine.known
    for at in range(first, last):
        for slot in range(slots):
            known[slot, node, at] = known[slot, given, at]
            if known[slot, given, at] == 0:
                continue
            value, before = columns[slot, given, at], 1
            for other in range(slots):
                if known[other, given, at] == 1:
                    rival = columns[other, given, at]
                    if rival > value or (rival == value and other < slot):
                        before += 1
            columns[slot, node, at] = float(before)


@kernel
def peer(machine: Machine, market: Market, node: int, start: int, end: int, base: int) -> None:
    """The value of another slot, on the rows on which both have a bar."""
    given, other = machine.code[node, A], machine.code[node, I0] - 1
    for slot in range(machine.columns.shape[0]):
        for row in range(start, end):
            at = row - base
            machine.columns[slot, node, at] = machine.columns[other, given, at]
            machine.known[slot, node, at] = machine.known[other, given, at] & market.valid[slot, row]


@entry(VOID(MACHINE_T, MARKET_T, I8, I8, I8, I8, I8))
def run(machine: Machine, market: Market, first: int, last: int, start: int, end: int, base: int) -> None:
    """Run nodes [first, last) over rows [start, end) into places row − base. A rank or a peer needs other
    slots' values, so it divides the nodes into stages; position nodes are the simulator's."""
    while first < last:
        stop = first
        while stop < last and not PEER <= machine.code[stop, OP] <= RANK:
            stop += 1
        for slot in range(market.valid.shape[0]):
            for node in range(first, stop):
                if machine.code[node, OP] < FLAT:
                    instruction(machine, market, slot, node, start, end, base)
        if stop < last and machine.code[stop, OP] == RANK:
            rank(machine, stop, start - base, end - base)
        elif stop < last:
            peer(machine, market, stop, start, end, base)
        first = stop + 1


@entry(VOID(MACHINE_T, I8, I8, I8, I8, I8))
def split(machine: Machine, first: int, last: int, slot: int, numerator: int, denominator: int) -> None:
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


@entry(VOID(MACHINE_T, MARKET_T, ROWS_T, KNOWN_T, I8, I8, I8, I8, I8, I8))
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
) -> None:
    """Turn the target column into weights (scale `WEIGHT`, clipped to least…1) and flags, at rows row − base of the
    (rows, slots) outputs.

    ON_CHANGE: rebalance when the weight differs from the last known one. MONTHLY: at the first known bar of a month
    after one of another month. Under both, the first known weight trades nothing. A `rule` that is not negative is a
    condition's register: rebalance where it holds.
    """
    for slot in range(machine.signal.shape[0]):
        own = machine.signal[slot]
        for row in range(start, end):
            at = row - base
            flag = UNKNOWN
            if machine.known[slot, target, at] == 1:
                value = min(max(machine.columns[slot, target, at], float(least)), 1.0)
                weight = int(np.floor(value * WEIGHT_SCALE + 0.5))
                month = month_of(market.days[row]) if rule == BY_MONTH else 0
                flag = HOLD
                if rule >= 0:
                    asked = machine.known[slot, rule, at] == 1 and machine.columns[slot, rule, at] != 0.0
                else:
                    asked = own[KNOWN] == 1 and (own[LAST_MONTH] != month if rule == BY_MONTH else own[LAST] != weight)
                if asked:
                    flag = REBALANCE
                own[KNOWN], own[LAST], own[LAST_MONTH] = 1, weight, month
            weights[at, slot] = own[LAST]
            flags[at, slot] = flag
