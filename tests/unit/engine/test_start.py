"""What importing the engine costs, and where compiled kernels go."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import app.engine
from app.engine import kernels

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


def test_warm_loads_every_module_of_the_folder() -> None:
    app.engine.warm()
    assert kernels.__file__ is not None
    files = {path.stem for path in Path(kernels.__file__).parent.glob("*.py")}
    assert files - {"__init__", "jit"} == set(kernels.MODULES)
    assert all(f"{kernels.__name__}.{name}" in sys.modules for name in kernels.MODULES)


def test_the_cache_folder_is_named_after_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "before")
    monkeypatch.delitem(sys.modules, "numba")
    folder = app.engine.cache_directory(tmp_path)
    assert folder.parent == tmp_path
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)
    assert app.engine.cache_directory(str(tmp_path)) == folder


def test_the_cache_folder_cannot_change_once_numba_is_there(tmp_path: Path) -> None:
    assert numba.__version__
    with pytest.raises(RuntimeError, match="before anything imports numba"):
        app.engine.cache_directory(tmp_path)
