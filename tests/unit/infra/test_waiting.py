"""No failure ends what runs in the background; being stopped and cancelled does."""

import asyncio
from functools import partial

import pytest
from structlog.testing import capture_logs

from app.infra import waiting
from app.infra.waiting import few_at_once, keep_running


async def test_a_body_that_fails_or_returns_is_started_again_until_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "AGAIN_SECONDS", 0.0)
    stop, starts = asyncio.Event(), 0

    async def body(stopping: asyncio.Event) -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        if starts == 2:
            return
        stopping.set()

    with capture_logs() as logs:
        async with asyncio.timeout(10):
            await keep_running(body, stop)
    assert starts == 3
    assert [entry["event"] for entry in logs] == ["background.failed"]
    assert "body" in logs[0]["body"]


async def test_a_body_that_is_cancelled_ends() -> None:
    async def body(stopping: asyncio.Event) -> None:
        await stopping.wait()

    task = asyncio.create_task(keep_running(body, asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_few_run_at_once_and_a_failure_leaves_none_behind() -> None:
    running, most, ended = 0, 0, []

    async def call(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        ended.append(number)
        if number == 0:
            raise ValueError("the first")
        return number

    answers = await few_at_once(2, [partial(call, number) for number in range(5)])
    assert isinstance(answers[0], ValueError)
    assert answers[1:] == [1, 2, 3, 4]
    assert (most, sorted(ended)) == (2, [0, 1, 2, 3, 4])
