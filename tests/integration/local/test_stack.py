"""The stack as a whole, with stand-ins for Mandi's own processes: up, state, restart, down, nothing left behind."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.local.home import Credentials, Home
from app.local.process import start_time
from app.local.stack import Options, Stack, supervisor_of
from app.local.up import Run, up

SLEEP = "import time; time.sleep(600)"
GATEWAY = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200 if self.path == '/readyz' else 404); self.end_headers()
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""


def stand_in(name: str, port: int) -> list[str]:
    return [sys.executable, "-c", GATEWAY, str(port)] if name == "gateway" else [sys.executable, "-c", SLEEP]


async def seed(known: Credentials | None) -> Credentials:
    assert "MIGRATE_DATABASE_URL" in os.environ
    return known or Credentials("00000000-0000-7000-8000-000000000001", "sk_test_in1_demo_secret")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    root = Path(tempfile.mkdtemp(prefix="mandi-test-"))
    root.chmod(0o711)
    before = dict(os.environ)
    made = Home(root / "home")
    made.create()
    yield made
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)
    shutil.rmtree(root)


def test_a_stack_comes_up_survives_a_kill_and_leaves_no_process(home: Home) -> None:
    said: list[str] = []
    stack = Stack(home, Options(port=18_000), said.append, seed=seed, command=stand_in)
    try:
        stack.bring_up()
        pids = {service.name: service.pid for service, _ in stack.supervisor.services()}
        assert list(pids) == ["postgres", "valkey", "gateway", "worker", "daemon"]
        state = home.state()
        assert state is not None
        assert supervisor_of(state) is not None
        assert state["phase"] == "running"
        worker_env = Path(f"/proc/{pids['worker']}/environ")
        if worker_env.exists():
            text = worker_env.read_bytes()
            assert b"APP_DATABASE_URL=" in text
            assert b"MIGRATE_DATABASE_URL=" not in text, "only the migration may own tables"
            served = Path(f"/proc/{pids['gateway']}/environ").read_bytes().split(b"\0")
            assert f"MANDI_ISSUER={stack.url}".encode() in served, "tokens say who made them"
        for name in ("worker", "postgres"):
            pid = pids[name]
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len([line for line in said if line.endswith("runs again")]) < 2:
            stack.supervisor.watch(0.1)
            assert time.monotonic() < deadline, said
        pids |= {f"new {service.name}": service.pid for service, _ in stack.supervisor.services()}
    finally:
        stack.take_down()
    assert [name for name, pid in pids.items() if pid is not None and start_time(pid) is not None] == []
    order = [line for line in said if line.startswith("stopping")]
    assert order == [f"stopping {name}" for name in ("daemon", "worker", "gateway", "valkey", "postgres")]
    assert (home.root / "roles.json").stat().st_mode & 0o777 == 0o600
    assert (home.root / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_second_start_finds_the_data_and_keeps_the_passwords(home: Home) -> None:
    for _ in range(2):
        stack = Stack(home, Options(port=18_000), lambda _: None, seed=seed, command=stand_in)
        try:
            stack.bring_up()
        finally:
            stack.take_down()
    assert home.credentials() == Credentials("00000000-0000-7000-8000-000000000001", "sk_test_in1_demo_secret")


def test_two_stacks_do_not_share_a_folder(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with home.lock():
        assert up(home, Run(Options(), check=True)) == 1
    said = capsys.readouterr()
    assert "mandi down" in said.err
    assert '"ok": false' in said.out
