"""Kill -9 of every process during the run: it recovers, and trades exactly what an undisturbed run trades."""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.local.figures import broken_invariants
from app.local.stack import clear
from tests.factories.stack import fills_until, running_stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
START = datetime(2003, 1, 20, tzinfo=UTC)
END = datetime(2003, 6, 30, tzinfo=UTC)
STEP = timedelta(days=21)
PROCESSES = ("worker", "daemon", "postgres", "gateway", "valkey")


@pytest.fixture
def folders() -> Iterator[tuple[Path, Path]]:
    """Two data folders that a server dropped to an unprivileged user can reach."""
    from app.local.home import Home

    roots = tuple(Path(tempfile.mkdtemp(prefix="mandi-chaos-")) for _ in range(2))
    for root in roots:
        root.chmod(0o711)
    yield roots[0], roots[1]
    for root in roots:
        clear(Home(root), lambda text: None)
        shutil.rmtree(root, ignore_errors=True)


def test_killing_each_process_in_turn_loses_nothing_and_doubles_nothing(folders: tuple[Path, Path]) -> None:
    undisturbed, disturbed = folders
    with running_stack(undisturbed, speed=0, port=18_400) as stack:
        stack.wait_for(END)
        expected = fills_until(stack, END)
    with running_stack(disturbed, speed=40, port=18_500) as stack:
        for turn, process in enumerate(PROCESSES):
            stack.wait_for(START + turn * STEP)
            stack.kill(process)
        stack.wait_for(END)
        assert not broken_invariants(stack.summary())
        assert stack.process.poll() is None
        found = fills_until(stack, END)
    assert len(expected) > 10
    assert found == expected
