"""What importing the engine costs, in fresh processes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    return done.stdout.strip()


def test_importing_the_engine_loads_no_numba() -> None:
    code = (
        "import sys, app.engine, app.engine.simulation, app.engine.decision, app.engine.runtime, app.engine.kernels\n"
        "import app.trading.strategies.library.momentum, app.quant.trips\n"
        "print([m for m in ('numba', 'llvmlite', 'scipy', 'pandas') if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_the_cache_folder_is_set_before_numba_and_refused_after(tmp_path: Path) -> None:
    code = (
        "import app.engine, os\n"
        f"folder = app.engine.cache_directory({str(tmp_path)!r})\n"
        "assert os.environ['NUMBA_CACHE_DIR'] == str(folder), folder\n"
        "from app.engine.kernels import integers\n"
        "assert integers.month_of(0) == 1970 * 12\n"
        "print(sum(1 for _ in folder.rglob('*.nbi')) > 0)\n"
        "try:\n    app.engine.cache_directory('elsewhere')\n"
        "except RuntimeError as error:\n    print('before' in str(error))"
    )
    assert python(code).split() == ["True", "True"]


def test_warm_loads_every_kernel() -> None:
    code = "import app.engine, sys; app.engine.warm(); print('app.engine.kernels.simulator' in sys.modules)"
    assert python(code) == "True"
