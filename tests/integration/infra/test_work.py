"""Rows of work: order, leases, fences and attempts, as workers meet them. Every test works on a queue of its own."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.infra.database import Database
from app.infra.work.runner import MAX_ATTEMPTS, Handler, Item, Retry, drain
from app.infra.work.tables import shard_of
from app.kernel.errors import invalid
from app.kernel.ids import uuid7

LEASE = timedelta(seconds=30)


@pytest.fixture
def queue() -> str:
    return f"test-{uuid7().hex}"


class Ran:
    """A handler that notes what it ran, and how many ran at once in a lane."""

    def __init__(self, fail: Callable[[Item], Exception | None] = lambda item: None) -> None:
        self.names: list[str] = []
        self.most: dict[UUID, int] = {}
        self._now: dict[UUID, int] = {}
        self._fail = fail

    async def __call__(self, item: Item) -> None:
        self._now[item.lane] = self._now.get(item.lane, 0) + 1
        self.most[item.lane] = max(self.most.get(item.lane, 0), self._now[item.lane])
        await asyncio.sleep(0.005)
        self._now[item.lane] -= 1
        self.names.append(item.payload["name"])
        if error := self._fail(item):
            raise error


async def put(database: Database, tenant: UUID, queue: str, lane: UUID, *names: str, **options: Any) -> None:
    async with database.tx(tenant) as tx:
        for name in names:
            tx.work(queue, "note", lane, {"name": name}, **options)
            await tx.flush()


async def run(database: Database, queue: str, tenant: UUID, ran: Ran, *, never_dies: bool = False) -> int:
    handlers = {"note": Handler(ran, never_dies=never_dies)}
    return await drain(database.dispatch, handlers, queue, shard_of(tenant), holder="test")


async def rows(database: Database, queue: str) -> list[asyncpg.Record]:
    found: list[asyncpg.Record] = await database.dispatch.fetch(
        "select * from work_items where queue = $1 order by sequence", queue
    )
    return found


async def make_due(database: Database, queue: str) -> None:
    """As if the wait for the next attempt were over."""
    await database.dispatch.execute(
        "update work_items set available_at = clock_timestamp() where queue = $1 and state = 'ready'", queue
    )


async def waits(database: Database, queue: str) -> bool:
    return bool(await database.dispatch.fetchval("select exists (select from work_waiting() where queue = $1)", queue))


async def test_lanes_that_somebody_runs_wake_nobody_else(database: Database, tenant_id: UUID, queue: str) -> None:
    dispatch, running, idle = database.dispatch, uuid7(), uuid7()
    await put(database, tenant_id, queue, running, "a", "b")
    assert await waits(database, queue)
    claim = "select * from work_claim($1, $2, 'x', 1, '1 minute')"
    await dispatch.fetch(claim, queue, [shard_of(tenant_id)])
    assert not await waits(database, queue)
    await put(database, tenant_id, queue, idle, "c")
    assert await waits(database, queue)
    await dispatch.fetch(claim, queue, [shard_of(tenant_id)])
    assert not await waits(database, queue)
    await dispatch.execute("update work_leases set lease_until = clock_timestamp() where queue = $1", queue)
    assert await waits(database, queue)


async def test_a_lane_runs_in_order_and_priority_zero_first(database: Database, tenant_id: UUID, queue: str) -> None:
    lane, ran = uuid7(), Ran()
    await put(database, tenant_id, queue, lane, "a", "b")
    await put(database, tenant_id, queue, lane, "cancel", priority=0)
    assert await run(database, queue, tenant_id, ran) == 3
    assert ran.names == ["cancel", "a", "b"]
    assert [row["state"] for row in await rows(database, queue)] == ["done"] * 3
    assert not await waits(database, queue)


async def test_two_drains_never_run_one_lane_at_once(database: Database, tenant_id: UUID, queue: str) -> None:
    lanes, ran = [uuid7() for _ in range(4)], Ran()
    for lane in lanes:
        await put(database, tenant_id, queue, lane, *"abcde")
    counts = await asyncio.gather(*(run(database, queue, tenant_id, ran) for _ in range(3)))
    assert sum(counts) == len(ran.names) == 20
    assert ran.most == dict.fromkeys(lanes, 1)


async def test_an_expired_leases_old_fence_starts_nothing(database: Database, tenant_id: UUID, queue: str) -> None:
    lane, shard = uuid7(), shard_of(tenant_id)
    await put(database, tenant_id, queue, lane, "a", "b")
    claim = "select * from work_claim($1, array[$2::int], $3, 10, $4)"
    start = "select * from work_next($1, $2, $3, $4, $5, null)"
    first = await database.dispatch.fetchrow(claim, queue, shard, "slow", LEASE)
    assert await database.dispatch.fetch(claim, queue, shard, "quick", LEASE) == []
    await database.dispatch.execute(
        "update work_leases set lease_until = clock_timestamp() - interval '1 second' where lane = $1", lane
    )
    assert await database.dispatch.fetch(start, queue, tenant_id, lane, first["fence"], LEASE) == []
    second = await database.dispatch.fetchrow(claim, queue, shard, "quick", LEASE)
    assert second["fence"] > first["fence"]
    assert await database.dispatch.fetch(start, queue, tenant_id, lane, first["fence"], LEASE) == []
    await database.dispatch.execute("select work_release($1, $2, $3, $4)", queue, tenant_id, lane, first["fence"])
    assert len(await database.dispatch.fetch(start, queue, tenant_id, lane, second["fence"], LEASE)) == 1


async def test_the_third_failure_is_dead_and_frees_the_lane(database: Database, tenant_id: UUID, queue: str) -> None:
    ran = Ran(lambda item: RuntimeError("broken") if item.payload["name"] == "a" else None)
    await put(database, tenant_id, queue, uuid7(), "a", "b")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        await run(database, queue, tenant_id, ran)
        first = (await rows(database, queue))[0]
        assert (first["attempts"], first["state"]) == (attempt, "dead" if attempt == MAX_ATTEMPTS else "ready")
        assert "broken" in first["last_error"]
        await make_due(database, queue)
    assert ran.names == ["a", "a", "a", "b"]


async def test_what_follows_a_failed_item_waits_for_it(database: Database, tenant_id: UUID, queue: str) -> None:
    lane, other = uuid7(), uuid7()
    ran = Ran(lambda item: Retry(60, "not yet") if ran.names == ["a"] else None)
    await put(database, tenant_id, queue, lane, "a", "b")
    await run(database, queue, tenant_id, ran)
    assert not await waits(database, queue), "a lane that cannot move must not wake workers"
    await put(database, tenant_id, queue, lane, "cancel", priority=0)
    await put(database, tenant_id, queue, other, "elsewhere")
    assert await waits(database, queue)
    await run(database, queue, tenant_id, ran)
    assert sorted(ran.names[1:]) == ["cancel", "elsewhere"]
    await make_due(database, queue)
    await run(database, queue, tenant_id, ran)
    assert ran.names[3:] == ["a", "b"]


async def test_a_retry_never_dies(database: Database, tenant_id: UUID, queue: str) -> None:
    ran = Ran(lambda item: Retry(60, "no session"))
    await put(database, tenant_id, queue, uuid7(), "a")
    for _ in range(MAX_ATTEMPTS + 2):
        await run(database, queue, tenant_id, ran)
        await make_due(database, queue)
    (row,) = await rows(database, queue)
    assert (row["state"], row["last_error"], len(ran.names)) == ("ready", "no session", MAX_ATTEMPTS + 2)


async def test_a_cancel_is_tried_for_ever(database: Database, tenant_id: UUID, queue: str) -> None:
    ran = Ran(lambda item: RuntimeError("no answer"))
    await put(database, tenant_id, queue, uuid7(), "cancel", priority=0)
    for _ in range(MAX_ATTEMPTS + 2):
        await run(database, queue, tenant_id, ran, never_dies=True)
        await make_due(database, queue)
    assert (await rows(database, queue))[0]["state"] == "ready"


async def test_what_is_tried_for_months_is_tried_on(database: Database, tenant_id: UUID, queue: str) -> None:
    ran = Ran(lambda item: RuntimeError("no answer"))
    await put(database, tenant_id, queue, uuid7(), "cancel", priority=0)
    for attempts in (1_023, 31_999, 32_000):
        await database.dispatch.execute("update work_items set attempts = $1 where queue = $2", attempts, queue)
        await run(database, queue, tenant_id, ran, never_dies=True)
        (row,) = await rows(database, queue)
        assert (row["state"], row["attempts"]) == ("ready", min(attempts + 1, 32_000))
        assert row["available_at"] > datetime.now(UTC) + timedelta(seconds=20)
        await make_due(database, queue)
    assert len(ran.names) == 3


async def test_an_outage_is_no_fault_of_the_item(database: Database, tenant_id: UUID, queue: str) -> None:
    away = [
        ConnectionRefusedError("refused"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.ConnectionDoesNotExistError("closed in the middle"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("another operation (2) is in progress"),
    ] * MAX_ATTEMPTS
    lane, ran = uuid7(), Ran(fail=lambda _: away.pop() if away else None)
    await put(database, tenant_id, queue, lane, "a")
    while away:
        await run(database, queue, tenant_id, ran)
        assert (await rows(database, queue))[0]["state"] == "ready"
        await make_due(database, queue)
    await run(database, queue, tenant_id, ran)
    assert (await rows(database, queue))[0]["state"] == "done"


async def test_only_failures_use_up_an_items_attempts(database: Database, tenant_id: UUID, queue: str) -> None:
    waited = [Retry(60, "not its turn")] * MAX_ATTEMPTS + [ConnectionRefusedError("refused")] * MAX_ATTEMPTS
    errors = [*waited, *[RuntimeError("broken")] * MAX_ATTEMPTS]
    ran = Ran(lambda _: errors.pop(0))
    await put(database, tenant_id, queue, uuid7(), "a")
    found = []
    while errors:
        await run(database, queue, tenant_id, ran)
        (row,) = await rows(database, queue)
        found.append((row["attempts"], row["state"]))
        await make_due(database, queue)
    assert found == [(0, "ready")] * len(waited) + [(1, "ready"), (2, "ready"), (3, "dead")]


async def test_the_pauses_of_what_never_dies_may_grow_with_its_attempts(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    attempts: list[int] = []

    def fail(item: Item) -> Exception:
        attempts.append(item.attempts)
        return Retry(60, "no answer")

    ran = Ran(fail)
    await put(database, tenant_id, queue, uuid7(), "cancel", priority=0)
    for _ in range(3):
        await run(database, queue, tenant_id, ran, never_dies=True)
        await make_due(database, queue)
    assert attempts == [1, 2, 3]


async def test_a_domain_error_is_dead_at_once(database: Database, tenant_id: UUID, queue: str) -> None:
    ran = Ran(lambda item: invalid("bad", "never any better"))
    await put(database, tenant_id, queue, uuid7(), "a")
    await run(database, queue, tenant_id, ran)
    assert (await rows(database, queue))[0]["state"] == "dead"


async def test_work_of_an_unknown_kind_dies_visibly(database: Database, tenant_id: UUID, queue: str) -> None:
    await put(database, tenant_id, queue, uuid7(), "a")
    for _ in range(MAX_ATTEMPTS):
        await drain(database.dispatch, {}, queue, shard_of(tenant_id), holder="test")
        await make_due(database, queue)
    (row,) = await rows(database, queue)
    assert row["state"] == "dead" and "no handler" in row["last_error"]


async def test_work_from_a_sql_function_equals_work_from_a_transaction(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    lane = uuid7()
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(tenant_id))
        await connection.execute("select work_append($1, 'note', $2, '{\"name\": \"a\"}', 1)", queue, lane)
    await put(database, tenant_id, queue, lane, "a")
    sql, orm = await rows(database, queue)
    same = {"id", "sequence", "available_at", "created_at"}
    assert {k: v for k, v in sql.items() if k not in same} == {k: v for k, v in orm.items() if k not in same}


async def test_work_of_later_waits_until_then(database: Database, tenant_id: UUID, queue: str) -> None:
    ran = Ran()
    later = datetime.now(UTC) + timedelta(hours=1)
    await put(database, tenant_id, queue, uuid7(), "later", available_at=later)
    assert not await waits(database, queue)
    assert await run(database, queue, tenant_id, ran) == 0
    await make_due(database, queue)
    assert await run(database, queue, tenant_id, ran) == 1


async def test_a_drain_takes_no_more_lanes_than_it_is_told(database: Database, tenant_id: UUID, queue: str) -> None:
    for name in ("a", "b"):
        await put(database, tenant_id, queue, uuid7(), name)
    ran = Ran()
    handlers = {"note": Handler(ran, lasting=timedelta(seconds=20))}
    for count in (1, 1, 0):
        shard = shard_of(tenant_id)
        assert await drain(database.dispatch, handlers, queue, shard, holder="test", lanes=1) == count
    assert ran.names == ["a", "b"]


async def test_work_that_lasts_waits_without_an_attempt_counting(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    await put(database, tenant_id, queue, uuid7(), "a")
    handlers = {"note": Handler(Ran(lambda item: Retry(60.0, "the house is down")), lasting=timedelta(seconds=20))}
    for _ in range(MAX_ATTEMPTS + 1):
        await drain(database.dispatch, handlers, queue, shard_of(tenant_id), holder="test")
        (row,) = await rows(database, queue)
        assert (row["state"], row["attempts"]) == ("ready", 0)
        assert row["available_at"] > datetime.now(UTC) + timedelta(seconds=50)
        await make_due(database, queue)


async def test_work_that_lasts_keeps_its_lane_for_as_long_as_its_handler_says(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    await put(database, tenant_id, queue, uuid7(), "a")
    seen: list[timedelta] = []

    async def watched(item: Item) -> None:
        held = "select lease_until - clock_timestamp() from work_leases where tenant_id = $1 and lane = $2"
        async with asyncio.timeout(20):
            while not seen or seen[-1] < timedelta(minutes=9):  # a claim alone gives half a minute
                seen.append(await database.dispatch.fetchval(held, tenant_id, item.lane))
                await asyncio.sleep(0.01)

    handlers = {"note": Handler(watched, lasting=timedelta(minutes=10))}
    assert await drain(database.dispatch, handlers, queue, shard_of(tenant_id), holder="test") == 1
    assert [row["state"] for row in await rows(database, queue)] == ["done"]
    assert seen[-1] <= timedelta(minutes=10)


async def test_present_items_run_together_lane_after_lane_and_what_is_left_runs_alone(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    rounds: list[list[str]] = []

    async def together(items: Sequence[Item]) -> set[UUID]:
        rounds.append(sorted(item.payload["name"] for item in items))
        return {item.id for item in items if item.payload["name"] != "b1"}

    ran = Ran()
    for lane in "abc":
        await put(database, tenant_id, queue, uuid7(), f"{lane}1", f"{lane}2")
    handlers = {"note": Handler(ran, together=together)}
    assert await drain(database.dispatch, handlers, queue, shard_of(tenant_id), holder="test") == 6
    assert (rounds, ran.names) == ([["a1", "b1", "c1"], ["a2", "c2"]], ["b1", "b2"])
    assert [(row["state"], row["attempts"]) for row in await rows(database, queue)] == [("done", 1)] * 6


async def test_what_fails_together_is_run_one_by_one(database: Database, tenant_id: UUID, queue: str) -> None:
    async def together(items: Sequence[Item]) -> set[UUID]:
        raise RuntimeError("not today")

    ran = Ran()
    for name in "ab":
        await put(database, tenant_id, queue, uuid7(), name)
    handlers = {"note": Handler(ran, together=together)}
    assert await drain(database.dispatch, handlers, queue, shard_of(tenant_id), holder="test") == 2
    assert sorted(ran.names) == ["a", "b"]


async def test_a_cancel_in_one_lane_does_not_wait_for_what_runs_together_in_others(
    database: Database, tenant_id: UUID, queue: str
) -> None:
    cancelled = asyncio.Event()

    async def cancel(_: Item) -> None:
        cancelled.set()

    async def together(items: Sequence[Item]) -> set[UUID]:
        await asyncio.wait_for(cancelled.wait(), 5)
        return {item.id for item in items}

    ran = Ran()
    await put(database, tenant_id, queue, uuid7(), "entry")
    async with database.tx(tenant_id) as tx:
        tx.work(queue, "cancel", uuid7(), {}, priority=0)
    handlers = {"note": Handler(ran, together=together), "cancel": Handler(cancel)}
    assert await drain(database.dispatch, handlers, queue, shard_of(tenant_id), holder="test") == 2
    assert (cancelled.is_set(), ran.names) == (True, [])
