"""Decides which process plays a role that must not be played twice: the holder of an advisory lock."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

from app.infra.database import NOTICED
from app.infra.waiting import set_within

log = structlog.get_logger(__name__)
_CHECK_SECONDS = 1.0
_END_SECONDS = 3.0
_LONG_RUN_SECONDS = 60.0


async def lead(
    url: str,
    role: str,
    body: Callable[[asyncio.Event], Awaitable[None]],
    *,
    stop: asyncio.Event,
) -> None:
    """Run `body(stop)` while this process holds the lock of `role`; try again for ever, with back-off, until `stop`.

    `url` names the role `mandi_dispatch`. The lock lives in a session of its own: losing that connection ends the
    body before another process can begin (its `stop` is set, then it is cancelled).
    """
    failures = 0
    while not stop.is_set():
        began = asyncio.get_running_loop().time()
        try:
            if not await _once(url, role, body, stop):
                await set_within(stop, _CHECK_SECONDS)
            elif not stop.is_set():
                log.warning("leader.body_ended", role=role)
                await set_within(stop, _CHECK_SECONDS)
        except Exception as error:
            failures = 1 if asyncio.get_running_loop().time() - began > _LONG_RUN_SECONDS else failures + 1
            log.error("leader.body_failed", role=role, failures=failures, exc_info=error)
            await set_within(stop, min(0.1 * 2**failures, 5.0))


async def _once(
    url: str,
    role: str,
    body: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
) -> bool:
    """One try: False when another process holds the lock."""
    connection = await asyncpg.connect(url, timeout=5, server_settings=NOTICED)
    try:
        if not await connection.fetchval(
            "select pg_try_advisory_lock(hashtext('mandi-role'), hashtext($1))",
            role,
            timeout=5,
        ):
            return False
        log.info("leader.elected", role=role)
        await _run_while_held(connection, body, stop)
        return True
    finally:
        connection.terminate()


class LockLostError(Exception):
    """The session that held the lock is gone, and the lock with it."""


async def _run_while_held(
    connection: asyncpg.Connection,
    body: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    """Run the body until it ends or `stop` is set. Raises `LockLostError` as soon as the session is seen to be gone."""
    ending, lost = asyncio.Event(), asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    work = asyncio.ensure_future(body(ending))
    waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(lost.wait())]
    try:
        while not work.done():
            await asyncio.wait({work, *waits}, timeout=_CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                ending.set()
                await asyncio.wait({work}, timeout=_END_SECONDS)
                break
            if lost.is_set() or connection.is_closed():
                raise LockLostError("the database session that held the role's lock ended")
            if not work.done():
                await connection.fetchval("select 1", timeout=5)
        if work.done():
            work.result()
    finally:
        ending.set()
        for task in (work, *waits):
            task.cancel()
        await asyncio.gather(work, *waits, return_exceptions=True)
