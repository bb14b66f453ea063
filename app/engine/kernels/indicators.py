"""Which kernel computes which indicator of the machine's later operations, and which of its state follows a split."""

import numpy as np

from app.engine.kernels.extremes import extreme
from app.engine.kernels.jit import kernel
from app.engine.kernels.recurrences import follow, smooth
from app.engine.layout import Code, Op

OP, A, B, C = int(Code.OP), int(Code.A), int(Code.B), int(Code.C)
I0, I1, UNIT = int(Code.I0), int(Code.I1), int(Code.UNIT)
EMA, WILDER, HIGHEST, LOWEST = int(Op.EMA), int(Op.WILDER), int(Op.HIGHEST), int(Op.LOWEST)


@kernel(
    "void(i8[::1], i8[:, :], f8[::1], i8[::1], u1[::1], f8[:, ::1], u1[:, ::1], i8[::1], f8[::1], f8[::1], u1[::1])"
)
def indicator(
    word: np.ndarray,
    fields: np.ndarray,
    scales: np.ndarray,
    days: np.ndarray,
    valid: np.ndarray,
    columns: np.ndarray,
    known: np.ndarray,
    state: np.ndarray,
    memory: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """One instruction over one block of one slot. Shapes: fields (FIELDS, rows), columns and known (nodes, ≥ rows)."""
    op, size = word[OP], out.shape[0]
    a, a_ok = columns[word[A], :size], known[word[A], :size]
    if op in (EMA, WILDER):
        smooth(op, a, a_ok, state, memory, out, ok, word[I0])
    else:
        extreme(op, a, a_ok, valid, state, memory, out, ok, word[I0])


@kernel("void(i8[::1], i8[::1], f8[::1], i8, i8)")
def restate(word: np.ndarray, state: np.ndarray, memory: np.ndarray, numerator: int, denominator: int) -> None:
    """What an instruction remembers, in the units after a split."""
    op = word[OP]
    follow(memory, 1 if op in (EMA, WILDER) else word[I0], word[UNIT], numerator, denominator)
