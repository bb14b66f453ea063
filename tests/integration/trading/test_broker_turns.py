"""Whose turn it is at a broker, of all processes together: no second sees more calls than the rate."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.trading.brokers.domain import WINDOW, Pace
from app.trading.brokers.ports import BrokerAccount
from app.trading.brokers.repository import take_turn
from tests.integration.trading.conftest import Venue

pytestmark = pytest.mark.asyncio
BEGAN = datetime(2026, 1, 5, 9, 15, tzinfo=UTC)
GAPS = st.lists(st.integers(0, 400_000), min_size=1, max_size=60)
CALLS = st.lists(st.tuples(st.integers(0, 400_000), st.booleans()), min_size=1, max_size=40)


async def take(venue: Venue, pace: Pace, *, entry: bool = True) -> float:
    account = BrokerAccount(venue.tenant_id, venue.account_id)
    return await take_turn(venue.app.database.pool, account, pace, entry=entry, within=5.0)


async def take_in_an_hour(venue: Venue, pace: Pace, *, entry: bool = True) -> bool:
    """Whether it is its turn where an hour counts as one second: no test is that slow."""
    asked = venue.tenant_id, venue.account_id, entry, pace.calls, pace.entries, timedelta(hours=1)
    wait: timedelta = await venue.app.database.pool.fetchval("select brokers_take_turn($1, $2, $3, $4, $5, $6)", *asked)
    assert timedelta() <= wait <= timedelta(hours=1)
    return not wait


async def let_pass(venue: Venue, time: timedelta) -> timedelta:
    """As if `time` had gone by: what is on record is so much older."""
    async with venue.app.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(venue.tenant_id))
        await connection.execute(
            "update broker_calls set made = array(select at - $1::interval from unnest(made) at order by 1), "
            "entries = array(select at - $1::interval from unnest(entries) at order by 1) where id = $2",
            time,
            venue.account_id,
        )
    return time


async def counted(venue: Venue) -> tuple[list[datetime], list[datetime]]:
    async with venue.app.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(venue.tenant_id))
        row = await connection.fetchrow("select made, entries from broker_calls where id = $1", venue.account_id)
    return row["made"], row["entries"]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(most=st.integers(1, 12), gaps=GAPS)
async def test_whoever_waits_as_told_calls_at_the_rate_and_never_above(
    venue: Venue, most: int, gaps: list[int]
) -> None:
    made: list[datetime] = []
    now = BEGAN
    for gap in gaps:
        now += timedelta(microseconds=gap)
        wait = await venue.app.database.pool.fetchval("select brokers_wait($1, $2, $3, $4)", made, most, now, WINDOW)
        within = [at for at in made if now - at < WINDOW]
        assert (wait == timedelta()) == (len(within) < most)
        now += wait
        made.append(now)
    for first, last in zip(made, made[most:], strict=False):
        assert last - first >= WINDOW


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rate=st.integers(1, 12), calls=CALLS)
async def test_no_second_sees_more_calls_than_the_rate_whoever_makes_them(
    venue: Venue, rate: int, calls: list[tuple[int, bool]]
) -> None:
    pace, passed, made = Pace(rate), timedelta(), []
    await let_pass(venue, timedelta(hours=1))
    for gap, entry in calls:
        passed += await let_pass(venue, timedelta(microseconds=gap))
        if wait := await take(venue, pace, entry=entry):
            passed += await let_pass(venue, timedelta(seconds=wait))
            assert await take(venue, pace, entry=entry) == 0.0, "whoever waited as long as he was told may call"
        made.append((await counted(venue))[0][-1] + passed)
    for first, last in zip(made, made[rate:], strict=False):
        assert last - first >= WINDOW


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rate=st.integers(2, 12), calls=CALLS)
async def test_entries_alone_never_use_up_what_a_cancel_needs(
    venue: Venue, rate: int, calls: list[tuple[int, bool]]
) -> None:
    await let_pass(venue, timedelta(hours=1))
    for gap, _ in calls:
        await let_pass(venue, timedelta(microseconds=gap))
        await take(venue, Pace(rate))
        made, _ = await counted(venue)
        free = "select brokers_wait($1, $2, clock_timestamp(), $3)"
        assert not await venue.app.database.pool.fetchval(free, made, rate, WINDOW)


async def test_racing_processes_get_the_full_rate_once(venue: Venue) -> None:
    turns = await asyncio.gather(*(take_in_an_hour(venue, Pace(10), entry=False) for _ in range(40)))
    assert sum(turns) == 10
    made, entries = await counted(venue)
    assert len(made) == 10 and made == sorted(made) and entries == []


async def test_entries_leave_a_fifth_to_exits_and_cancels(venue: Venue) -> None:
    entries = [await take_in_an_hour(venue, Pace(10)) for _ in range(20)]
    others = [await take_in_an_hour(venue, Pace(10), entry=False) for _ in range(20)]
    assert entries == [True] * 8 + [False] * 12
    assert others == [True] * 2 + [False] * 18


async def test_what_is_kept_is_no_more_than_the_rate(venue: Venue) -> None:
    pace = Pace(3)
    for _ in range(5):
        while wait := await take(venue, pace):
            await asyncio.sleep(wait)
    made, entries = await counted(venue)
    assert (len(made), len(entries)) == (3, 2)


async def test_a_clock_that_was_set_back_stops_nobody_for_longer_than_a_second(venue: Venue) -> None:
    pace = Pace(2)
    assert await take(venue, pace, entry=False) == 0.0
    async with venue.app.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(venue.tenant_id))
        later = [datetime.now(UTC) + timedelta(hours=1)] * 2
        await connection.execute("update broker_calls set made = $1 where id = $2", later, venue.account_id)
    wait = await take(venue, pace, entry=False)
    assert 0.0 < wait <= WINDOW.total_seconds()
    await asyncio.sleep(wait)
    assert await take(venue, pace, entry=False) == 0.0


async def test_an_account_that_is_not_there_has_no_turn(venue: Venue) -> None:
    nobody = BrokerAccount(venue.tenant_id, venue.tenant_id)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await take_turn(venue.app.database.pool, nobody, Pace(10), entry=True, within=5.0)


async def test_a_database_that_is_busy_is_not_waited_for(venue: Venue) -> None:
    url = venue.app.settings.app_database_url.get_secret_value()
    account = BrokerAccount(venue.tenant_id, venue.account_id)
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire():
        with pytest.raises(TimeoutError):
            await take_turn(pool, account, Pace(10), entry=True, within=0.05)
