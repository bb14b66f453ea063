"""Which kernel computes which indicator of the machine's later operations, and which of its state follows a split."""

import numpy as np

from app.engine.kernels.changes import balance, directional, growth, typical
from app.engine.kernels.extremes import extreme
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import kernel
from app.engine.kernels.ramps import ramp, rescale_ramp
from app.engine.kernels.recurrences import follow, smooth
from app.engine.kernels.scans import scan
from app.engine.kernels.sessions import opening, weighted_price
from app.engine.kernels.trends import REMEMBERED, trend
from app.engine.kernels.volatility import volatility
from app.engine.layout import Before, Code, Field, Op, Session

OP, A, B, C = int(Code.OP), int(Code.A), int(Code.B), int(Code.C)
I0, I1, UNIT = int(Code.I0), int(Code.I1), int(Code.UNIT)
EMA, WILDER, HIGHEST, LOWEST = int(Op.EMA), int(Op.WILDER), int(Op.HIGHEST), int(Op.LOWEST)
VOLATILITY, OPENING_HIGH, OPENING_LOW = int(Op.VOLATILITY), int(Op.OPENING_HIGH), int(Op.OPENING_LOW)
WMA, SLOPE, PERCENT_RANK = int(Op.WMA), int(Op.SLOPE), int(Op.PERCENT_RANK)
TYPICAL, VWAP, OBV, GROWTH = int(Op.TYPICAL), int(Op.VWAP), int(Op.OBV), int(Op.GROWTH)
PLUS_DM, MINUS_DM, TREND_LINE, TREND_UP = int(Op.PLUS_DM), int(Op.MINUS_DM), int(Op.TREND_LINE), int(Op.TREND_UP)
CLOSE, VOLUME = int(Field.CLOSE), int(Field.VOLUME)
FIRST, SECOND, TRADED = int(Before.FIRST), int(Before.SECOND), int(Session.VOLUME)


@kernel
def of_bars(
    word: np.ndarray,
    fields: np.ndarray,
    scales: np.ndarray,
    days: np.ndarray,
    valid: np.ndarray,
    state: np.ndarray,
    memory: np.ndarray,
    out: np.ndarray,
    ok: np.ndarray,
) -> None:
    """One instruction that reads the bars themselves. Shape: fields (FIELDS, rows)."""
    op = word[OP]
    if op == VOLATILITY:
        volatility(fields[word[A]], valid, state, memory, out, ok, word[I0], word[I1])
    elif op in (OPENING_HIGH, OPENING_LOW):
        opening(op, fields, scales, days, valid, state, out, ok, word[I0])
    elif op in (WMA, SLOPE):
        ramp(op, state, fields[word[A]], valid, out, ok, word[I0], scales[word[A]])
    elif op == TYPICAL:
        typical(fields, scales, valid, out, ok)
    elif op == VWAP:
        weighted_price(fields, scales, days, valid, state, out, ok)
    elif op == OBV:
        balance(fields, scales, valid, state, out, ok)
    elif op == GROWTH:
        growth(fields, valid, state, memory, scales, out, ok)
    else:
        directional(op, fields, scales, valid, state, out, ok)


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
    if VOLATILITY <= op <= SLOPE or TYPICAL <= op <= MINUS_DM or op == GROWTH:
        of_bars(word, fields, scales, days, valid, state, memory, out, ok)
        return
    a, a_ok = columns[word[A], first:last], known[word[A], first:last]
    if op in (EMA, WILDER):
        smooth(op, a, a_ok, state, memory, out, ok, word[I0])
    elif op in (HIGHEST, LOWEST):
        extreme(op, a, a_ok, valid, state, memory, out, ok, word[I0])
    elif op in (TREND_LINE, TREND_UP):
        b, b_ok = columns[word[B], first:last], known[word[B], first:last]
        trend(op, a, b, a_ok, b_ok, fields[CLOSE], scales[CLOSE], valid, state, memory, out, ok)
    else:
        scan(op, a, a_ok, valid, state, memory, out, ok, word[I0], word[I1])


@kernel
def restate(word: np.ndarray, state: np.ndarray, memory: np.ndarray, numerator: int, denominator: int) -> None:
    """What an instruction remembers, in the units after a split. I1 of a percent rank is the unit of what it ranks."""
    op = word[OP]
    if op in (EMA, WILDER):
        follow(memory, 1, word[UNIT], numerator, denominator)
    elif op in (WMA, SLOPE):
        up, down = (numerator, denominator) if word[A] == VOLUME else (denominator, numerator)
        rescale_ramp(state, word[I0], up, down)
    elif op in (TREND_LINE, TREND_UP, GROWTH):
        follow(memory, 1 if op == GROWTH else REMEMBERED, 1, numerator, denominator)
    elif op in (VOLATILITY, OPENING_HIGH, OPENING_LOW):
        state[2] = multiply_divide(state[2], denominator, numerator, True)
    elif op == VWAP:
        state[TRADED] = multiply_divide(state[TRADED], numerator, denominator, True)
    elif op in (OBV, PLUS_DM, MINUS_DM):
        state[FIRST] = multiply_divide(state[FIRST], denominator, numerator, True)
        up, down = (numerator, denominator) if op == OBV else (denominator, numerator)
        state[SECOND] = multiply_divide(state[SECOND], up, down, True)
    elif op != TYPICAL:
        unit = word[I1] if op == PERCENT_RANK else word[UNIT]
        follow(memory, word[I0], unit, numerator, denominator)
