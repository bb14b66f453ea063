"""Decides what one piece of a search is: parameter sets, each run and reduced at once to its figures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from app.engine.bars import EPOCH, AnyEvent, Bars
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import Number
from app.engine.schedule import Schedule
from app.engine.sweep import Trial, sweep
from app.engine.terms import Terms
from app.insight.backtest.service import Prepared, trading_day
from app.insight.research.domain import Days, Measured, measure, window_scores
from app.kernel.errors import DomainError
from app.quant.performance import Array

MOST = 256
"""Sets of one chunk: enough to share columns, few enough that progress moves and a stop is prompt."""

Check = Callable[[], None]
"""Called before each run; what it raises ends the chunk."""


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What all runs of a search share, apart from the bars. `fixed`: parameters that no axis varies. Rows before
    `first_row` only warm up."""

    document: Mapping[str, Any]
    fixed: Mapping[str, Number]
    instruments: Sequence[Instrument]
    cash: int
    schedule: Schedule
    slippage: SlippageModel
    terms: Terms
    first_row: int
    events: Sequence[AnyEvent] = ()


def setup_of(document: Mapping[str, Any], fixed: Mapping[str, Number], made: Prepared) -> Setup:
    """What the runs of `document` share with the prepared one."""
    schedule = made.schedule.trading_from(trading_day(made.bars, made.first_row))
    return Setup(
        dict(document), dict(fixed), made.instruments, made.cash, schedule, made.slippage, made.terms, made.first_row,
        made.events,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chunk:
    """`sets` to run; `number` says which chunk it is. A walk-forward gives `windows`, trading dates [start, end) from
    that of the first row on, and the `metric` to score them by."""

    number: int
    sets: Sequence[Mapping[str, Number]]
    windows: Sequence[tuple[int, int]] = ()
    metric: str = "sharpe"


def days_of(bars: Bars, first_row: int) -> Days:
    """The trading dates that end from `first_row` on."""
    ends = np.flatnonzero(np.append(np.diff(bars.days) != 0, True))
    rows = ends[ends >= first_row].astype(np.int64)
    return Days(rows, [date.fromordinal(int(day) + EPOCH) for day in bars.days[rows]])


def run_sets(setup: Setup, bars: Bars, sets: Sequence[Mapping[str, Number]]) -> Iterator[Trial]:
    """The runs themselves. Raises what `backtest` raises."""
    return sweep(
        setup.document,
        [{**setup.fixed, **one} for one in sets],
        bars,
        instruments=setup.instruments,
        cash=setup.cash,
        schedule=setup.schedule,
        slippage=setup.slippage,
        terms=setup.terms,
        events=[event for event in setup.events if event.row < bars.rows],
        trade_from=setup.first_row,
    )


def measure_chunk(setup: Setup, bars: Bars, chunk: Chunk, check: Check) -> list[Measured]:
    """The figures of each set, in order; one that cannot run carries the reason."""
    days = days_of(bars, setup.first_row)

    def reduced(one: Trial) -> Measured:
        return measure(one.digest, one.equity, days, initial=setup.cash, fills=one.fills, charges=one.charges)

    found: list[Measured] = []
    for part in _run(setup, bars, chunk, check):
        found.append(Measured(refusal=part.message) if isinstance(part, DomainError) else reduced(part))
    return found


def score_chunk(setup: Setup, bars: Bars, chunk: Chunk, check: Check) -> Array:
    """f8 (sets, 1 + 2 × windows): 1 where the set ran, then of each window its metric and its Sharpe ratio per period,
    NaN where undefined."""
    rows = days_of(bars, setup.first_row).rows
    found = np.full((len(chunk.sets), 1 + 2 * len(chunk.windows)), np.nan)
    found[:, 0] = 0.0
    for at, part in enumerate(_run(setup, bars, chunk, check)):
        if not isinstance(part, DomainError):
            found[at, 0] = 1.0
            found[at, 1:] = window_scores(setup.cash, part.equity[rows], chunk.windows, chunk.metric).ravel()
    return found


def _run(setup: Setup, bars: Bars, chunk: Chunk, check: Check) -> Iterator[Trial | DomainError]:
    """Each set's run, or why it cannot be: after one that cannot run, the shared run begins anew with the next."""
    done = 0
    while done < len(chunk.sets):
        try:
            for one in run_sets(setup, bars, chunk.sets[done:]):
                check()
                done += 1
                yield one
        except DomainError as error:
            done += 1
            yield error
