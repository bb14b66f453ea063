"""Decides how a synchronous Celery task reaches asynchronous code: one event loop in a thread, one `App` on it."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from os import getpid
from typing import Any, TypeVar

from app.bootstrap import SERVERS_PATIENCE_S, App, bootstrap
from app.infra.settings import Settings
from app.infra.work.patience import Patience

T = TypeVar("T")
TASK_SECONDS = 45.0
"""A task is cancelled after this: longer than a drain's budget and one item, shorter than the visibility timeout."""

_current: "Process | None" = None


class Process:
    """One worker process: its loop, its pools, its name as a holder of leases."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.holder = f"{socket.gethostname()}:{getpid()}"
        self.patience = Patience()
        self.closing: list[Callable[[], Coroutine[Any, Any, None]]] = [self.patience.close]
        """What must end before the pools are closed."""
        self._loop = loop

    def run(self, work: Callable[[App], Coroutine[Any, Any, T]], *, seconds: float = TASK_SECONDS) -> T:
        """Run `work(app)` on the loop and wait for it. Raises what it raises; `TimeoutError` cancels it."""
        future = asyncio.run_coroutine_threadsafe(work(self.app), self._loop)
        try:
            return future.result(seconds)
        except BaseException:
            future.cancel()
            raise


def current() -> Process:
    """This process's `Process`; a task runs nowhere else."""
    if _current is None:
        raise RuntimeError("tasks run in `python -m workers worker` only")
    return _current


@contextmanager
def open_process(settings: Settings) -> Iterator[Process]:
    """Start the loop thread and open the `App` on it; close both at the end."""
    global _current
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop", daemon=True)
    thread.start()

    def wait(awaitable: Awaitable[T], seconds: float) -> T:
        async def run() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(run(), loop).result(seconds)

    opening = bootstrap(settings, patience_s=SERVERS_PATIENCE_S)
    try:
        _current = Process(wait(opening.__aenter__(), 60), loop)
        try:
            yield _current
        finally:
            for close in _current.closing:
                wait(close(), 10)
            _current = None
            wait(opening.__aexit__(None, None, None), 10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
