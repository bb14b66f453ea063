"""Decides what happens to the local stack's processes: started in order, restarted with back-off, stopped in reverse.

Every child leads a session of its own, so Ctrl-C in the terminal reaches only the supervisor. What outlives a killed
supervisor is found again by its pid file (pid plus start time) and by a mark in its environment.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from app.local.ports import Say, StartError
from app.local.process import Running, tail

MARK = "MANDI_CHILD_OF"
_TICK_S = 0.1
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 10.0
_KEEP_LOG_BYTES = 20_000_000


class GaveUpError(Exception):
    """A child crashed too often; the message carries its log's last lines."""


class Service(Protocol):
    """One process of the stack. `start` returns once it may be depended on, or raises with a message for the user."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def log(self) -> Path: ...
    def start(self) -> object: ...
    def alive(self) -> bool: ...
    def stop(self) -> None: ...


@dataclass(slots=True)
class Backoff:
    """When a crashed child is started again: after 0.5, 1, 2, 4 … s, at most `most` times in `window_s`."""

    most: int = 5
    window_s: float = 60.0
    _restarts: deque[float] = field(default_factory=deque)

    def crashed(self, now: float) -> float | None:
        """Seconds to wait before the restart; None when `most` restarts lie within the last `window_s`.

        `now` is monotonic time in seconds.
        """
        while self._restarts and now - self._restarts[0] >= self.window_s:
            self._restarts.popleft()
        if len(self._restarts) >= self.most:
            return None
        delay = min(_FIRST_DELAY_S * 2 ** len(self._restarts), _LONGEST_DELAY_S)
        self._restarts.append(now)
        return float(delay)


class CommandService:
    """A child run from a command line, its output appended to `log`, its identity kept in `pid_file`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        home: Path,
        cwd: Path,
        grace_s: float = 15.0,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environ = {**environ, MARK: str(home)}
        self.log = home / "logs" / f"{name}.log"
        self.pid_file = home / "run" / f"{name}.pid"
        self._cwd = cwd
        self._grace_s = grace_s
        self._running: Running | None = None

    @property
    def pid(self) -> int | None:
        return self._running.pid if self._running is not None and self._running.alive() else None

    def start(self) -> None:
        """Start it, ending first what a killed supervisor left of it."""
        self.end_leftover()
        for folder in (self.log.parent, self.pid_file.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _KEEP_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._running = Running.of(
                subprocess.Popen(
                    self.command,
                    cwd=self._cwd,
                    env=self.environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        self._running.save(self.pid_file)

    def alive(self) -> bool:
        return self.pid is not None

    def exit_code(self) -> int | None:
        """Its exit status once it has ended, negative for a signal."""
        return None if self._running is None else self._running.exit_code()

    def stop(self) -> None:
        """SIGTERM, SIGKILL after the grace, then the rest of its group."""
        if self._running is not None:
            self._running.stop(signal.SIGTERM, grace_s=self._grace_s)
            self._running.end_group()
        self._running = None
        self.pid_file.unlink(missing_ok=True)

    def end_leftover(self) -> bool:
        """End an earlier run of this child: the one crashed now, or one whose supervisor was killed."""
        if self._running is not None:  # crashed: its pool processes may still be there
            self._running.end_group()
            self._running = None
        found = Running.load(self.pid_file)
        if found is not None:
            found.stop(signal.SIGTERM, grace_s=self._grace_s)
        self.pid_file.unlink(missing_ok=True)
        return found is not None


def end_marked(home: Path) -> int:
    """SIGKILL every process whose environment says it is a child of the stack in `home` (Linux). Returns how many."""
    if sys.platform != "linux":
        return 0
    mark = f"{MARK}={home}".encode()
    ended = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                ended += 1
        except (OSError, ProcessLookupError):
            continue
    return ended


@dataclass(slots=True)
class _Child:
    service: Service
    backoff: Backoff
    restarts: int = 0
    due: float | None = None  # monotonic time of the next start; None while it runs


class Supervisor:
    """Keeps services running. `start`, then `watch` until a stop is asked for; `stop` in any case."""

    def __init__(self, say: Say, *, most_restarts: int = 5, window_s: float = 60.0) -> None:
        self._say = say
        self._most, self._window_s = most_restarts, window_s
        self._children: list[_Child] = []
        self._stop = threading.Event()

    def start(self, service: Service) -> None:
        """Start `service`; it is stopped before everything started earlier."""
        self._children.append(_Child(service, Backoff(self._most, self._window_s)))
        service.start()

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop.is_set()

    def ask_to_stop(self) -> None:
        """Make `watch` return soon. Safe in a signal handler."""
        self._stop.set()

    def services(self) -> list[tuple[Service, int]]:
        """Every service with the number of its restarts, in the order of their start."""
        return [(child.service, child.restarts) for child in self._children]

    def tick(self, now: float) -> None:
        """Look at every child once: restart what crashed and is due. Raises `GaveUpError`."""
        for child in self._children:
            if child.due is None and not child.service.alive():
                self._crashed(child, now)
            if child.due is not None and now >= child.due:
                self._restart(child, now)

    def watch(self, seconds: float | None = None) -> bool:
        """Keep the children running for `seconds` (None: until asked to stop). True when asked to stop."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._stop.is_set():
            self.tick(time.monotonic())
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self._stop.wait(_TICK_S)
        return True

    def stop(self) -> None:
        """Stop everything, the last started first."""
        while self._children:
            child = self._children.pop()
            if child.service.alive():
                self._say(f"stopping {child.service.name}")
            try:
                child.service.stop()
            except OSError as error:
                self._say(f"could not stop {child.service.name}: {error}")

    def _crashed(self, child: _Child, now: float) -> None:
        delay = child.backoff.crashed(now)
        how = _ending(child.service)
        if delay is None:
            raise GaveUpError(
                f"{child.service.name} {how} after {self._most} restarts within {self._window_s:.0f} s. "
                f"{child.service.log} ends with:\n{tail(child.service.log)}"
            )
        self._say(f"{child.service.name} {how}: starting it again in {delay:g} s (log: {child.service.log})")
        child.due = now + delay

    def _restart(self, child: _Child, now: float) -> None:
        child.due = None
        child.restarts += 1
        try:
            child.service.start()
        except (StartError, OSError) as error:  # a server that does not come up is a crash like any other
            self._say(f"{child.service.name} did not start: {error}")
            self._crashed(child, now)
        else:
            self._say(f"{child.service.name} runs again")

    @contextmanager
    def signals(self) -> Iterator[None]:
        """While inside, SIGINT, SIGTERM and SIGHUP ask for a stop instead of killing the supervisor."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self._stop.set()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                with contextlib.suppress(TypeError):  # a handler that was not set from Python
                    signal.signal(number, handler)


def _ending(service: Service) -> str:
    code = service.exit_code() if isinstance(service, CommandService) else None
    if code is None:
        return "ended"
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
