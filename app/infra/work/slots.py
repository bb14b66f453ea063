"""Decides how many lasting items a process runs at once: wake-ups only name a shard, slots take shards in turn."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

Serve = Callable[[int], Awaitable[int]]
"""Claims and runs one lane of a shard; answers how many items it ran."""


class Slots:
    """At most `at_once` items run; a shard that had one goes to the end of the line, so no tenant keeps a slot."""

    def __init__(self, serve: Serve, *, at_once: int) -> None:
        self._serve = serve
        self._at_once = at_once
        self._line: dict[int, None] = {}
        self._running: set[asyncio.Task[None]] = set()

    def wake(self, shard: int) -> None:
        """Look at `shard` when its turn comes. Called on the event loop."""
        self._line.setdefault(shard)
        if len(self._running) < self._at_once:
            task = asyncio.get_running_loop().create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self) -> None:
        while self._line:
            shard = next(iter(self._line))
            del self._line[shard]
            try:
                ran = await self._serve(shard)
            except Exception as error:
                log.error("slots.failed", shard=shard, exc_info=error)  # the relay wakes it again
                continue
            if ran:
                self._line.setdefault(shard)

    async def close(self) -> None:
        """Cancel what runs, and wait until it has been given back."""
        self._line.clear()
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
