"""The engine on the works of `W1b`: a million one-minute bars, SMA10 over SMA30, 100 units, 0.1 % of each side.

`W1b` is CPU nanoseconds a bar with fills and equity curve; its limit is `limit_engine`, in turn on the same arrays, and
both must give the same fills and the same curve. `W1b-bracket-charges` (limit entry, stop-loss and take-profit, exit by
signal, 10 % participation, NSE's intraday charges) is held against the same limit. `W1b-memory` is the peak of a
process that does nothing else; its limit is that of the hand-written loop. `live-step` (one bar, one strategy, signal
and decision), `program` (checking and translating one) and `start` (a process that loads the cached kernels) are held
against what the product promises.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

import app.engine
from app.engine.bars import Bars, align
from app.engine.decision import Book, Holding, decide
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.engine.terms import Terms
from app.kernel.orders import Product

ROUNDS = 7
BARS = 1_000_000
CASH = 1_000_000_000_00
PROMISED = {"live-step": 15.0, "program": 150.0, "start": 0.6}
MINUTE_US, DAY_MINUTES = 60_000_000, 1440
START_DAY = 18_262  # 2020-01-01

PROGRAM: dict[str, Any] = {
    "version": 1,
    "name": "W1b",
    "parameters": {"fast": 10, "slow": 30},
    "target": {
        "op": "select",
        "when": {
            "op": "gt",
            "left": {"op": "sma", "of": {"op": "close"}, "window": {"param": "fast"}},
            "right": {"op": "sma", "of": {"op": "close"}, "window": {"param": "slow"}},
        },
        "then": 1,
        "else": 0,
    },
    "sizing": {"type": "units", "units": 100},
    "rebalance": "on_change",
}
INSTRUMENT = Instrument(UUID(int=1), "USD", price_exp=2)
BRACKET: dict[str, Any] = {
    "version": 1,
    "name": "W1b-bracket-charges",
    "trades": {
        "long": {
            "enter": "cross_above(ema(close, 12), ema(close, 26)) and rsi(close, 14) < 70",
            "exit": "cross_below(ema(close, 12), ema(close, 26))",
        },
        "entry": {"type": "limit", "price": "close - 0.2 * atr(14)"},
        "stop_loss": {"percent": 0.3},
        "take_profit": {"percent": 0.6},
    },
    "sizing": {"type": "units", "units": 100},
}
INDIAN = Instrument(UUID(int=1), "INR", price_exp=2, product=Product.INTRADAY)
INDIAN_DAY = 20_544  # 2026-04-01: the present charges of NSE


@cache
def w1b() -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Seeded bars in cents; how they are drawn is fixed, so that figures compare."""
    random = np.random.default_rng(7)
    close = 1000 * np.exp(np.cumsum(random.normal(0, 4e-4, BARS)))
    noise = np.exp(random.normal(0, 5e-5, BARS))
    opens = np.concatenate([[1000.0], close[:-1] * noise[1:]])
    high = np.maximum(opens, close) * np.exp(np.abs(random.normal(0, 2e-4, BARS)))
    low = np.minimum(opens, close) * np.exp(-np.abs(random.normal(0, 2e-4, BARS)))
    volume = random.integers(1_000, 50_000, BARS)
    cents = {name: np.rint(v * 100).astype(np.int64) for name, v in (("open", opens), ("close", close))}
    cents["high"] = np.maximum(np.rint(high * 100).astype(np.int64), np.maximum(cents["open"], cents["close"]))
    cents["low"] = np.minimum(np.rint(low * 100).astype(np.int64), np.minimum(cents["open"], cents["close"]))
    minutes = np.arange(BARS, dtype=np.int64)
    days = START_DAY + minutes // DAY_MINUTES
    return cents | {"volume": volume, "days": days, "times": (START_DAY * DAY_MINUTES + minutes) * MINUTE_US}


