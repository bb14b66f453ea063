"""ruff, its formatter and mypy agree with every file; and each refuses what is planted for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

PLACES = [place for place in ("app", "workers", "migrations", "tests", "start_trading.py") if (ROOT / place).exists()]
CONFIG = str(ROOT / "pyproject.toml")

LINTED = {
    "F401": "import os\n",
    "I001": "import sys\nimport os\n\nprint(os, sys)\n",
    "E501": f"x = '{'x' * 120}'\n",
    "DTZ005": "import datetime\n\nnow = datetime.datetime.now()\n",
    "TID252": "from . import something\n",
    "S608": "def f(name: str) -> str:\n    return f'select * from orders where name = {name}'\n",
    "S301": "import pickle\n\nx = pickle.loads(b'')\n",
    "ASYNC251": "import time\n\n\nasync def f() -> None:\n    time.sleep(1)\n",
    "B006": "def f(x: list[int] = []) -> list[int]:\n    return x\n",
    "T201": "print('x')\n",
    "PGH003": "x = 1  # type: ignore\n",
}
TYPED = {
    "no-untyped-def": "def f(x): ...\n",
    "type-arg": "def f(x: list) -> None: ...\n",
    "no-any-return": "from typing import Any\n\n\ndef f(x: Any) -> int:\n    return x\n",
    "unused-ignore": "x = 1  # type: ignore[assignment]\n",
    "ignore-without-code": "x: int = 'a'  # type: ignore\n",
    "assignment": "from app.kernel.money import Money\n\nx: int = Money(1, 'INR')\n",
}


def run(*command: str) -> tuple[int, str]:
    """Exit code and output of a module of this environment, in the project's root."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=400, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    code, output = run("ruff", "check", "--no-cache", "--output-format", "concise", *PLACES)
    assert code == 0, output


def test_every_file_is_formatted() -> None:
    code, output = run("ruff", "format", "--no-cache", "--check", *PLACES)
    assert code == 0, output


@pytest.mark.timeout(420)
def test_mypy_finds_nothing() -> None:
    code, output = run("mypy", *PLACES)
    assert code == 0, output


@pytest.mark.parametrize("code", LINTED)
def test_a_planted_fault_is_linted(code: str, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(LINTED[code])
    status, output = run("ruff", "check", "--no-cache", "--config", CONFIG, "--output-format", "concise", str(tmp_path))
    assert status == 1, output
    assert f" {code} " in output


def test_an_unformatted_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("x = [1,2]\n")
    assert run("ruff", "format", "--no-cache", "--check", "--config", CONFIG, str(tmp_path))[0] == 1


@pytest.mark.timeout(420)
def test_planted_types_are_refused(tmp_path: Path) -> None:
    for name, text in TYPED.items():
        (tmp_path / f"planted_{name.replace('-', '_')}.py").write_text(text)
    code, output = run("mypy", "--config-file", CONFIG, *(str(path) for path in sorted(tmp_path.glob("*.py"))))
    assert code == 1, output
    for name in TYPED:
        assert f"planted_{name.replace('-', '_')}.py" in output, output
        assert f"[{name}]" in output, output
