"""The engine on the works of `tests.bench.works`, each against a hand-written loop for that one strategy.

`W1a` (whole shares, fractions), `W1b`, `W2` and `W3` are CPU nanoseconds a bar, a bar of one pair, a cell; each in turn
with its limit of `limit_engine` on the same arrays, and both must give the same fills and the same equity curve to the
last digit, else there is no figure. `W1b-bracket-charges` (limit entry, stop-loss and take-profit, exit by signal, 10 %
participation, NSE's intraday charges) is held against the limit of `W1b`. `W1b-memory` is the peak of a process that
does nothing else; its limit is that of the hand-written loop. `live-step` (one bar, one strategy, signal and decision),
`program` (checking and translating one) and `start` (a process that loads the cached kernels) are held against what the
product promises. Peers (`tests.bench.peers`) follow where they are installed.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import app.engine
from app.engine.bars import Bars, align
from app.engine.columns import FillColumn
from app.engine.decision import Book, Holding, decide
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.engine.sweep import sweep
from app.engine.terms import Terms
from tests.bench import works
from tests.bench.measure import Figure, Refused, cpu, difference, figure, in_turn

PROMISED = {"live-step": 15.0, "program": 150.0, "start": 0.6}
COMPARED = [FillColumn.ROW, FillColumn.SLOT, FillColumn.SIDE, FillColumn.QUANTITY, FillColumn.PRICE, FillColumn.CHARGES]
SHORT_RUNS = 20  # of a work that takes less than the clock's grain can tell


def run() -> list[Figure | Refused]:
    """The figures, in the order in which they are measured."""
    from tests.bench import peers

    app.engine.warm()
    bars = align([works.w1b()])
    found = [
        *_w1a("W1a", works.WHOLE, works.goog()),
        *_w1a("W1a-fractions", works.FRACTIONAL, works.without_volume(works.goog())),
        *_w1b(bars),
        *_w2(),
        *_w3(),
        figure("W1b-memory", _peak("ours"), _peak("limit"), "MB"),
        figure("live-step", _live_step(bars), PROMISED["live-step"], "us"),
        figure("program", _program(), PROMISED["program"], "us"),
        figure("start", _start(), PROMISED["start"], "s"),
    ]
    return [*found, *peers.run({one["name"]: one["limit"] for one in found if not isinstance(one, Refused)})]


def _w1a(name: str, instrument: Instrument, columns: works.Columns) -> list[Figure | Refused]:
    """The hand-written loop takes its running sums anew each time, as the engine does."""
    from tests.bench.limit_engine import FILL, all_in_fractions, all_in_whole, running

    bars, program, rows = align([columns]), compile_program(works.W1A), len(columns["close"])
    kernel = all_in_whole if instrument is works.WHOLE else all_in_fractions
    curve, fills, (opens, closes) = np.empty(rows, np.int64), np.empty((rows, FILL), np.int64), _prices(columns)
    account: dict[str, Any] = {
        "instruments": [instrument],
        "cash": works.W1A_CASH,
        "schedule": schedule_named("flat_bps"),
    }

    def limit() -> int:
        return kernel(opens, closes, running(closes), works.FAST, works.SLOW, works.W1A_CASH, curve, fills)

    result, count = backtest(program, bars, **account), limit()
    if reason := _unlike(result, curve, fills[:count]):
        return [Refused(name, reason)]
    ours, bare = in_turn(partial(backtest, program, bars, **account), limit, times=SHORT_RUNS)
    return [figure(name, ours / rows * 1e9, bare / rows * 1e9, "ns/bar")]


def _w1b(bars: Bars) -> list[Figure | Refused]:
    from tests.bench.limit_engine import FILL, crossover

    program, bracket = compile_program(works.W1B), compile_program(works.BRACKET)
    dated = replace(bars, days=bars.days - works.START_DAY + works.INDIAN_DAY)
    rows, (opens, closes) = bars.rows, _prices(works.w1b())
    curve, fills = np.empty(rows, np.int64), np.empty((rows // 10, FILL), np.int64)

    def limit() -> int:
        return crossover(opens, closes, works.W1B_CASH, curve, fills)

    result, count = _crossing(bars, program), limit()
    if reason := _unlike(result, curve, fills[:count]):
        return [Refused("W1b", reason), Refused("W1b-bracket-charges", reason)]
    measured = in_turn(partial(_crossing, bars, program), partial(_bracket, dated, bracket), limit)
    ours, guarded, bare = (seconds / rows * 1e9 for seconds in measured)
    return [figure("W1b", ours, bare, "ns/bar"), figure("W1b-bracket-charges", guarded, bare, "ns/bar")]


def _w2() -> list[Figure | Refused]:
    """The 200 pairs by one sweep, and by a loop that shares the running sums between them."""
    from tests.bench.limit_engine import FILL, all_in_fractions, running

    columns, pairs = works.without_volume(works.goog()), works.W2_PAIRS
    bars, rows, (opens, closes) = align([columns]), len(columns["close"]), _prices(columns)
    curves, fills = np.empty((len(pairs), rows), np.int64), np.empty((rows, FILL), np.int64)
    sets = [{"fast": fast, "slow": slow} for fast, slow in pairs]
    account: dict[str, Any] = {
        "instruments": [works.FRACTIONAL],
        "cash": works.W1A_CASH,
        "schedule": schedule_named("flat_bps"),
    }

    def ours() -> list[Any]:
        return list(sweep(works.W1A, sets, bars, **account))

    def limit() -> None:
        sums = running(closes)
        for at, (fast, slow) in enumerate(pairs):
            all_in_fractions(opens, closes, sums, fast, slow, works.W1A_CASH, curves[at], fills)

    trials = ours()
    limit()
    for trial, given, curve in zip(trials, sets, curves, strict=True):
        if reason := difference(trial.equity, curve, (), ()):
            return [Refused("W2", f"{given}: {reason}")]
    mine, bare = in_turn(ours, limit)
    cells = len(pairs) * rows
    return [figure("W2", mine / cells * 1e9, bare / cells * 1e9, "ns/bar")]


def _w3() -> list[Figure | Refused]:
    from tests.bench.limit_engine import FILL, momentum

    bars, program = align(works.w3()), compile_program(works.W3)
    opens, closes = (np.stack([one[name] for one in works.w3()]) for name in ("open", "close"))
    curve = np.empty(bars.rows, np.int64)
    fills = np.empty((2 * works.W3_SLOTS * bars.rows // works.W3_EVERY, FILL), np.int64)
    instruments = [works.of_w3(slot) for slot in range(works.W3_SLOTS)]
    account: dict[str, Any] = {
        "instruments": instruments,
        "cash": works.W3_CASH,
        "schedule": schedule_named("flat_bps"),
    }

    def limit() -> int:
        return momentum(opens, closes, works.W3_CASH, curve, fills)

    result, count = backtest(program, bars, **account), limit()
    if reason := _unlike(result, curve, fills[:count]):
        return [Refused("W3", reason)]
    ours, bare = in_turn(partial(backtest, program, bars, **account), limit)
    cells = bars.rows * bars.slots
    return [figure("W3", ours / cells * 1e9, bare / cells * 1e9, "ns/cell")]


def _account(instruments: list[Instrument], cash: int) -> dict[str, Any]:
    return {"instruments": instruments, "cash": cash, "schedule": schedule_named("flat_bps")}


def _prices(columns: works.Columns) -> tuple[Any, Any]:
    return np.ascontiguousarray(columns["open"]), np.ascontiguousarray(columns["close"])


def _unlike(result: Result, curve: Any, fills: Any) -> str | None:
    return difference(result.equity, curve, result.fills[:, COMPARED], fills)


def _crossing(bars: Bars, program: Any) -> Result:
    return backtest(program, bars, **_account([works.W1B_INSTRUMENT], works.W1B_CASH))


def _bracket(bars: Bars, program: Any) -> Result:
    return backtest(
        program,
        bars,
        instruments=[works.INDIAN],
        cash=works.W1B_CASH,
        schedule=schedule_named("nse_equity"),
        terms=Terms(participation_bps=1000),
    )


def _live_step(bars: Bars) -> float:
    """Median microseconds of one closed bar: signal and decision."""
    program, rows = compile_program(works.W1B), 3000
    runtime, day = ProgramRuntime(program, [works.W1B_INSTRUMENT]), int(bars.days[0])
    steps = []
    for row in bars.fields[:, 0, :rows].T.tolist():
        book = Book(works.W1B_CASH, (Holding(0, row[3]),))
        began = time.perf_counter()
        signals = runtime.on_bar(day, [row])
        if signals.rebalances:
            decide(program, [works.W1B_INSTRUMENT], signals, book)
        steps.append(time.perf_counter() - began)
    return statistics.median(steps) * 1e6


def _program() -> float:
    """Median microseconds from JSON document to compiled program."""
    return statistics.median(cpu(lambda: compile_program(works.W1B), times=50) for _ in range(9)) * 1e6


def _start() -> float:
    """Median CPU seconds of a process that loads every cached kernel and ends."""
    code = "import app.engine; app.engine.warm()"

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return statistics.median(once() for _ in range(5))


def _peak(whose: str) -> float:
    """Peak resident megabytes of a process that loads the bars and runs W1b once, by the engine or by the limit."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "w1b.npz"
        np.savez(file, **works.w1b())  # type: ignore[arg-type]  # its stub takes allow_pickle for a column
        code = f"from tests.bench.engine import peak; peak({whose!r}, {str(file)!r})"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ)
    return float(done.stdout)


def peak(whose: str, file: str) -> None:
    """The body of such a process: prints megabytes."""
    if whose == "ours":
        _crossing(align([dict(np.load(file))]), compile_program(works.W1B))
    else:
        columns = dict(np.load(file))
        from tests.bench.limit_engine import FILL, crossover

        rows = len(columns["close"])
        fills = np.empty((rows // 10, FILL), np.int64)
        crossover(columns["open"], columns["close"], works.W1B_CASH, np.empty(rows, np.int64), fills)
    status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak: it survives exec
    sys.stdout.write(f"{int(status.partition('VmHWM:')[2].split()[0]) / 1024:.1f}\n")
