"""The block machine: runs a register program over rows [start, end) of every slot.

Each instruction fills its column for the block from columns before it; what a value needs of the past lies in the flat
state arrays, so any cutting into blocks, down to one row, gives the same bits. `ok` says where a column has a value:
not during warm-up, not on a missing bar, not where it is undefined (x / 0).
"""

import numpy as np

from app.engine.kernels.indicators import indicator, restate
from app.engine.kernels.integers import day_of_month, month_of
from app.engine.kernels.jit import kernel
from app.engine.kernels.recurrences import follow
from app.engine.kernels.windows import deviation, holding_return, rescale, sma
from app.engine.layout import WEIGHT, Code, Field, Flag, Op, Rebalance, Signal

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
UNKNOWN, HOLD, REBALANCE, MONTHLY = int(Flag.UNKNOWN), int(Flag.HOLD), int(Flag.REBALANCE), int(Rebalance.MONTHLY)
WEIGHT_SCALE = WEIGHT


@kernel("void(i8, f8, f8, i8[::1], i8[::1], u1[::1], i8[::1], f8[::1], u1[::1])")
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
        if op == CONST:
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
        else:
            month = month_of(days[i])
            out[i] = 1.0 if state[0] == 1 and state[1] != month else 0.0
            ok[i] = state[0]
            state[0], state[1] = 1, month


@kernel("void(f8[::1], u1[::1], u1[::1], i8[::1], f8[::1], f8[::1], u1[::1], i8)")
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


@kernel("void(i8, f8[::1], f8[::1], u1[::1], u1[::1], f8[::1], u1[::1])")
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
        else:
            value = abs(a[i])
        out[i] = value
        ok[i] = a_ok[i] & b_ok[i] if np.isfinite(value) else 0


@kernel("void(i8, f8[::1], f8[::1], u1[::1], u1[::1], f8[::1], u1[::1])")
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


@kernel("void(f8[::1], f8[::1], u1[::1], u1[::1], i8[::1], f8[::1], u1[::1])")
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


@kernel("void(f8[:, ::1], u1[:, ::1], i8, i8, i8, f8[::1], u1[::1])")
def select(
    registers: np.ndarray, oks: np.ndarray, when: int, then: int, other: int, out: np.ndarray, ok: np.ndarray
) -> None:
    """`then` where `when` holds, else `other`; only the chosen side must be known."""
    for i in range(out.shape[0]):
        chosen = then if registers[when, i] != 0.0 else other
        out[i] = registers[chosen, i]
        ok[i] = oks[when, i] & oks[chosen, i]


