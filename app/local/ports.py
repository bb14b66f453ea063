"""Decides which loopback port a server gets: the preferred one, the next free one, or any."""

import socket
import time
from collections.abc import Callable

LOOPBACK = "127.0.0.1"
_ATTEMPTS = 100
_KEEP_S = 10.0

Say = Callable[[str], None]


class StartError(Exception):
    """A part of the local stack cannot be started; the message says what to do."""


class PortError(StartError):
    """No port of the tried range is free; the message names the range."""


def silent(_: str) -> None:
    """A `Say` that says nothing."""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now (a port in TIME_WAIT counts as free)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def any_port() -> int:
    """A port that was free a moment ago, chosen by the operating system."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def pick_port(preferred: int | None, what: str, say: Say = silent, *, free: Callable[[int], bool] = is_free) -> int:
    """`preferred` when free, else the next free port (and says so); any free port when `preferred` is None.

    Raises `PortError` when none of the 100 ports from `preferred` on is free.
    """
    if preferred is None:
        return any_port()
    last = min(preferred + _ATTEMPTS, 65_536)
    for port in range(preferred, last):
        if free(port):
            if port != preferred:
                say(f"port {preferred} is busy: {what} listens on {port}")
            return port
    raise PortError(f"no free port for {what} between {preferred} and {last - 1}; free one, or name another range")


def keep_port(port: int, what: str, *, free: Callable[[int], bool] = is_free, seconds: float = _KEEP_S) -> int:
    """`port`, once it is free again: a server that others were told of must not move.

    Raises `PortError` when another process holds it for `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not free(port):
        if time.monotonic() >= deadline:
            raise PortError(f"another process took port {port} while {what} was away; end it, and start again")
        time.sleep(0.05)
    return port
