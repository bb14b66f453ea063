"""Decides how things wait: a loop for an event and no longer than it has to, calls for their turn; and that no failure
ends a loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import structlog

T = TypeVar("T")
AGAIN_SECONDS = 1.0
log = structlog.get_logger(__name__)


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set, at most so many seconds; whether it was."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def few_at_once(places: int, calls: Iterable[Callable[[], Awaitable[T]]]) -> list[T | BaseException]:
    """What each answers or raises, in their order, when all have ended; at most `places` run at a time."""
    turns = asyncio.Semaphore(places)

    async def run(call: Callable[[], Awaitable[T]]) -> T:
        async with turns:
            return await call()

    return await asyncio.gather(*(run(call) for call in calls), return_exceptions=True)


async def keep_running(run: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
    """`run(stop)` until `stop`. A body knows which failures it lives with; one that nobody thought of starts it again.

    Whoever runs beside requests is watched by nobody: a body that ended would be missed first by who needed it.
    """
    while not stop.is_set():
        try:
            await run(stop)
        except Exception as error:
            log.error("background.failed", body=getattr(run, "__qualname__", repr(run)), exc_info=error)
        await set_within(stop, AGAIN_SECONDS)
