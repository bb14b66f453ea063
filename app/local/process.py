"""Decides how a process is recognised again (pid plus start time, so a reused pid is never hit) and how it is ended."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.02
_PR_SET_PDEATHSIG = 1


def start_time(pid: int) -> str | None:
    """An opaque mark of when `pid` started, equal only for the same process; None when it is gone or a zombie."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    # macOS and the BSDs have no /proc
    found = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = found.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def command_of(pid: int) -> str:
    """The command line of `pid`, words joined by spaces; empty when it is gone."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
    found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


@dataclass(frozen=True, slots=True)
class Running:
    """One process that we started (`popen`) or found again (`popen` is None)."""

    pid: int
    started: str
    popen: "subprocess.Popen[bytes] | None" = None

    @classmethod
    def of(cls, popen: "subprocess.Popen[bytes]") -> "Running":
        """The process just started; one that died at once has an empty start mark and is not alive."""
        return cls(popen.pid, start_time(popen.pid) or "", popen)

    @classmethod
    def find(cls, pid: int) -> "Running | None":
        """The live process `pid`, or None."""
        started = start_time(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def load(cls, path: Path) -> "Running | None":
        """The live process that `save` wrote to `path`; None when it ended or the pid now belongs to another."""
        try:
            record = json.loads(path.read_text())
            found = cls(int(record["pid"]), str(record["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found.alive() else None

    def save(self, path: Path) -> None:
        """Write the identity to `path`, atomically."""
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps({"pid": self.pid, "started": self.started}))
        part.replace(path)

    def alive(self) -> bool:
        """Whether this very process still runs. Reaps it when it is our child and has ended."""
        if self.popen is not None:
            return self.popen.poll() is None
        return start_time(self.pid) == self.started

    def exit_code(self) -> int | None:
        """The exit status (negative: the signal) of a child of ours that ended, else None."""
        return None if self.popen is None else self.popen.poll()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; False when it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self.alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def stop(self, first: signal.Signals = signal.SIGTERM, *, grace_s: float = 10.0) -> bool:
        """Send `first`, and SIGKILL after `grace_s`; then end what is left of its process group.

        True when it ended within the grace. A process that is not a group leader is ended alone.
        """
        leads = _leads_group(self.pid)
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, first)
        in_time = self.wait(grace_s)
        if not in_time:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait(5.0)
        if leads:
            self.end_group()
        return in_time

    def end_group(self) -> None:
        """SIGKILL whatever is left of the process group that this process led."""
        if self.pid != os.getpgrp():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def die_with_parent(first: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that makes Linux send `first` when the starting thread ends; None elsewhere."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(first))

    return arm


def tail(path: Path, lines: int = 20) -> str:
    """The last `lines` lines of a log; empty when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 64 * 1024))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
