"""What importing the engine costs, and where compiled kernels go."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import app.engine
from app.engine import kernels
from app.engine.kernels import native

ROOT = Path(__file__).parents[3]


def test_importing_the_engine_loads_no_numba() -> None:
    code = (
        "import sys, app.engine, app.engine.simulation, app.engine.decision, app.engine.runtime, app.engine.kernels\n"
        "import app.trading.strategies.library.momentum, app.quant.trips\n"
        "print([m for m in ('numba', 'llvmlite', 'scipy', 'pandas') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_a_backtest_runs_without_numba(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from tests.unit.engine.conftest import cross, instruments, make_bars\n"
        "from app.engine.program import compile_program\n"
        "from app.engine.schedule import schedule_named\n"
        "from app.engine.simulation import backtest\n"
        "program = compile_program(cross(2, 5))\n"
        "found = backtest(program, make_bars(99), instruments=instruments(1), cash=10**7,"
        " schedule=schedule_named('zero'))\n"
        "print(len(found.fills) > 3, 'numba' in sys.modules)"
    )
    app.engine.warm()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["True", "False"]


def test_processes_that_need_the_kernels_at_once_compile_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    built = []

    def compiled(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        built.append(command[-1])
        Path(command[-1]).write_bytes(b"")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", compiled)
    file = tmp_path / "folder" / "some.o"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: native._build(file), range(4)))
    assert built == [str(file)]


def test_an_entry_refuses_arrays_it_was_not_compiled_for() -> None:
    rows, days = np.zeros(0, np.int64), np.arange(6, dtype=np.int64)
    assert native.bind("day_ends", days, rows)() == 6
    for wrong in (days.astype(np.int32), days[::2], days.reshape(2, 3)):
        with pytest.raises(TypeError, match="day_ends takes a contiguous array"):
            native.bind("day_ends", wrong, rows)
    with pytest.raises(TypeError, match="takes 2 arrays"):
        native.bind("day_ends", days)
    with pytest.raises(TypeError, match="takes 0 integers"):
        native.bind("day_ends", days, rows)(1)


def test_the_cache_folder_is_named_after_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "before")
    folder = app.engine.cache_directory(tmp_path)
    assert folder.parent == tmp_path
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)
    assert app.engine.cache_directory(str(tmp_path)) == folder == kernels.cache_folder()


def test_a_read_only_installation_keeps_its_kernels_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    beside = Path(kernels.__file__ or "").parent / "__pycache__" / kernels.source_digest()
    assert kernels.cache_folder() == beside
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert kernels.cache_folder() == tmp_path / "mandi" / "kernels" / kernels.source_digest()
