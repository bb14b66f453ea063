"""Calls go together: what waits goes in the next one, begins after it came, and fails by itself."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from app.infra.together import Batches, Function


class Asked:
    """Answers numbers by their doubles, each call when it is let go; fails for those in `bad`."""

    def __init__(self, *, bad: dict[int, Exception] | None = None, held: bool = True) -> None:
        self.calls: list[list[int]] = []
        self.go = asyncio.Semaphore(0)
        self.bad = bad or {}
        self.held = held
        self.slow: set[int] = set()

    async def __call__(self, questions: Sequence[int]) -> list[int]:
        self.calls.append(list(questions))
        if self.held or self.slow.issuperset(questions):
            await self.go.acquire()
        for question in questions:
            if question in self.bad:
                raise self.bad[question]
        return [2 * question for question in questions]


def _asking(batches: Batches[int, int], *questions: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batches.ask(question)) for question in questions]


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_while_a_call_is_out_goes_in_the_next_one() -> None:
    asked = Asked()
    batches = Batches(asked, most=10)
    first = _asking(batches, 1)
    await _settle()
    later = _asking(batches, 2, 3, 4)
    await _settle()
    assert asked.calls == [[1]]
    asked.go.release()
    asked.go.release()
    assert await asyncio.gather(*first, *later) == [2, 4, 6, 8]
    assert asked.calls == [[1], [2, 3, 4]]


async def test_those_who_come_at_once_share_the_first_call_and_no_call_takes_more_than_it_may() -> None:
    asked = Asked(held=False)
    batches = Batches(asked, most=3)
    assert await asyncio.gather(*_asking(batches, *range(7))) == [2 * number for number in range(7)]
    assert asked.calls == [[0, 1, 2], [3, 4, 5], [6]]


async def test_as_many_calls_are_out_as_may_be() -> None:
    asked = Asked()
    batches = Batches(asked, most=10, at_once=2)
    running = []
    for number in range(4):
        running += _asking(batches, number)
        await _settle()
    assert asked.calls == [[0], [1]]
    asked.go.release()
    await _settle()
    assert asked.calls == [[0], [1], [2, 3]]
    for _ in range(2):
        asked.go.release()
    assert await asyncio.gather(*running) == [0, 2, 4, 6]


async def test_a_burst_takes_as_many_calls_at_once_as_may_be() -> None:
    asked = Asked()
    batches = Batches(asked, most=3, at_once=2)
    running = _asking(batches, *range(7))
    await _settle()
    assert asked.calls == [[0, 1, 2], [3, 4, 5]]
    for _ in range(3):
        asked.go.release()
    assert await asyncio.gather(*running) == [2 * number for number in range(7)]


async def test_a_question_that_fails_fails_by_itself() -> None:
    asked = Asked(held=False, bad={2: ValueError("two"), 5: LookupError("five")})
    batches = Batches(asked, most=10)
    found = await asyncio.gather(*_asking(batches, *range(6)), return_exceptions=True)
    assert [repr(one) for one in found] == ["0", "2", "ValueError('two')", "6", "8", "LookupError('five')"]
    assert asked.calls == [[0, 1, 2, 3, 4, 5], [0], [1], [2], [3], [4], [5]]


async def test_of_a_call_that_failed_a_question_that_waits_keeps_no_other_back() -> None:
    asked = Asked(held=False, bad={2: ValueError("two")})
    asked.slow = {0}
    batches = Batches(asked, most=10)
    slow, *others = _asking(batches, *range(4))
    assert [repr(await one) for one in others[::2]] == ["2", "6"]
    with pytest.raises(ValueError, match="two"):
        await others[1]
    assert not slow.done()
    asked.go.release()
    assert await slow == 0


async def test_calls_that_last_take_no_place_of_others() -> None:
    asked = Asked()
    batches = Batches(asked, most=10, at_once=2)
    stuck = []
    for number in range(2):
        stuck += _asking(batches, number)
        await _settle()
    later = _asking(batches, 2, 3)
    await _settle()
    assert asked.calls == [[0], [1]]
    async with asyncio.timeout(10):
        while len(asked.calls) < 3:
            await asyncio.sleep(0.01)
    assert asked.calls == [[0], [1], [2, 3]]
    for _ in range(3):
        asked.go.release()
    assert await asyncio.gather(*stuck, *later) == [0, 2, 4, 6]


@pytest.mark.parametrize(
    "away",
    [
        ConnectionResetError("gone"),
        TimeoutError("late"),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.AdminShutdownError("x"),
    ],
)
async def test_while_the_database_is_away_nothing_is_asked_again_since_it_may_have_been_done(away: Exception) -> None:
    asked = Asked(held=False, bad={1: away})
    batches = Batches(asked, most=10)
    found = await asyncio.gather(*_asking(batches, 0, 1, 2), return_exceptions=True)
    assert [type(one) for one in found] == [type(away)] * 3
    assert asked.calls == [[0, 1, 2]]
    asked.bad.clear()
    assert await batches.ask(7) == 14


async def test_who_goes_away_is_not_asked_about_and_takes_nobody_with_him() -> None:
    asked = Asked()
    batches = Batches(asked, most=10)
    (out,) = _asking(batches, 1)
    await _settle()
    gone, stays = _asking(batches, 2, 3)
    await _settle()
    out.cancel()
    gone.cancel()
    asked.go.release()
    asked.go.release()
    assert await stays == 6
    assert asked.calls == [[1], [3]]


async def test_a_call_that_is_cancelled_leaves_nobody_waiting() -> None:
    asked = Asked()
    batches = Batches(asked, most=2)
    running = _asking(batches, 1, 2, 3)
    await _settle()
    (call,) = batches._calls
    call.cancel()
    asked.go.release()
    assert await running[2] == 6, "what had not begun is asked"
    for one in running[:2]:
        with pytest.raises(asyncio.CancelledError):
            await one


async def test_a_call_that_is_cancelled_before_it_begins_keeps_nobody_back() -> None:
    batches = Batches(Asked(held=False), most=2)
    (first,) = _asking(batches, 1)
    await asyncio.sleep(0)
    for call in batches._calls:
        call.cancel()
    assert await first == 2


def test_a_function_is_called_for_one_or_for_each_of_many() -> None:
    function = Function("placed", ("uuid", "jsonb"))
    assert function.alone == "select placed($1::uuid, $2::jsonb)"
    assert function.many == (
        "select placed(a1, a2) from (select set_config('lock_timeout', '100ms', true)) bound, "
        "unnest($1::uuid[], $2::jsonb[]) asked (a1, a2)"
    )
