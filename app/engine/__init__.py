"""The trading kernel, pure: one program format and one set of compiled loops for backtest, paper and live.

Import from the modules; nothing is loaded until used. Processes load compiled kernels; only compiling them loads numba.

Programs      `program.compile_program(document, parameters) -> Program` (digest, warm_up, cost), `document.Document`
Expressions   `expression.parse_expression(text, parameters, path)`: the written form as JSON
Bars          `bars.Bars`, `bars.align`, `bars.Split / Dividend / SessionClose`, `bars.timeline`, `bars.session_ends`
Instruments   `instruments.Instrument`
Signals       `runtime.ProgramRuntime(program, instruments)`: `warm_up(bars, events)`, `on_bar(day, rows, splits)`
Decision      `decision.decide(program, instruments, signals, book) -> list[Intent]`, `decision.Book / Holding`
Positions     `apply.apply_fill / apply_split / apply_dividend`, `apply.split_order`, `apply.Position / Scale`
Fill rule     `fills.match`, `fills.slipped`, `fills.bar_path`, `fills.SlippageModel`
Charges       `schedule.charges` (one order), `schedule.note` (a day's trades), `schedule.schedule_named`
Backtest      `simulation.backtest(program, bars, instruments=…, cash=…, schedule=…, terms=…) -> Result`, `terms.Terms`
Firewall      `firewall.verify(run, bars, warm_up=…)`: does a decision depend on what comes later?
Schema        `schema.program_schema()`: the strategy language as JSON schema
Start-up      `warm()` loads every kernel, compiled first if need be; `cache_directory(path)` before that
"""

import os
from pathlib import Path


def cache_directory(path: Path | str) -> Path:
    """Keep compiled kernels under `path` (writable), in a folder of their own for this version of the kernels."""
    from app.engine.kernels import source_digest

    folder = Path(path) / source_digest()
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    return folder


def warm() -> None:
    """Load every kernel into this process, compiling them first where that was not done. Call before forking."""
    from app.engine import kernels

    kernels.warm()
