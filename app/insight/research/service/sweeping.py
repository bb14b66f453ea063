"""Decides the order of a sweep and of a walk-forward: which chunks, what is chosen, and what follows from it.

A walk-forward runs every combination once, over all bars: the engine decides nothing by what comes later, so the
returns of any dates are those that a run until then would have had. A fold scores the returns of its training dates,
chooses, and takes up the chosen one's returns on its test dates, with the position that the chosen one then held.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.engine.bars import Bars, Int64
from app.engine.program import Number
from app.insight.research.domain import Cut, Days, Measured, Space, measure, named
from app.insight.research.service.chunks import MOST, Chunk, Setup, days_of, measure_chunk, run_sets, score_chunk
from app.insight.research.service.pool import Runner
from app.kernel.errors import DomainError, invalid
from app.kernel.money import Rounding, divide
from app.quant.folds import Fold, walk_forward
from app.quant.surface import ranked

Points = Sequence[tuple[Number, ...]]
MAX_SCORES = 4_000_000
"""Of a walk-forward: combinations × folds, which are all that it keeps."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One fold: what was best on its training dates (None: nothing could be chosen, the cash lay idle), its figures
    there and on the test dates, and the chained `equity` i8 (test dates,) in minor units."""

    fold: Fold
    best: int | None
    trained: Measured | None
    tested: Measured | None
    equity: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """`steps`: up to the fold that lost everything, if one did. `ran`: combinations that could run. `variance`: of
    their Sharpe ratios per period over all test dates, on which the chained curve is judged, too."""

    folds: Sequence[Fold]
    steps: Sequence[Step]
    ran: int
    variance: float


def chunk_size(count: int, processes: int) -> int:
    """Sets of a chunk: a few chunks for each process, so that none idles at the end."""
    return max(1, min(MOST, -(-count // (processes * 8))))


def sweep(space: Space, points: Points, run: Runner, *, size: int) -> list[Measured]:
    """The figures of every combination, in their order, whatever the order in which chunks end."""
    found: dict[int, list[Measured]] = {}
    for chunk, measured in run(measure_chunk, _chunks(space, points, size)):
        found[chunk.number] = measured
    return [one for number in sorted(found) for one in found[number]]


def _chunks(
    space: Space, points: Points, size: int, windows: Sequence[tuple[int, int]] = (), metric: str = "sharpe"
) -> Iterator[Chunk]:
    for number, start in enumerate(range(0, len(points), size)):
        yield Chunk(number, named(space, points[start : start + size]), windows, metric)


def folds_of(bars: Bars, cut: Cut, first_row: int, combinations: int) -> list[Fold]:
    """The folds, in trading dates from that of `first_row` on. Raises `invalid_folds`, `invalid_sweep`."""
    days = len(days_of(bars, first_row).rows)
    found = walk_forward(
        days, train=cut.train, test=cut.test, purge=cut.purge, embargo=cut.embargo, anchored=cut.anchored
    )
    if len(found) * combinations > MAX_SCORES:
        reason = f"{len(found)} folds of {combinations:,} combinations; at most {MAX_SCORES:,} together. Test longer."
        raise invalid("invalid_sweep", reason, param="test")
    return found


def windows_of(folds: Sequence[Fold]) -> list[tuple[int, int]]:
    """What each combination is scored on: every fold's training dates, and all test dates together."""
    return [*((fold.train_start, fold.train_end) for fold in folds), (folds[0].test_start, folds[-1].test_end)]


def walk(
    setup: Setup,
    bars: Bars,
    space: Space,
    points: Points,
    run: Runner,
    folds: Sequence[Fold],
    *,
    metric: str,
    size: int,
) -> Walked:
    """Search every fold's training dates, then chain what was best on the test dates that follow."""
    windows = windows_of(folds)
    table = np.empty((len(points), 1 + 2 * len(windows)))
    for chunk, found in run(score_chunk, _chunks(space, points, size, windows, metric)):
        table[chunk.number * size : chunk.number * size + len(found)] = found
    days = days_of(bars, setup.first_row)
    steps: list[Step] = []
    cash = setup.cash
    for at, fold in enumerate(folds):
        score = table[:, 1 + 2 * at]
        best = None if np.isnan(score).all() else int(ranked(score)[0])
        if best is None:
            steps.append(Step(fold, None, None, None, _idle(fold, cash)))
            continue
        trained, tested, equity = _judged(setup, bars, days, fold, named(space, [points[best]])[0], cash)
        steps.append(Step(fold, best, trained, tested, equity))
        cash = int(equity[-1])
        if cash <= 0:
            break
    sharpes = table[~np.isnan(table[:, -1]), -1]
    variance = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    return Walked(folds, steps, int(table[:, 0].sum()), variance)


def _idle(fold: Fold, cash: int) -> Int64:
    return np.full(fold.test_end - fold.test_start, cash, np.int64)


def _judged(
    setup: Setup, bars: Bars, days: Days, fold: Fold, chosen: dict[str, Number], cash: int
) -> tuple[Measured, Measured, Int64]:
    """Its figures on the training dates and on the test dates, and what the tests make of `cash`."""
    whole = next(run_sets(setup, bars, [chosen]))
    curve = whole.equity[days.rows]
    held = int(curve[fold.test_start - 1])
    equity = np.array(
        [
            divide(cash * int(value), held, Rounding.HALF_UP) if held > 0 else cash
            for value in curve[fold.test_start : fold.test_end]
        ],
        np.int64,
    )
    (before, paid_before), (until, paid) = (
        _spent(setup, bars, int(days.rows[day - 1]) + 1, chosen) for day in (fold.test_start, fold.test_end)
    )
    dates = days.dates[fold.test_start : fold.test_end]
    tested = measure(
        whole.digest, equity, Days(np.arange(len(equity)), dates), initial=cash, fills=until - before,
        charges=paid - paid_before,
    )  # fmt: skip
    start, end = fold.train_start, fold.train_end
    initial = int(curve[start - 1]) if start else setup.cash
    window = Days(np.arange(end - start), days.dates[start:end])
    return measure(whole.digest, curve[start:end], window, initial=initial, fills=0, charges=0), tested, equity


def _spent(setup: Setup, bars: Bars, end: int, chosen: dict[str, Number]) -> tuple[int, int]:
    """Fills and charges of rows [0, end)."""
    try:
        one = next(run_sets(setup, _leading(bars, end), [chosen]))
    except DomainError as error:
        if error.code != "too_few_bars":
            raise
        return 0, 0  # it still warms up
    return one.fills, one.charges


def _leading(bars: Bars, end: int) -> Bars:
    """Rows [0, end)."""
    fields, valid = np.ascontiguousarray(bars.fields[:, :, :end]), np.ascontiguousarray(bars.valid[:, :end])
    return Bars(bars.times[:end], bars.days[:end], fields, valid)
