"""Decides which process plays a role that must not be played twice: the holder of an advisory lock."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

log = structlog.get_logger(__name__)
_CHECK_SECONDS = 1.0


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
        try:
            connection = await asyncpg.connect(url)
        except (OSError, asyncpg.PostgresError) as error:
            log.warning("leader.no_database", role=role, error=repr(error))
            await _pause(stop, 0.5)
            continue
        try:
            if not await connection.fetchval(
                "select pg_try_advisory_lock(hashtext('mandi-role'), hashtext($1))",
                role,
            ):
                await _pause(stop, _CHECK_SECONDS)
                continue
            log.info("leader.elected", role=role)
            await _run_while_held(connection, body, stop)
            failures = 0
        except Exception as error:
            failures += 1
            log.error(
                "leader.body_failed", role=role, failures=failures, exc_info=error
            )
            await _pause(stop, min(0.1 * 2**failures, 5.0))
        finally:
            connection.terminate()


async def _run_while_held(
    connection: asyncpg.Connection,
    body: Callable[[asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    ending = asyncio.Event()
    work = asyncio.ensure_future(body(ending))
    try:
        while not work.done():
            await asyncio.wait(
                {work, watch := asyncio.ensure_future(_pause(stop, _CHECK_SECONDS))},
                return_when=asyncio.FIRST_COMPLETED,
            )
            watch.cancel()
            if stop.is_set():
                ending.set()
                await asyncio.wait({work}, timeout=5)
                break
            if not work.done():
                await connection.fetchval("select 1", timeout=5)
        if work.done():
            work.result()
    finally:
        ending.set()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
