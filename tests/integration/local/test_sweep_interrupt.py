"""Ctrl-C during `mandi sweep` ends every process that it started, with nothing left to say."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.local.process import Running

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
IBM = str(next((ROOT / "app/market/data/library").glob("IBM-*.parquet")))
PROGRAM = {
    "version": 1, "name": "Crossing", "parameters": {"fast": 10, "slow": 30},
    "target": "1 if sma(close, fast) > sma(close, slow) else 0", "rebalance": "on_change",
}  # fmt: skip


def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps(PROGRAM))
    options = ["--program", str(file), "--bars", IBM, "--cash", "100000", "--currency", "USD"]
    grid = ["--grid", "fast=2:60", "--grid", "slow=61:900", "--processes", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "sweep", "run", *options, *grid],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 100
        while len(found := children(running.pid)) < 3:  # two workers, and what tracks their resources
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGINT)
        said = running.communicate(timeout=60)[0].decode()
    assert running.returncode != 0 and "Traceback" not in said
    while any(Running.find(pid) for pid in found):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(parent: int) -> list[int]:
    done = subprocess.run(["ps", "--ppid", str(parent), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(pid) for pid in done.stdout.split()]
