"""Sweeps and walks forward on files of bars: no database, no network, processes of this machine."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from app.engine import warm
from app.engine.document import parse_document
from app.insight.backtest.domain import data_section
from app.insight.backtest.service import FileRun, Prepared, prepare_files
from app.insight.research.domain import Cut, Space, check_metric, check_names, combinations, named
from app.insight.research.service.chunks import Chunk, Setup, run_sets, setup_of
from app.insight.research.service.documents import sweep_document, trials_rows, walk_document
from app.insight.research.service.pool import Runner, T, Work, run_here, run_spread
from app.insight.research.service.sweeping import Points, chunk_size, folds_of, sweep, walk
from app.kernel.errors import DomainError, Kind, invalid

MAX_PROCESSES = 256
_WORTH_A_PROCESS = 10_000_000
"""Bars to run through (combinations × rows × instruments) from which a further process repays its start."""
OnRuns = Callable[[int, int], None]
"""Told (runs done, of all) after each chunk."""


@dataclass(frozen=True, slots=True)
class FileSweep:
    """What to search. `run`: the program, its files and terms; `run.parameters` hold what no axis varies.

    `processes` None: as many as are worth their start, at most one per processor. `earlier`: combinations of this
    program's family that were run before; they count as trials.
    """

    run: FileRun
    space: Space
    metric: str = "sharpe"
    processes: int | None = None
    earlier: int = 0


@dataclass(frozen=True, slots=True)
class _Ready:
    made: Prepared
    setup: Setup
    points: Points
    processes: int
    size: int

    @property
    def data(self) -> dict[str, Any]:
        return data_section(self.made.bars, self.made.sources, self.made.instruments, self.made.first_row)


def sweep_files(asked: FileSweep, on_runs: OnRuns | None = None) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """The result document, and each combination with its figures, in order. The same whatever the number of processes.

    Raises what `run_files` raises, `invalid_sweep` naming axis or field, `process_died`.
    """
    ready = _prepare(asked)
    measured = sweep(asked.space, ready.points, _runner(ready, on_runs), size=ready.size)
    if all(one.refusal is not None for one in measured):
        _refuse(asked, ready)
    document = sweep_document(
        ready.setup, asked.space, ready.points, measured, data=ready.data, metric=asked.metric, earlier=asked.earlier
    )
    return document, trials_rows(ready.setup, asked.space, ready.points, measured)


def walk_files(asked: FileSweep, cut: Cut, on_runs: OnRuns | None = None) -> dict[str, Any]:
    """The result document of a walk-forward. Raises what `sweep_files` raises, and `invalid_folds`."""
    ready = _prepare(asked)
    bars, points = ready.made.bars, ready.points
    folds = folds_of(bars, cut, ready.made.first_row, len(points))
    run = _runner(ready, on_runs)
    walked = walk(ready.setup, bars, asked.space, points, run, folds, metric=asked.metric, size=ready.size)
    if walked.ran == 0:
        _refuse(asked, ready)
    return walk_document(
        ready.setup, bars, asked.space, points, walked, data=ready.data, cut=cut, metric=asked.metric,
        earlier=asked.earlier,
    )  # fmt: skip


def _prepare(asked: FileSweep) -> _Ready:
    check_metric(asked.metric)
    if asked.processes is not None and not 1 <= asked.processes <= MAX_PROCESSES:
        raise invalid("invalid_sweep", f"Use 1 to {MAX_PROCESSES} processes.", param="processes")
    if asked.earlier < 0:
        raise invalid("invalid_sweep", "Earlier trials cannot be negative.", param="earlier")
    document = parse_document(asked.run.program)
    check_names(asked.space, document.parameters, asked.run.parameters)
    points = combinations(asked.space)
    made = prepare_files(asked.run)
    setup = setup_of(asked.run.program, asked.run.parameters, made)
    worth = len(points) * made.bars.rows * made.bars.slots // _WORTH_A_PROCESS
    processes = asked.processes or max(1, min(os.cpu_count() or 1, worth))
    return _Ready(made, setup, points, processes, chunk_size(len(points), processes))


def _refuse(asked: FileSweep, ready: _Ready) -> None:
    """Nothing could run: raise what the first combination raises."""
    next(run_sets(ready.setup, ready.made.bars, named(asked.space, ready.points[:1])))


def _runner(ready: _Ready, on_runs: OnRuns | None) -> Runner:
    warm()  # compiled once here, not by every process
    bars, setup, total = ready.made.bars, ready.setup, len(ready.points)

    def run(work: Work[T], chunks: Iterable[Chunk], /) -> Iterator[tuple[Chunk, T]]:
        done = 0
        found = run_here(setup, bars, work, chunks)
        if ready.processes > 1:
            found = run_spread(setup, bars, work, chunks, processes=ready.processes)
        try:
            for chunk, result in found:
                done += len(chunk.sets)
                if on_runs is not None:
                    on_runs(done, total)
                yield chunk, result
        except BrokenProcessPool:
            reason = "A process of the sweep died, perhaps for lack of memory. Try again with fewer processes."
            raise DomainError("process_died", Kind.UNAVAILABLE, reason, param="processes") from None

    return run
