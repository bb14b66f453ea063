"""Which kernel computes which indicator of the machine's later operations, and which of its state follows a split."""

import numpy as np

from app.engine.kernels.extremes import extreme
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import kernel
from app.engine.kernels.recurrences import follow, smooth
from app.engine.kernels.sessions import opening
from app.engine.kernels.volatility import volatility
from app.engine.layout import Code, Op

OP, A, B, C = int(Code.OP), int(Code.A), int(Code.B), int(Code.C)
I0, I1, UNIT = int(Code.I0), int(Code.I1), int(Code.UNIT)
EMA, WILDER, HIGHEST, LOWEST = int(Op.EMA), int(Op.WILDER), int(Op.HIGHEST), int(Op.LOWEST)
VOLATILITY, OPENING_HIGH, OPENING_LOW = int(Op.VOLATILITY), int(Op.OPENING_HIGH), int(Op.OPENING_LOW)


@kernel
def indicator(
    word: np.ndarray,
    fields: np.ndarray,
    scales: np.ndarray,
    days: np.ndarray,
    valid: np.ndarray,
    columns: np.ndarray,
    known: np.ndarray,
    first: int,
    state: np.ndarray,
    memory: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """One instruction over one block of one slot. Shapes: fields (FIELDS, rows), columns and known (nodes, …),
    where the block stands from place `first` on."""
    op, last = word[OP], first + out.shape[0]
    a, a_ok = columns[word[A], first:last], known[word[A], first:last]
    if op in (EMA, WILDER):
        smooth(op, a, a_ok, state, memory, out, ok, word[I0])
    elif op == VOLATILITY:
        volatility(fields[word[A]], valid, state, memory, out, ok, word[I0], word[I1])
    elif op in (OPENING_HIGH, OPENING_LOW):
        opening(op, fields, scales, days, valid, state, out, ok, word[I0])
    else:
        extreme(op, a, a_ok, valid, state, memory, out, ok, word[I0])


@kernel
def restate(word: np.ndarray, state: np.ndarray, memory: np.ndarray, numerator: int, denominator: int) -> None:
    """What an instruction remembers, in the units after a split."""
    op = word[OP]
    if op in (VOLATILITY, OPENING_HIGH, OPENING_LOW):
        state[2] = multiply_divide(state[2], denominator, numerator, True)
        return
    follow(memory, 1 if op in (EMA, WILDER) else word[I0], word[UNIT], numerator, denominator)