def run() -> list[dict[str, Any]]:
    """The figures."""
    from tests.bench.limit_engine import crossover

    app.engine.warm()
    columns, bars, program = w1b(), align([w1b()]), compile_program(PROGRAM)
    curve, fills = np.empty(BARS, np.int64), np.empty((BARS // 10, 4), np.int64)
    ours, brackets, limits, count = [], [], [], 0
    bracket, dated = compile_program(BRACKET), replace(bars, days=bars.days - START_DAY + INDIAN_DAY)
    result = _ours(bars, program)
    for _ in range(ROUNDS):
        ours.append(_cpu(lambda: _ours(bars, program)))
        brackets.append(_cpu(lambda: _bracket(dated, bracket)))
        began = time.process_time()
        count = crossover(columns["open"], columns["close"], CASH, curve, fills)
        limits.append(time.process_time() - began)
    _must_agree(result, curve, fills[:count])
    mine, guarded, bare = (statistics.median(one) / BARS * 1e9 for one in (ours, brackets, limits))
    return [
        _figure("W1b", mine, bare, "ns/bar"),
        _figure("W1b-bracket-charges", guarded, bare, "ns/bar"),
        _figure("W1b-memory", _peak("ours"), _peak("limit"), "MB"),
        _figure("live-step", _live_step(bars), PROMISED["live-step"], "us"),
        _figure("program", _program(), PROMISED["program"], "us"),
        _figure("start", _start(), PROMISED["start"], "s"),
    ]


def _ours(bars: Bars, program: Any) -> Result:
    return backtest(program, bars, instruments=[INSTRUMENT], cash=CASH, schedule=schedule_named("flat_bps"))


def _bracket(bars: Bars, program: Any) -> Result:
    return backtest(
        program,
        bars,
        instruments=[INDIAN],
        cash=CASH,
        schedule=schedule_named("nse_equity"),
        terms=Terms(participation_bps=1000),
    )


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _must_agree(result: Result, curve: Any, fills: Any) -> None:
    ours = [(f.row, 1 if f.side.value == "buy" else -1, f.price, f.charges) for f in result.fill_records()]
    if ours != [tuple(row) for row in fills.tolist()]:
        raise RuntimeError(f"the engine's {len(ours)} fills are not the limit's {len(fills)}")
    if not np.array_equal(result.equity, curve):
        raise RuntimeError("the engine's equity curve is not the limit's")


def _live_step(bars: Bars) -> float:
    """Median microseconds of one closed bar: signal and decision."""
    program, rows = compile_program(PROGRAM), 3000
    runtime, day = ProgramRuntime(program, [INSTRUMENT]), int(bars.days[0])
    steps = []
    for row in bars.fields[:, 0, :rows].T.tolist():
        book = Book(CASH, (Holding(0, row[3]),))
        began = time.perf_counter()
        signals = runtime.on_bar(day, [row])
        if signals.rebalances:
            decide(program, [INSTRUMENT], signals, book)
        steps.append(time.perf_counter() - began)
    return statistics.median(steps) * 1e6


def _program() -> float:
    """Median microseconds from JSON document to compiled program."""
    return statistics.median(_cpu(lambda: [compile_program(PROGRAM) for _ in range(50)]) / 50 for _ in range(9)) * 1e6


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
        np.savez(file, **w1b())  # type: ignore[arg-type]  # its stub takes allow_pickle for a column
        code = f"from tests.bench.engine import peak; peak({whose!r}, {str(file)!r})"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ)
    return float(done.stdout)


def peak(whose: str, file: str) -> None:
    """The body of such a process: prints megabytes."""
    if whose == "ours":
        _ours(align([dict(np.load(file))]), compile_program(PROGRAM))
    else:
        columns = dict(np.load(file))
        from tests.bench.limit_engine import crossover

        fills = np.empty((BARS // 10, 4), np.int64)
        crossover(columns["open"], columns["close"], CASH, np.empty(BARS, np.int64), fills)
    status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak: it survives exec
    sys.stdout.write(f"{int(status.partition('VmHWM:')[2].split()[0]) / 1024:.1f}\n")


def _figure(name: str, ours: float, limit: float, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours, 2),
        "limit": round(limit, 2),
        "unit": unit,
        "ratio": round(ours / limit, 3),
    }
