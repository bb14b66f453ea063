"""Decides what kernels hand to one another: the arrays of the market, the program and the account, by name."""

from typing import Any, NamedTuple

import numpy as np
from numba import types

_named: Any = types.NamedTuple
_I8, _U1, _F8 = types.int64, types.uint8, types.float64
_ROWS, _COLUMN = _I8[:, ::1], _I8[::1]


class Market(NamedTuple):
    """fields i8 (FIELDS, slots, rows), valid u1 (slots, rows), days i8 (rows,), events i8 (events, EVENT)."""

    fields: np.ndarray
    valid: np.ndarray
    days: np.ndarray
    events: np.ndarray


class Book(NamedTuple):
    """state i8 (slots, STATE), static i8 (slots, STATIC), settings i8 (SETTING,), cash i8 (1,), pool i8 (n, ORDER),
    counters i8 (COUNTER,), fills i8 (n, FILL), intents i8 (slots, INTENDED), rates i8 (rates, RATE_COLUMNS), and per
    head of charges its rounding unit, the amount of the last fill and the total, each i8 (heads,)."""

    state: np.ndarray
    static: np.ndarray
    settings: np.ndarray
    cash: np.ndarray
    pool: np.ndarray
    counters: np.ndarray
    fills: np.ndarray
    intents: np.ndarray
    rates: np.ndarray
    units: np.ndarray
    amounts: np.ndarray
    totals: np.ndarray


class Machine(NamedTuple):
    """A program and what it computed: code i8 (nodes, CODE), constants f8 (nodes,), outputs i8 (OUTPUT,), scales
    f8 (slots, FIELDS); its state ints i8, floats f8 and signal i8, (slots, …); columns f8 and known u1 (slots, nodes,
    block)."""

    code: np.ndarray
    constants: np.ndarray
    outputs: np.ndarray
    scales: np.ndarray
    ints: np.ndarray
    floats: np.ndarray
    signal: np.ndarray
    columns: np.ndarray
    known: np.ndarray


MARKET_T = _named((_I8[:, :, ::1], _U1[:, ::1], _COLUMN, _ROWS), Market)
BOOK_T = _named((_ROWS, _ROWS, _COLUMN, _COLUMN, _ROWS, _COLUMN, _ROWS, _ROWS, _ROWS, _COLUMN, _COLUMN, _COLUMN), Book)
MACHINE_T = _named(
    (_ROWS, _F8[::1], _COLUMN, _F8[:, ::1], _ROWS, _F8[:, ::1], _ROWS, _F8[:, :, ::1], _U1[:, :, ::1]), Machine
)
I8, VOID = _I8, types.void
VECTOR_T, ROWS_T, KNOWN_T = _COLUMN, _ROWS, _U1[:, ::1]
