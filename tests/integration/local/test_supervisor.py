"""The supervisor over real processes: restarts, giving up, stopping in order, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.local.process import start_time
from app.local.supervisor import CommandService, GaveUpError, Supervisor, end_marked

SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
FAMILY = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); time.sleep(600)"


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def service(home: Path, code: str, name: str = "child", grace_s: float = 5.0) -> CommandService:
    command = [sys.executable, "-c", code]
    return CommandService(name, command, environ=os.environ, home=home, cwd=home, grace_s=grace_s)


def group_of(leader: int) -> list[int]:
    found = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()]
    return [int(pid) for pid, pgid, state in rows if int(pgid) == leader and not state.startswith("Z")]


def test_a_killed_child_is_restarted_and_it_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor, child = Supervisor(said.append), service(tmp_path, SLEEP)
    try:
        supervisor.start(child)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: not child.alive())
        supervisor.watch(1.0)
        assert child.pid not in (None, first)
        assert any("was killed by SIGKILL" in line for line in said)
        assert supervisor.services()[0][1] == 1
    finally:
        supervisor.stop()


def test_a_child_that_always_crashes_ends_the_run_with_its_last_words(tmp_path: Path) -> None:
    supervisor, child = Supervisor(lambda _: None), service(tmp_path, "print('no such setting'); raise SystemExit(3)")
    starts = 0
    supervisor.start(child)
    with pytest.raises(GaveUpError, match="exit code 3 after 5 restarts(.|\n)*no such setting"):
        for second in range(0, 60, 10):  # a made-up clock: every tick is past the back-off
            until(lambda: not child.alive())
            supervisor.tick(float(second))
            supervisor.tick(second + 9.0)
            starts += 1
    assert starts == 5
    supervisor.stop()


def test_children_stop_in_reverse_order_and_a_stubborn_one_is_killed(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    first, second = service(tmp_path, SLEEP, "first"), service(tmp_path, STUBBORN, "second", grace_s=0.3)
    supervisor.start(first)
    supervisor.start(second)
    pids = [first.pid, second.pid]
    until(lambda: "ready" in second.log.read_text())
    supervisor.stop()
    assert said == ["stopping second", "stopping first"]
    assert [start_time(pid) for pid in pids if pid is not None] == [None, None]


def test_grandchildren_go_with_a_crashed_or_stopped_child(tmp_path: Path) -> None:
    child = service(tmp_path, FAMILY)
    child.start()
    leader = child.pid
    assert leader is not None
    until(lambda: len(group_of(leader)) == 2)
    os.kill(leader, signal.SIGKILL)
    until(lambda: not child.alive())
    child.start()
    until(lambda: group_of(leader) == [])
    second = child.pid
    assert second is not None
    child.stop()
    until(lambda: group_of(second) == [])


def test_the_leftover_of_a_killed_supervisor_is_ended_by_the_next_start(tmp_path: Path) -> None:
    orphan, next_run = service(tmp_path, SLEEP), service(tmp_path, SLEEP)
    orphan.start()
    pid = orphan.pid
    assert pid is not None
    next_run.start()
    assert start_time(pid) is None
    assert next_run.alive()
    next_run.stop()


def test_a_pid_file_of_another_process_with_that_pid_harms_nobody(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    try:
        child = service(tmp_path, SLEEP)
        child.pid_file.parent.mkdir()
        child.pid_file.write_text(f'{{"pid": {bystander.pid}, "started": "another time"}}')
        assert not child.end_leftover()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_no_pid_file_names_is_found_by_its_mark(tmp_path: Path) -> None:
    child = service(tmp_path, FAMILY)
    child.start()
    leader = child.pid
    assert leader is not None
    until(lambda: len(group_of(leader)) == 2)
    assert end_marked(tmp_path / "other") == 0
    assert end_marked(tmp_path) == 2
    until(lambda: group_of(leader) == [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_supervisor_stops_every_child(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from app.local.supervisor import CommandService, Supervisor\n"
        "home = Path(sys.argv[1]); supervisor = Supervisor(print)\n"
        f"child = CommandService('child', [sys.executable, '-c', {SLEEP!r}], environ=os.environ, home=home, cwd=home)\n"
        "with supervisor.signals():\n"
        "    supervisor.start(child); print('pid', child.pid, flush=True)\n"
        "    supervisor.watch(); supervisor.stop()\n"
    )
    root = Path(__file__).parents[3]
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    pid = int(run.stdout.readline().split()[1])
    assert start_time(pid) is not None
    run.send_signal(number)
    said = run.communicate(timeout=20)[0]
    assert run.returncode == 0
    assert "stopping child" in said
    assert start_time(pid) is None
