"""What the scheduler's housekeeping cannot do stops nothing else: not the next chore, not the calendar."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.bootstrap import App
from app.infra.clearing import Outdated, clear, in_batches
from workers import daemon

pytestmark = pytest.mark.asyncio
FAILURES = [
    TimeoutError(),
    asyncpg.QueryCanceledError("too long"),
    ConnectionRefusedError(),
    ValueError("unthought of"),
]


class Dispatch:
    """A pool whose statements answer as they are told, by a word that is in them."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def _answer(self, statement: str, *_: object) -> Any:
        word = next(word for word in self.answers if word in statement)
        self.asked.append(word)
        answer = self.answers[word]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    execute = fetchval = _answer

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["Dispatch"]:
        yield self

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield


def app_of(dispatch: Dispatch) -> App:
    return cast(App, SimpleNamespace(database=SimpleNamespace(dispatch=dispatch), clock=lambda: datetime.now(UTC)))


@pytest.mark.parametrize("error", FAILURES[:3], ids=lambda error: type(error).__name__)
async def test_a_table_that_is_not_cleared_in_time_stops_no_other(error: Exception) -> None:
    dispatch = cast(asyncpg.Pool, Dispatch(set="SET", slow=error, quick="DELETE 3"))
    tables = [Outdated(name, f"delete from {name}", timedelta(days=1)) for name in ("slow", "quick")]
    with capture_logs() as logs:
        assert await clear(dispatch, tables, now=datetime.now(UTC)) == {"quick": 3}
    assert [(one["event"], one["table"]) for one in logs] == [("clearing.failed", "slow"), ("clearing.done", "quick")]


async def test_batches_go_until_one_is_not_full_and_a_turn_ends() -> None:
    left = 25

    async def remove(batch: int) -> int:
        nonlocal left
        gone = min(batch, left)
        left -= gone
        return gone

    assert (await in_batches(remove, batch=5, rounds=3), left) == (15, 10)
    assert (await in_batches(remove, batch=4, rounds=9), left) == (10, 0)
    assert await in_batches(remove, batch=4) == 0


async def test_a_turn_prunes_until_a_batch_is_not_full() -> None:
    dispatch = Dispatch(
        work_prune=[daemon.DONE_ROWS, daemon.DONE_ROWS, 1],
        idempotency_prune=[daemon.ANSWERS, 7],
    )
    with capture_logs() as logs:
        await daemon._do(app_of(dispatch), daemon.EACH_TURN)
    assert dispatch.asked == ["work_prune"] * 3 + ["idempotency_prune"] * 2
    assert [one["log_level"] for one in logs if one["log_level"] == "error"] == []


CHORES = [*daemon.EACH_TURN, *daemon.EACH_HOUR]


def replace_chores(monkeypatch: pytest.MonkeyPatch, what: Callable[[str], Awaitable[None]]) -> None:
    """Instead of its chores the house does `what` of each name."""
    for table in ("EACH_TURN", "EACH_HOUR"):
        instead = {name: lambda _, name=name: what(name) for name in getattr(daemon, table)}
        monkeypatch.setattr(daemon, table, instead)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("broken", CHORES)
async def test_no_chore_that_fails_ends_the_house_or_the_calendar(
    broken: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()
    done: list[str] = []
    calendar: list[str] = []

    async def chore(name: str) -> None:
        done.append(name)
        if name == broken:
            raise error
        if done.count(last) == 3:
            stop.set()

    async def run_calendar(_: App, *, stop: asyncio.Event) -> None:
        calendar.append("began")
        await stop.wait()
        calendar.append("ended")

    last = [name for name in daemon.EACH_TURN if name != broken][-1]
    replace_chores(monkeypatch, chore)
    monkeypatch.setattr(daemon, "HOUSEKEEPING_SECONDS", 0.001)
    monkeypatch.setattr("app.trading.orders.service.calendar.run_calendar", run_calendar)
    with capture_logs() as logs:
        async with asyncio.timeout(5):
            await daemon._scheduler(app_of(Dispatch()), stop)
    assert calendar == ["began", "ended"]
    assert {name: done.count(name) for name in CHORES} == {
        name: 3 if name in daemon.EACH_TURN else 1 for name in CHORES
    }
    failed = [one["chore"] for one in logs if one["event"] == "scheduler.failed"]
    assert failed == [broken] * (3 if broken in daemon.EACH_TURN else 1)
