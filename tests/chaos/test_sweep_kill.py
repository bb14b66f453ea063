"""Kill -9 of the worker in the middle of a sweep: its chunks run again, to the same figures."""

import json
import shutil
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
from tests.factories.stack import RunningStack, running_stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that a server dropped to an unprivileged user can reach."""
    root = Path(tempfile.mkdtemp(prefix="mandi-chaos-"))
    root.chmod(0o711)
    yield root
    clear(Home(root), lambda text: None)
    shutil.rmtree(root, ignore_errors=True)


def _call(stack: RunningStack, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    credentials = stack.home.credentials()
    assert credentials is not None
    request = Request(
        f"{stack.state()['url']}/v1/sweeps{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {credentials.api_key}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def _until(stack: RunningStack, sweep: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        shown = _call(stack, f"/{sweep}")
        if reached(shown):
            return shown
        assert shown["status"] in ("queued", "running"), shown
        time.sleep(0.05)
    raise TimeoutError(f"the sweep is still {shown}")


def test_a_sweep_whose_worker_is_killed_gives_the_figures_of_an_undisturbed_one(folder: Path) -> None:
    asked = {
        "template": "sma_cross",
        "instruments": [encode_id("ins", load_instruments()["IBM", "XNYS"]["id"])],
        "cash": "100000",
        "grid": {"fast": "2:31", "slow": "32:61"},
    }
    with running_stack(folder, speed=20, port=18_700) as stack:
        undisturbed = _call(stack, "", asked)["id"]
        _until(stack, undisturbed, lambda shown: shown["status"] == "succeeded")
        disturbed = _call(stack, "", asked)["id"]
        _until(stack, disturbed, lambda shown: shown["status"] == "running")
        stack.kill("worker")
        found = _until(stack, disturbed, lambda shown: shown["status"] == "succeeded")
        assert found["combinations_done"] == 900
        results = [_call(stack, f"/{one}/result") for one in (undisturbed, disturbed)]
        assert results[0]["sha256"] == results[1]["sha256"]
        assert results[0]["ranking"] == results[1]["ranking"]
        assert [result["trials"]["earlier"] for result in results] == [0, 900]
        assert stack.process.poll() is None
