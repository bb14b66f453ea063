"""Slots: a few lasting items at once, and every shard in its turn."""

import asyncio

from app.infra.work.slots import Slots


class Shards:
    """How many items each shard has left; notes which were served, and how many at once."""

    def __init__(self, **waiting: int) -> None:
        self.waiting = {int(name.removeprefix("s")): count for name, count in waiting.items()}
        self.served: list[int] = []
        self.now = self.most = 0

    async def __call__(self, shard: int) -> int:
        if not self.waiting[shard]:
            return 0
        self.waiting[shard] -= 1
        self.now += 1
        self.most = max(self.most, self.now)
        self.served.append(shard)
        await asyncio.sleep(0)
        self.now -= 1
        return 1


async def _settled(shards: Shards) -> None:
    async with asyncio.timeout(5):
        while any(shards.waiting.values()) or shards.now:
            await asyncio.sleep(0)


async def test_shards_take_turns_so_that_no_tenant_keeps_the_slot() -> None:
    shards = Shards(s1=3, s2=2, s3=1)
    slots = Slots(shards, at_once=1)
    for shard in (1, 2, 3):
        slots.wake(shard)
    await _settled(shards)
    assert shards.served == [1, 2, 3, 1, 2, 1]


async def test_no_more_run_at_once_than_there_are_slots() -> None:
    shards = Shards(s1=4, s2=4, s3=4, s4=4)
    slots = Slots(shards, at_once=2)
    for _ in range(3):
        for shard in shards.waiting:
            slots.wake(shard)
    await _settled(shards)
    assert shards.most == 2
    assert len(shards.served) == 16


async def test_a_shard_that_fails_stops_no_other() -> None:
    served: list[int] = []

    async def serve(shard: int) -> int:
        served.append(shard)
        if shard == 1:
            raise OSError("the database is away")
        return 0

    slots = Slots(serve, at_once=1)
    slots.wake(1)
    slots.wake(2)
    async with asyncio.timeout(5):
        while served != [1, 2]:
            await asyncio.sleep(0)


async def test_closing_cancels_what_runs_and_waits_for_it() -> None:
    ended: list[int] = []

    async def serve(shard: int) -> int:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(shard)
        return 1

    slots = Slots(serve, at_once=2)
    slots.wake(1)
    slots.wake(2)
    slots.wake(3)
    await asyncio.sleep(0)
    await slots.close()
    assert sorted(ended) == [1, 2]
