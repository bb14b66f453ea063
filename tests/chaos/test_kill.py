"""Kill -9 of processes while they work: they recover, to exactly what undisturbed ones would have done.

The tests share a stack that replays the same market undisturbed while the first of them kills another one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.kernel.ids import encode_id
from app.local.figures import broken_invariants
from app.market.instruments.service import load_instruments
from tests.factories.minutes import slow_program, write_minutes
from tests.factories.stack import RunningStack, fills_until, running_stack, stack_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]
START = datetime(2003, 1, 20, tzinfo=UTC)
END = datetime(2003, 6, 30, tzinfo=UTC)
STEP = timedelta(days=21)
PROCESSES = ("worker", "daemon", "postgres", "gateway", "valkey")
SPEED = 40
"""Of the stack that is disturbed. The other one goes as fast as it can: speed changes no result either."""

LEASE_S = "8"
"""How long the work of a dead worker waits: long enough for a busy machine to renew it, and not the subject here."""

MINUTES = 400_000


@pytest.fixture(scope="module")
def stack(worker_id: str) -> Iterator[RunningStack]:
    """A stack whose worker is killed by tests that compute. The one that trades needs it undisturbed: it is first.

    Test processes may each have one, and two that begin at once must not choose the same free port.
    """
    process = int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0
    with (
        stack_folder() as root,
        running_stack(root, speed=0, port=18_400 + 200 * process, LASTING_LEASE_SECONDS=LEASE_S) as running,
    ):
        yield running


def test_killing_each_process_in_turn_loses_nothing_and_doubles_nothing(stack: RunningStack) -> None:
    with stack_folder() as root, running_stack(root, speed=SPEED, port=18_500) as disturbed:
        for turn, process in enumerate(PROCESSES):
            disturbed.wait_for(START + turn * STEP)
            disturbed.kill(process)
        disturbed.wait_for(END)
        assert not broken_invariants(disturbed.summary())
        assert disturbed.process.poll() is None
        found = fills_until(disturbed, END)
        restarts = {service["name"]: service["restarts"] for service in disturbed.state()["services"]}
    stack.wait_for(END)
    expected = fills_until(stack, END)
    assert {service["restarts"] for service in stack.state()["services"]} == {0}
    assert all(restarts[process] for process in PROCESSES)
    assert len(expected) > 10
    assert found == expected


def _import_minutes(root: Path) -> None:
    file = write_minutes(root / "minutes.parquet", MINUTES)
    command = [sys.executable, "-m", "app.cli", "bars", "import", str(file)]
    options = ["--symbol", "FB", "--venue", "XNAS", "--interval", "1m"]
    subprocess.run([*command, *options], env=os.environ | {"MANDI_HOME": str(root)}, check=True, timeout=120)


def test_a_backtest_whose_worker_is_killed_gives_the_bytes_of_an_undisturbed_one(stack: RunningStack) -> None:
    asked = {
        "program": slow_program(40),
        "instruments": [encode_id("ins", load_instruments()["FB", "XNAS"]["id"])],
        "interval": "1m",
        "cash": "100000",
    }
    _import_minutes(stack.home.root)

    def begun() -> str:
        return f"/v1/backtests/{json.loads(stack.call('/v1/backtests', asked))['id']}"

    undisturbed = begun()
    stack.until(undisturbed, lambda shown: shown["status"] == "succeeded")
    disturbed = begun()
    stack.until(disturbed, lambda shown: bool(shown["status"] == "running" and shown["bars_done"]))
    stack.kill("worker")
    found = stack.until(disturbed, lambda shown: shown["status"] == "succeeded")
    assert found["attempts"] == 2
    assert stack.call(f"{disturbed}/result") == stack.call(f"{undisturbed}/result")
    assert len(json.loads(stack.call(f"{disturbed}/result"))["fills"]) > 10
    assert stack.process.poll() is None


def test_a_sweep_whose_worker_is_killed_gives_the_figures_of_an_undisturbed_one(stack: RunningStack) -> None:
    asked = {
        "template": "sma_cross",
        "instruments": [encode_id("ins", load_instruments()["IBM", "XNYS"]["id"])],
        "cash": "100000",
        "grid": {"fast": "2:31", "slow": "32:61"},
    }

    def begun() -> str:
        return f"/v1/sweeps/{json.loads(stack.call('/v1/sweeps', asked))['id']}"

    undisturbed = begun()
    stack.until(undisturbed, lambda shown: shown["status"] == "succeeded")
    disturbed = begun()
    stack.until(disturbed, lambda shown: shown["status"] == "running")
    stack.kill("worker")
    found = stack.until(disturbed, lambda shown: shown["status"] == "succeeded")
    assert found["combinations_done"] == 900
    results = [json.loads(stack.call(f"{one}/result")) for one in (undisturbed, disturbed)]
    assert results[0]["sha256"] == results[1]["sha256"]
    assert results[0]["ranking"] == results[1]["ranking"]
    assert [result["trials"]["earlier"] for result in results] == [0, 900]
    assert stack.process.poll() is None
