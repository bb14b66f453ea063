"""`mandi up` in a real terminal, with stand-ins for Mandi's own processes: the live summary, Ctrl-C, `down`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from app.local.process import start_time

ROOT = Path(__file__).parents[3]
SCRIPT = """
import functools, os, sys
from app.local.home import Credentials, Home
from app.local.stack import Options, Stack
from app.local.up import Run, up
GATEWAY = '''
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers()
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
'''
def command(name, port):
    return [sys.executable, '-c', GATEWAY if name == 'gateway' else 'import time; time.sleep(600)', str(port)]
async def seed(known):
    return known or Credentials('00000000-0000-7000-8000-000000000001', 'sk_test_in1_demo_secret')
make = functools.partial(Stack, seed=seed, command=command)
sys.exit(up(Home.find(os.environ), Run(Options(port=18100), check='--check' in sys.argv, wait_s=0.5, make=make)))
"""


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    """One data folder for all: every test ends its stack, and the next start finds the data."""
    folder = Path(tempfile.mkdtemp(prefix="mandi-test-"))
    folder.chmod(0o711)
    hidden = ("DATABASE_URL", "REDIS_URL", "APP_DATABASE_URL", "MIGRATE_DATABASE_URL")
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    yield {**kept, "MANDI_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "COLUMNS": "160", "LINES": "50"}
    shutil.rmtree(folder)


def pids(environ: dict[str, str]) -> list[int]:
    state = json.loads((Path(environ["MANDI_HOME"]) / "state.json").read_text())
    return [state["supervisor"]["pid"], *[service["pid"] for service in state["services"]]]


def in_terminal(environ: dict[str, str]) -> "pexpect.spawn[str]":
    return pexpect.spawn(
        sys.executable, ["-c", SCRIPT], env=environ, cwd=str(ROOT), timeout=60, encoding="utf-8", dimensions=(50, 160)
    )


def test_ctrl_c_ends_every_process_and_keeps_the_data(environ: dict[str, str]) -> None:
    run = in_terminal(environ)
    run.expect("sk_test_in1_demo_secret")
    run.expect("Ctrl-C")
    running = pids(environ)
    assert len(running) == 6
    run.sendintr()
    run.expect("the data stays in")
    run.expect(pexpect.EOF)
    run.close()
    assert run.exitstatus == 0
    assert [pid for pid in running if start_time(pid) is not None] == []
    assert (Path(environ["MANDI_HOME"]) / "demo.json").exists()


def test_down_ends_a_stack_from_another_terminal(environ: dict[str, str]) -> None:
    run = in_terminal(environ)
    run.expect("Ctrl-C")
    running = pids(environ)
    mandi = [sys.executable, "-m", "app.cli"]
    told = subprocess.run([*mandi, "status"], env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0
    assert "running, ready" in told.stdout
    subprocess.run([*mandi, "down"], env=environ, cwd=ROOT, capture_output=True, check=True)
    run.expect(pexpect.EOF)
    run.close()
    assert [pid for pid in running if start_time(pid) is not None] == []


def test_what_a_killed_supervisor_leaves_is_found_by_down(environ: dict[str, str]) -> None:
    run = in_terminal(environ)
    run.expect("Ctrl-C")
    running = pids(environ)
    os.kill(running[0], signal.SIGKILL)
    run.close(force=True)
    assert [pid for pid in running[1:] if start_time(pid) is None] == [], "children live in their own sessions"
    mandi = [sys.executable, "-m", "app.cli"]
    subprocess.run([*mandi, "down"], env=environ, cwd=ROOT, capture_output=True, check=True)
    assert [pid for pid in running if start_time(pid) is not None] == []


def test_a_check_that_sees_no_trading_fails_with_one_line_of_json(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--check"], env=environ, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["failures"] == ["no strategy is deployed after 0 s"]
