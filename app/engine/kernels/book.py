"""Decides what kernels hand to one another, the arrays of the market, the program and the account by name, and what
Python calls: the entries, with the type of each argument. Importable without numba.
"""

from typing import Any, NamedTuple

import numpy as np


class Column(NamedTuple):
    """A C-contiguous array of `dtype` (i8, u1, f8) with so many axes."""

    dtype: str
    axes: int


NO_FIELDS, NO_MARKS, NO_SPANS = np.zeros((0, 0, 0), np.int64), np.zeros((0, 0), np.uint8), np.zeros(0, np.int64)


class Market(NamedTuple):
    """fields i8 (FIELDS, slots, rows), valid u1 (slots, rows), days i8 (rows,); corporate actions and ends of sessions,
    each i8 (n, EVENT).

    Read under the policy LOWER only: the finer bars' fields and valid, `spans` i8 (rows + 1,), row's are those from
    spans[row] to spans[row + 1]; `alone` u1 (slots, rows), 1: a bar without finer ones.
    """

    fields: np.ndarray
    valid: np.ndarray
    days: np.ndarray
    actions: np.ndarray
    sessions: np.ndarray
    finer: np.ndarray = NO_FIELDS
    finer_valid: np.ndarray = NO_MARKS
    spans: np.ndarray = NO_SPANS
    alone: np.ndarray = NO_MARKS


class Bar(NamedTuple):
    """What is shown to orders at once: place `at` of fields and valid, in row `row` of trading date `day`."""

    fields: np.ndarray
    valid: np.ndarray
    at: int
    row: int
    day: int


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
    block), those of constants filled; scratch f8 (slots,); `asked` i8 (block + 1,): how many places of the block a rule
    asks for, and which."""

    code: np.ndarray
    constants: np.ndarray
    outputs: np.ndarray
    scales: np.ndarray
    ints: np.ndarray
    floats: np.ndarray
    signal: np.ndarray
    columns: np.ndarray
    known: np.ndarray
    scratch: np.ndarray
    asked: np.ndarray


LINE, TABLE, CUBE = Column("i8", 1), Column("i8", 2), Column("i8", 3)
NUMBERS, MARKS = Column("f8", 2), Column("u1", 2)
WHOLE = "i8"
"""An argument that is one integer."""
PARTS: dict[Any, tuple[Column, ...]] = {
    Market: (CUBE, MARKS, LINE, TABLE, TABLE, CUBE, MARKS, LINE, MARKS),
    Book: (TABLE, TABLE, LINE, LINE, TABLE, LINE, TABLE, TABLE, TABLE, LINE, LINE, LINE),
    Machine: (
        TABLE,
        Column("f8", 1),
        LINE,
        NUMBERS,
        TABLE,
        NUMBERS,
        TABLE,
        Column("f8", 3),
        Column("u1", 3),
        Column("f8", 1),
        LINE,
    ),
}
ENTRIES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "fault": ("checking", (LINE, LINE, CUBE, MARKS, LINE)),
    "day_ends": ("checking", (LINE, LINE)),
    "run": ("machine", (Machine, Market, *[WHOLE] * 7)),
    "split": ("machine", (Machine, *[WHOLE] * 5)),
    "signals": ("signals", (Machine, Market, TABLE, MARKS, *[WHOLE] * 7)),
    "decide": ("sizing", (TABLE, MARKS, TABLE, TABLE, LINE, TABLE, *[WHOLE] * 3)),
    "simulate": ("simulator", (Book, Market, Machine, TABLE, MARKS, LINE, *[WHOLE] * 6)),
}
"""What Python calls, by name: the module it lies in, its arguments. All return one integer."""
