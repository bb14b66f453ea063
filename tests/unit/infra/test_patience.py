"""How long a wake-up waits for its drain."""

import asyncio

import pytest

from app.infra.work.patience import Patience


async def _drain(until: asyncio.Event | None = None, *, fails: bool = False) -> int:
    if until is not None:
        await until.wait()
    if fails:
        raise OSError("the database is away")
    return 1


async def test_a_drain_that_lasts_runs_on_without_who_was_woken_for_it() -> None:
    patience, end, done = Patience(seconds=0.01), asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        await end.wait()
        done.set()
        return 1

    await patience.wait(slow())
    assert not done.is_set()
    end.set()
    async with asyncio.timeout(5):
        await done.wait()


async def test_a_drain_that_fails_at_once_tells_who_was_woken() -> None:
    with pytest.raises(OSError, match="away"):
        await Patience(seconds=5).wait(_drain(fails=True))


async def test_a_drain_that_fails_later_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    patience, end = Patience(seconds=0.01), asyncio.Event()
    await patience.wait(_drain(end, fails=True))
    end.set()
    await patience.close()
    await patience.wait(_drain())


async def test_so_many_run_on_and_no_more() -> None:
    patience, end = Patience(seconds=0.01, left_behind=2), asyncio.Event()
    for _ in range(2):
        await patience.wait(_drain(end))
    third = asyncio.ensure_future(patience.wait(_drain(end)))
    await asyncio.sleep(0.05)
    assert not third.done()
    end.set()
    async with asyncio.timeout(5):
        await third


async def test_who_is_cancelled_while_he_waits_takes_the_drain_with_him() -> None:
    ended = asyncio.Event()

    async def drain() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    waiting = asyncio.ensure_future(Patience(seconds=60).wait(drain()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_closing_waits_for_what_runs_and_then_cancels_it() -> None:
    patience, end = Patience(seconds=0.01), asyncio.Event()
    finished: list[str] = []

    async def drain(name: str, until: asyncio.Event) -> int:
        await until.wait()
        finished.append(name)
        return 1

    await patience.wait(drain("ends", end))
    await patience.wait(drain("hangs", asyncio.Event()))
    asyncio.get_running_loop().call_later(0.02, end.set)
    await patience.close(seconds=0.1)
    assert finished == ["ends"]
