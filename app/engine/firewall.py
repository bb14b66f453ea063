"""Decides how look-ahead is found: a program is run again on data that differs only after some bar, and compared.

A decision on bar t may depend on bars up to t. So everything booked up to t must stay as it was, to the bit, when
history ends at t, and when what follows t is replaced; and the size of the blocks in which it runs must not matter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from app.engine.bars import Bars, Int64
from app.engine.columns import FillColumn
from app.engine.layout import BLOCK, Field
from app.engine.simulation import Result

BLOCKS = (BLOCK, 7, 1)
"""Compared with one block over all rows."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: `name` is `blocks`, `prefix` or `shuffled_future`; `found` says what differed, or None."""

    name: str
    at: int
    found: str | None

    @property
    def passed(self) -> bool:
        return self.found is None


Run = Callable[[Bars, int], Result]
"""Runs the strategy under test on bars, in blocks of so many rows."""
Permutation = Callable[[int], Int64]
"""Of 0 … n − 1, another each time."""


def verify(run: Run, bars: Bars, *, warm_up: int, permutation: Permutation, cuts: int = 8) -> Iterator[Check]:
    """Each comparison as it is done: one per block size (`at` is the size), two per cut (`at` is the last row kept).

    `cuts` rows are spread evenly between the warm-up and the last row. `permutation(n)` orders the n rows of a
    replaced future. Raises what `run` raises.
    """
    whole = run(bars, bars.rows)
    for size in BLOCKS:
        same = run(bars, size).sha256() == whole.sha256()
        yield Check("blocks", size, None if same else f"blocks of {size} rows give other fills or another curve")
    for cut in _cuts(warm_up, bars.rows, cuts):
        yield Check("prefix", cut, _difference(whole, run(_until(bars, cut), BLOCK), cut))
        yield Check("shuffled_future", cut, _difference(whole, run(_shuffled(bars, cut, permutation), BLOCK), cut))


def _cuts(warm_up: int, rows: int, count: int) -> list[int]:
    first = max(warm_up - 1, 0)
    return sorted({int(row) for row in np.linspace(first, rows - 2, count)}) if rows - 2 >= first else []


def _until(bars: Bars, cut: int) -> Bars:
    end = cut + 1
    fields, valid = np.ascontiguousarray(bars.fields[:, :, :end]), np.ascontiguousarray(bars.valid[:, :end])
    return Bars(bars.times[:end], bars.days[:end], fields, valid)


def _shuffled(bars: Bars, cut: int, permutation: Permutation) -> Bars:
    """Another future: each bar keeps its shape and its return on the close before it, but they come in another order.

    Whole bars in another order would jump between price levels decades apart, and profits overflow.
    """
    fields = bars.fields.copy()
    for slot in range(bars.slots):
        rows = np.flatnonzero(bars.valid[slot])
        past, future = rows[rows <= cut], rows[rows > cut]
        if not len(past) or not len(future):
            continue
        closes = bars.fields[Field.CLOSE, slot]
        growth = closes[future] / closes[np.concatenate([past[-1:], future[:-1]])]
        order = permutation(len(future))
        drawn = bars.fields[:, slot, future[order]]
        level = closes[past[-1]] * np.cumprod(growth[order]) / drawn[Field.CLOSE]
        fields[: Field.VOLUME, slot, future] = np.maximum(np.rint(drawn[: Field.VOLUME] * level), 1)
        fields[Field.VOLUME, slot, future] = drawn[Field.VOLUME]
    return replace(bars, fields=fields)


def _difference(whole: Result, other: Result, cut: int) -> str | None:
    """What differs up to and including row `cut`."""
    differs = np.flatnonzero(whole.equity[: cut + 1] != other.equity[: cut + 1])
    if len(differs):
        return f"the equity of row {int(differs[0])} depends on bars after row {cut}"
    kept, again = (one.fills[one.fills[:, FillColumn.ROW] <= cut] for one in (whole, other))
    return None if np.array_equal(kept, again) else f"a fill up to row {cut} depends on bars after it"
