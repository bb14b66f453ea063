"""Operations of one bar's values: arithmetic, comparisons, connectives; and the two that remember: lag and latch.

Each operation has a loop of its own, so that the compiler can do several bars at a time.
"""

import numpy as np

from app.engine.kernels.jit import inlined, kernel
from app.engine.kernels.windows import whole
from app.engine.layout import Op

ADD, SUB, MUL, DIV, MIN, MAX = int(Op.ADD), int(Op.SUB), int(Op.MUL), int(Op.DIV), int(Op.MIN), int(Op.MAX)
NEG, ABS, MOD, SQRT = int(Op.NEG), int(Op.ABS), int(Op.MOD), int(Op.SQRT)
GT, GE, LT, LE, EQ, NE = int(Op.GT), int(Op.GE), int(Op.LT), int(Op.LE), int(Op.EQ), int(Op.NE)
AND, OR = int(Op.AND), int(Op.OR)


@inlined
def both(a: np.ndarray, b: np.ndarray, ok: np.ndarray) -> None:
    """Known where both are."""
    for i in range(ok.shape[0]):
        ok[i] = a[i] & b[i]


@inlined
def finite(out: np.ndarray, ok: np.ndarray) -> None:
    """A value that is not finite is none."""
    bad = 0
    for i in range(out.shape[0]):
        bad |= 0 if out[i] - out[i] == 0.0 else 1
    if bad != 0:
        for i in range(out.shape[0]):
            if out[i] - out[i] != 0.0:
                ok[i] = 0


@kernel
def arithmetic(  # noqa: C901  # a loop for each operation, which the compiler can vectorise
    op: int, a: np.ndarray, b: np.ndarray, a_ok: np.ndarray, b_ok: np.ndarray, out: np.ndarray, ok: np.ndarray
) -> None:
    """IEEE arithmetic; a result that is not finite has no value."""
    rows = range(out.shape[0])
    if op == ADD:
        for i in rows:
            out[i] = a[i] + b[i]
    elif op == SUB:
        for i in rows:
            out[i] = a[i] - b[i]
    elif op == MUL:
        for i in rows:
            out[i] = a[i] * b[i]
    elif op == DIV:
        for i in rows:
            out[i] = a[i] / b[i]
    elif op == MIN:
        for i in rows:
            out[i] = min(a[i], b[i])
    elif op == MAX:
        for i in rows:
            out[i] = max(a[i], b[i])
    elif op == NEG:
        for i in rows:
            out[i] = -a[i]
    elif op == ABS:
        for i in rows:
            out[i] = abs(a[i])
    elif op == SQRT:
        for i in rows:
            out[i] = np.sqrt(a[i])
    else:
        for i in rows:
            out[i] = a[i] - b[i] * np.floor(a[i] / b[i])
    both(a_ok, b_ok, ok)
    finite(out, ok)


@kernel
def logic(  # noqa: C901  # as arithmetic
    op: int, a: np.ndarray, b: np.ndarray, a_ok: np.ndarray, b_ok: np.ndarray, out: np.ndarray, ok: np.ndarray
) -> None:
    """Comparisons and connectives, 1.0 for true. Known only where both sides are."""
    rows = range(out.shape[0])
    if op == GT:
        for i in rows:
            out[i] = 1.0 if a[i] > b[i] else 0.0
    elif op == GE:
        for i in rows:
            out[i] = 1.0 if a[i] >= b[i] else 0.0
    elif op == LT:
        for i in rows:
            out[i] = 1.0 if a[i] < b[i] else 0.0
    elif op == LE:
        for i in rows:
            out[i] = 1.0 if a[i] <= b[i] else 0.0
    elif op == EQ:
        for i in rows:
            out[i] = 1.0 if a[i] == b[i] else 0.0
    elif op == NE:
        for i in rows:
            out[i] = 1.0 if a[i] != b[i] else 0.0
    elif op == AND:
        for i in rows:
            out[i] = 1.0 if (a[i] != 0.0) & (b[i] != 0.0) else 0.0
    elif op == OR:
        for i in rows:
            out[i] = 1.0 if (a[i] != 0.0) | (b[i] != 0.0) else 0.0
    else:
        for i in rows:
            out[i] = 1.0 if a[i] == 0.0 else 0.0
    both(a_ok, b_ok, ok)


@kernel
def select(
    when: np.ndarray,
    then: np.ndarray,
    other: np.ndarray,
    when_ok: np.ndarray,
    then_ok: np.ndarray,
    other_ok: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """`then` where `when` holds, else `other`; only the chosen side must be known."""
    for i in range(out.shape[0]):
        out[i] = then[i] if when[i] != 0.0 else other[i]
    if whole(then_ok, 0) and whole(other_ok, 0):
        for i in range(out.shape[0]):
            ok[i] = when_ok[i]
    else:
        for i in range(out.shape[0]):
            ok[i] = when_ok[i] & (then_ok[i] if when[i] != 0.0 else other_ok[i])


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
    rows, at = out.shape[0], 0
    full = whole(valid, 0)
    while at < rows and (not full or state[1] < bars or at < bars):
        ok[at] = 0
        if valid[at] != 0:
            head = state[0]
            if state[1] == bars and not np.isnan(ring[head]):
                out[at] = ring[head]
                ok[at] = 1
            ring[head] = given[at] if given_ok[at] == 1 else np.nan
            state[0] = 0 if head + 1 == bars else head + 1
            state[1] = min(state[1] + 1, bars)
        at += 1
    if at < rows:
        old, old_ok, rest, rest_ok = given[at - bars :], given_ok[at - bars :], out[at:], ok[at:]
        for i in range(rest.shape[0]):
            rest[i] = old[i]
        for i in range(rest_ok.shape[0]):
            rest_ok[i] = old_ok[i]
        head = state[0]
        for i in range(max(rows - bars, at), rows):
            ring[(head + i - at) % bars] = given[i] if given_ok[i] == 1 else np.nan
        state[0] = (head + rows - at) % bars


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
