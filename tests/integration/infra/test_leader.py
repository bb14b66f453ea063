"""One process plays a role; another takes over when its session ends, and a failing body is begun again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from app.infra.leader import lead


class Player:
    """A process that wants the role: how often it began, whether it plays now."""

    def __init__(self, *, fail: int = 0) -> None:
        self.began = 0
        self.playing = asyncio.Event()
        self.stop = asyncio.Event()
        self._fail = fail

    async def body(self, ending: asyncio.Event) -> None:
        self.began += 1
        if self.began <= self._fail:
            raise RuntimeError("broken")
        self.playing.set()
        try:
            await ending.wait()
        finally:
            self.playing.clear()


async def soon(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def start(url: str, role: str, player: Player) -> asyncio.Task[None]:
    body: Callable[[asyncio.Event], Awaitable[None]] = player.body
    return asyncio.create_task(lead(url, role, body, stop=player.stop))


async def cut_holder(database_urls: dict[str, str]) -> None:
    """End the session that holds an advisory lock of a role."""
    admin = await asyncpg.connect(database_urls["admin"])
    await admin.execute(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted "
        "and database = (select oid from pg_database where datname = 'mandi')"
    )
    await admin.close()


async def test_the_second_takes_over_when_the_first_loses_its_session(database_urls: dict[str, str]) -> None:
    first, second = Player(), Player()
    url = database_urls["mandi_dispatch"]
    tasks = [start(url, "take-over", first)]
    await soon(first.playing.is_set)
    tasks.append(start(url, "take-over", second))
    await asyncio.sleep(0.3)
    assert second.began == 0
    together = False

    async def watch() -> None:
        nonlocal together
        while True:
            together |= first.playing.is_set() and second.playing.is_set()
            await asyncio.sleep(0.001)

    watcher = asyncio.create_task(watch())
    before = first.began + second.began
    await cut_holder(database_urls)
    await soon(lambda: first.began + second.began > before and first.playing.is_set() != second.playing.is_set())
    if first.playing.is_set():  # the first was quicker to come back: end it for good
        first.stop.set()
        await soon(second.playing.is_set)
    watcher.cancel()
    assert not together
    first.stop.set()
    second.stop.set()
    await asyncio.gather(*tasks)


async def test_stopping_the_leader_lets_the_next_begin(database_urls: dict[str, str]) -> None:
    first, second = Player(), Player()
    url = database_urls["mandi_dispatch"]
    tasks = [start(url, "hand-over", first)]
    await soon(first.playing.is_set)
    tasks.append(start(url, "hand-over", second))
    first.stop.set()
    await soon(second.playing.is_set)
    assert not first.playing.is_set()
    second.stop.set()
    await asyncio.gather(*tasks)


async def test_two_roles_are_played_side_by_side(database_urls: dict[str, str]) -> None:
    players = [Player(), Player()]
    tasks = [start(database_urls["mandi_dispatch"], f"role-{place}", one) for place, one in enumerate(players)]
    await soon(lambda: all(one.playing.is_set() for one in players))
    for one in players:
        one.stop.set()
    await asyncio.gather(*tasks)


async def test_a_failing_body_is_begun_again(database_urls: dict[str, str]) -> None:
    player = Player(fail=2)
    task = start(database_urls["mandi_dispatch"], "failing", player)
    await soon(player.playing.is_set)
    assert player.began == 3
    player.stop.set()
    await task


async def test_a_database_that_is_away_is_tried_again_until_stopped() -> None:
    player = Player()
    task = start("postgresql://nobody@127.0.0.1:1/none", "away", player)
    await asyncio.sleep(0.3)
    assert not task.done() and player.began == 0
    player.stop.set()
    await task


async def test_who_holds_a_role_is_missed_soon_when_its_machine_is_gone(
    database_urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server keeps the lock for as long as it takes the session for one that lives."""
    connect, told = asyncpg.connect, []

    async def connected(*where: str, **how: Any) -> asyncpg.Connection:
        connection = await connect(*where, **how)
        told.append(await connection.fetchval("select current_setting('tcp_user_timeout')"))
        return connection

    monkeypatch.setattr(asyncpg, "connect", connected)
    player = Player()
    task = start(database_urls["mandi_dispatch"], "missed", player)
    await soon(player.playing.is_set)
    player.stop.set()
    await task
    assert told == ["15000"]
