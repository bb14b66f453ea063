"""The gateway starts without the heavy libraries: in a fresh process, its routes load none of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, plant

HEAVY = ("kiteconnect", "numba", "pandas", "polars", "scipy", "skfolio", "torch")
PROBE = f"""
import sys
import app.main
create = getattr(app.main, "create_app", None)
if create is not None:
    create()
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""
DATABASE = "postgresql://nobody:none@127.0.0.1:9/none"


def heavy_modules(root: Path, data_dir: Path) -> list[str]:
    """What of `HEAVY` a process has loaded after it made the gateway of the tree in `root`."""
    settings = {
        "APP_DATABASE_URL": DATABASE,
        "DISPATCH_DATABASE_URL": DATABASE,
        "REFERENCE_DATABASE_URL": DATABASE,
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "MANDI_DATA_DIR": str(data_dir),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=root,
        env=os.environ | settings | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_gateway_loads_no_heavy_library(tmp_path: Path) -> None:
    assert heavy_modules(ROOT, tmp_path) == []


@pytest.mark.parametrize("name", HEAVY)
def test_a_planted_heavy_import_is_found(name: str, tmp_path: Path) -> None:
    planted = {
        f"{name}.py": "",
        "app/main.py": "import app.trading.orders.service\n",
        "app/trading/orders/service.py": f"import {name}\n",
    }
    assert heavy_modules(plant(tmp_path, planted), tmp_path) == [name]
