"""Decides how long a wake-up waits for its drain: what is slow runs on, and the thread that was woken serves others.

A drain runs lanes beside each other, so it lasts as long as its slowest one; that lane stays leased by it, and nobody
needs a thread to wait for it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

PATIENCE_SECONDS = 0.5
LEFT_BEHIND = 64
"""Drains that may run on: a process that falls behind with everything is woken no faster than it works."""

log = structlog.get_logger(__name__)


class Patience:
    """Waits for drains of one process, on its event loop."""

    def __init__(self, *, seconds: float = PATIENCE_SECONDS, left_behind: int = LEFT_BEHIND) -> None:
        self._seconds = seconds
        self._most = left_behind
        self._running: set[asyncio.Task[int]] = set()

    async def wait(self, drain: Coroutine[Any, Any, int]) -> None:
        """Until the drain has ended, or has lasted too long and may run on. Raises what it raised meanwhile.

        Whoever is cancelled while he waits takes the drain with him.
        """
        task = asyncio.get_running_loop().create_task(drain)
        try:
            patient = len(self._running) >= self._most
            done, _ = await asyncio.wait({task}, timeout=None if patient else self._seconds)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if done:
            task.result()
            return
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[int]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work.drain_failed", exc_info=error)  # its lanes were given back, and the relay wakes them again

    async def close(self, *, seconds: float = 8.0) -> None:
        """What runs may end by itself so long; then it is cancelled, and its leases end by themselves."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
