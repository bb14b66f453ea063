"""Kill -9 of the worker in the middle of a backtest: another one runs it again, to the same bytes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from app.kernel.ids import encode_id
from app.local.home import Home
from app.local.stack import clear
from app.market.instruments.service import load_instruments
from tests.factories.minutes import slow_program, write_minutes
from tests.factories.stack import RunningStack, running_stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]
MINUTES = 400_000


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that a server dropped to an unprivileged user can reach."""
    root = Path(tempfile.mkdtemp(prefix="mandi-chaos-"))
    root.chmod(0o711)
    yield root
    clear(Home(root), lambda text: None)
    shutil.rmtree(root, ignore_errors=True)


def _call(stack: RunningStack, path: str, body: dict[str, Any] | None = None) -> bytes:
    credentials = stack.home.credentials()
    assert credentials is not None
    request = Request(
        f"{stack.state()['url']}/v1/backtests{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {credentials.api_key}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as answer:
        found: bytes = answer.read()
    return found


def _until(stack: RunningStack, backtest: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        shown: dict[str, Any] = json.loads(_call(stack, f"/{backtest}"))
        if reached(shown):
            return shown
        assert shown["status"] in ("queued", "running"), shown
        time.sleep(0.05)
    raise TimeoutError(f"the backtest is still {shown}")


def _import_minutes(root: Path) -> None:
    file = write_minutes(root / "minutes.parquet", MINUTES)
    command = [sys.executable, "-m", "app.cli", "bars", "import", str(file)]
    options = ["--symbol", "FB", "--venue", "XNAS", "--interval", "1m"]
    subprocess.run([*command, *options], env=os.environ | {"MANDI_HOME": str(root)}, check=True, timeout=120)


def test_a_backtest_whose_worker_is_killed_gives_the_bytes_of_an_undisturbed_one(folder: Path) -> None:
    asked = {
        "program": slow_program(40),
        "instruments": [encode_id("ins", load_instruments()["FB", "XNAS"]["id"])],
        "interval": "1m",
        "cash": "100000",
    }
    with running_stack(folder, speed=20, port=18_600) as stack:
        _import_minutes(folder)
        undisturbed = json.loads(_call(stack, "", asked))["id"]
        _until(stack, undisturbed, lambda shown: shown["status"] == "succeeded")
        disturbed = json.loads(_call(stack, "", asked))["id"]
        _until(stack, disturbed, lambda shown: bool(shown["status"] == "running" and shown["bars_done"]))
        stack.kill("worker")
        found = _until(stack, disturbed, lambda shown: shown["status"] == "succeeded")
        assert found["attempts"] == 2
        assert _call(stack, f"/{disturbed}/result") == _call(stack, f"/{undisturbed}/result")
        assert len(json.loads(_call(stack, f"/{disturbed}/result"))["fills"]) > 10
        assert stack.process.poll() is None