@kernel(
    "void(i8[:, ::1], f8[::1], f8[:, ::1], i8[:, :, ::1], u1[:, ::1], i8[::1], i8[:, ::1], f8[:, ::1],"
    " f8[:, :, ::1], u1[:, :, ::1], i8, i8)"
)
def run(
    code: np.ndarray,
    constants: np.ndarray,
    scales: np.ndarray,
    fields: np.ndarray,
    valid: np.ndarray,
    days: np.ndarray,
    ints: np.ndarray,
    floats: np.ndarray,
    registers: np.ndarray,
    oks: np.ndarray,
    start: int,
    end: int,
) -> None:
    """Fill registers[slot, node, 0:end − start]. Shapes: code (nodes, CODE), scales (slots, FIELDS), fields
    (FIELDS, slots, rows), valid (slots, rows), ints and floats (slots, …)."""
    size = end - start
    for slot in range(valid.shape[0]):
        live = valid[slot, start:end]
        columns, known = registers[slot], oks[slot]
        for node in range(code.shape[0]):
            word = code[node]
            op, state = word[OP], ints[slot, word[STATE] :]
            out, ok = columns[node, :size], known[node, :size]
            if op < SMA:
                field = word[A]
                source(
                    op, constants[node], scales[slot, field], fields[field, slot, start:end], days[start:end], live,
                    state, out, ok,
                )  # fmt: skip
            elif op < LAG:
                values, scale = fields[word[A], slot, start:end], scales[slot, word[A]]
                if op == SMA:
                    sma(state, values, live, out, ok, word[I0], scale)
                elif op == RETURN:
                    holding_return(state, values, live, out, ok, word[I0], word[I1])
                else:
                    deviation(op, state, values, live, out, ok, word[I0], word[I1], scale)
            elif op == LAG:
                lag(columns[word[A], :size], known[word[A], :size], live, state, floats[slot, word[FLOATS] :], out, ok,
                    word[I0])  # fmt: skip
            elif op == SELECT:
                select(columns, known, word[A], word[B], word[C], out, ok)
            elif op > LATCH:
                indicator(word, fields[:, slot, start:end], scales[slot], days[start:end], live, columns, known, state,
                    floats[slot, word[FLOATS] :], out, ok)  # fmt: skip
            else:
                a, b = columns[word[A], :size], columns[word[B], :size]
                a_ok, b_ok = known[word[A], :size], known[word[B], :size]
                if op == LATCH:
                    latch(a, b, a_ok, b_ok, state, out, ok)
                elif op < GT:
                    arithmetic(op, a, b, a_ok, b_ok, out, ok)
                else:
                    logic(op, a, b, a_ok, b_ok, out, ok)


@kernel("void(i8[:, ::1], i8[:, ::1], f8[:, ::1], i8, i8, i8)")
def split(code: np.ndarray, ints: np.ndarray, floats: np.ndarray, slot: int, numerator: int, denominator: int) -> None:
    """Before the first row after a split: restate what the slot's state remembers of prices and volumes."""
    for node in range(code.shape[0]):
        word = code[node]
        if SMA <= word[OP] < LAG:
            size = word[I0] + 1 if word[OP] == RETURN else word[I0]
            state = ints[slot, word[STATE] :]
            if word[A] == VOLUME:
                rescale(state, size, numerator, denominator)
            else:
                rescale(state, size, denominator, numerator)
        elif word[OP] == LAG:
            follow(floats[slot, word[FLOATS] :], word[I0], word[UNIT], numerator, denominator)
        elif word[OP] > LATCH:
            restate(word, ints[slot, word[STATE] :], floats[slot, word[FLOATS] :], numerator, denominator)


@kernel("void(f8[:, :, ::1], u1[:, :, ::1], i8[::1], i8[:, ::1], i8[:, ::1], u1[:, ::1], i8, i8, i8, i8, i8)")
def signals(
    registers: np.ndarray,
    oks: np.ndarray,
    days: np.ndarray,
    state: np.ndarray,
    weights: np.ndarray,
    flags: np.ndarray,
    target: int,
    rule: int,
    start: int,
    end: int,
    base: int,
) -> None:
    """Turn the target column into weights (scale `WEIGHT`, clipped to 0…1) and flags, at rows row − base of the
    (rows, slots) outputs.

    ON_CHANGE: rebalance when the weight differs from the last known one. MONTHLY: at the first known bar of a month
    after one of another month. The first known weight trades nothing.
    """
    for slot in range(state.shape[0]):
        own = state[slot]
        for row in range(start, end):
            i = row - start
            flag = UNKNOWN
            if oks[slot, target, i] == 1:
                value = min(max(registers[slot, target, i], 0.0), 1.0)
                weight = int(np.floor(value * WEIGHT_SCALE + 0.5))
                month = month_of(days[row]) if rule == MONTHLY else 0
                flag = HOLD
                if own[KNOWN] == 1 and (own[LAST_MONTH] != month if rule == MONTHLY else own[LAST] != weight):
                    flag = REBALANCE
                own[KNOWN], own[LAST], own[LAST_MONTH] = 1, weight, month
            weights[row - base, slot] = own[LAST]
            flags[row - base, slot] = flag
