"""Every command of the README works, word for word, beside a running stack; its links lead somewhere."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
START = "python3 start_trading.py"
START_COMMANDS = [START, f"{START} test"]
ADDRESS = "http://127.0.0.1:8000"
_HIDDEN = ("DATABASE_URL", "REDIS_URL", "APP_DATABASE_URL", "MIGRATE_DATABASE_URL")
_READY_S = 90.0


def commands() -> list[str]:
    """Every command of the fenced `bash` blocks, in order; a trailing backslash continues a line."""
    blocks = re.findall(r"^```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.strip()]


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack, its folder in place of the project's, with `.mandi`, `.venv` and `app` in it."""

    folder: Path
    environ: dict[str, str]

    @property
    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / ".mandi" / "state.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def run(self, script: str) -> str:
        """What `script` prints; a failure fails the test with everything it said."""
        text = script.replace(ADDRESS, self.state["url"])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def export(self, command: str) -> None:
        """`export NAME=…`: later commands see it, as in the reader's own shell."""
        name = command.removeprefix("export ").partition("=")[0]
        self.environ[name] = self.run(f'{command}\nprintf %s "${name}"')
        assert self.environ[name], command


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="mandi-test-"))
    folder.chmod(0o711)
    shim = folder / ".venv" / "bin" / "mandi"
    shim.parent.mkdir(parents=True)
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app.cli "$@"\n')
    shim.chmod(0o755)
    (folder / "app").symlink_to(ROOT / "app")
    environ = {key: value for key, value in os.environ.items() if key not in _HIDDEN}
    environ |= {"MANDI_HOME": str(folder / ".mandi"), "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    made = Stack(folder, environ)
    with (folder / "up.log").open("w") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "up", "--port", "18300"], cwd=ROOT, env=environ, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _READY_S
        while made.state.get("phase") != "running":
            assert up.poll() is None and time.monotonic() < deadline, (folder / "up.log").read_text()
            time.sleep(0.2)
        yield made
    finally:
        up.send_signal(signal.SIGINT)
        said = up.wait(timeout=60)
        kept = (folder / "up.log").read_text()
        shutil.rmtree(folder)
    assert said == 0, kept


def test_the_two_commands_stand_first_and_continuous_integration_runs_the_second() -> None:
    assert commands()[:2] == START_COMMANDS
    assert f"{START} test" in (ROOT / ".ci" / "run").read_text().replace('"$@"', "")


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_every_other_command_works_beside_a_running_stack(stack: Stack) -> None:
    ran = 0
    for command in commands():
        if command in START_COMMANDS:
            continue
        if "curl" in command and shutil.which("curl") is None:
            pytest.skip("curl is not installed here")
        if command.startswith("export "):
            stack.export(command)
            continue
        printed = stack.run(command)
        ran += 1
        if "curl" in command:
            assert isinstance(json.loads(printed), dict)
        else:
            assert printed.strip()
    assert ran > 5


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)?(#[^)]+)?\)", README)
    assert links
    for path, anchor in links:
        assert not path or path.startswith("https://") or (ROOT / path).exists(), path
        text = (ROOT / path).read_text() if anchor and path else README
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor[1:] in slugs, anchor
