"""The replay's barrier: it opens only when everything up to the watermark is matched, sent and decided."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from app.custody.accounts.domain import NewAccount
from app.custody.accounts.service import create_account
from app.custody.ledger.service import Books
from app.infra.database import Database
from app.kernel.ids import uuid7
from app.kernel.money import Money
from app.platform.tenancy.service import create_tenant
from workers.settled import WorkSettled

NOW = datetime(2003, 1, 2, 21, tzinfo=UTC)


@pytest.fixture
def feed() -> str:
    return f"test-{uuid7().hex}"


async def reach(database: Database, feed: str, stream_id: str) -> None:
    await database.dispatch.execute(
        "insert into paper_checkpoints (feed, stream_id) values ($1, $2) "
        "on conflict (feed) do update set stream_id = excluded.stream_id",
        feed,
        stream_id,
    )


async def append_work(database: Database, feed: str, *, available_at: datetime | None = None) -> UUID:
    """Work of a new account on `feed`; the account's id."""
    tenant = await create_tenant(database, slug=f"t-{uuid7().hex[-12:]}", name="Test")
    asked = NewAccount(name="a", currency="USD", opening_balance=Money(1_00, "USD"), feed=feed)
    async with database.tx(tenant) as tx:
        account = await create_account(tx, asked, books=Books(), now=NOW)
        tx.work("execution", "order.submit", account.id, {}, available_at=available_at)
    return account.id


async def test_the_matcher_must_have_reached_the_last_entry_by_number(database: Database, feed: str) -> None:
    settled = WorkSettled(database.dispatch)
    assert not await settled(feed, None, "9-1")
    await reach(database, feed, "9-9")
    assert not await settled(feed, None, "9-10"), "as text 9-9 lies behind 9-10"
    assert not await settled(feed, None, "10-0")
    await reach(database, feed, "9-10")
    assert await settled(feed, None, "9-10")
    assert await settled("another", None, "0-0"), "a feed without entries waits for nobody"


async def test_no_order_may_be_on_its_way(database: Database, feed: str) -> None:
    settled = WorkSettled(database.dispatch)
    lane = await append_work(database, feed)
    assert not await settled(feed, None, "0-0")
    assert await settled("another", None, "0-0"), "one feed does not wait for another's orders"
    await database.dispatch.execute("update work_items set state = 'done' where lane = $1", lane)
    assert await settled(feed, None, "0-0")


async def test_dead_and_long_waiting_work_does_not_stop_the_market(database: Database, feed: str) -> None:
    settled = WorkSettled(database.dispatch)
    await append_work(database, feed, available_at=datetime.now(UTC) + timedelta(hours=1))
    lane = await append_work(database, feed)
    await database.dispatch.execute("update work_items set state = 'dead' where lane = $1", lane)
    assert await settled(feed, None, "0-0")


async def test_jobs_of_the_calendar_that_somebody_needs_must_be_done(database: Database, feed: str) -> None:
    settled = WorkSettled(database.dispatch)
    await database.reference.execute(
        "insert into feed_state (feed, interval, watermark, market_at, bars_published, last_stream_id, speed, status) "
        "values ($1, '5m', $2, $2, 0, '0-0', 0, 'running')",
        feed,
        NOW,
    )
    job = (
        "insert into calendar_jobs (feed, venue, segment, kind, day, turn, due_at, until_at, state, attempts) "
        "values ($1, 'XNAS', 'EQ', $2, '2003-01-02', 1, $3, $3, 'pending', 0)"
    )
    await database.dispatch.execute(job, feed, "square_off", NOW)
    await database.dispatch.execute(job, feed, "open", NOW)
    assert await settled(feed, None, "0-0"), "nobody needs them"
    await database.dispatch.execute("update calendar_jobs set wanted = true where feed = $1", feed)
    assert not await settled(feed, None, "0-0")
    assert await settled("another", None, "0-0")
    later = "update calendar_jobs set due_at = $2 where feed = $1"
    await database.dispatch.execute(later, feed, NOW + timedelta(seconds=1))
    assert await settled(feed, None, "0-0"), "they are not due"
    await database.dispatch.execute(later, feed, NOW)
    await database.dispatch.execute("update calendar_jobs set attempts = 3 where feed = $1", feed)
    assert await settled(feed, None, "0-0"), "what has failed thrice does not stop the market"


async def test_running_deployments_must_have_decided_on_the_bar(
    database: Database, database_urls: dict[str, str], feed: str
) -> None:
    settled = WorkSettled(database.dispatch)
    owner = await asyncpg.connect(database_urls["admin"].rpartition("/")[0] + "/mandi")
    try:
        deployment = await _deploy(owner, feed)
        assert not await settled(feed, NOW, "0-0")
        assert await settled(feed, None, "0-0"), "prices of the bar are awaited before its decisions"
        assert await settled("another", NOW, "0-0")
        await owner.execute("update deployments set last_bar = $2 where id = $1", deployment, NOW)
        assert await settled(feed, NOW, "0-0")
        assert not await settled(feed, NOW + timedelta(days=1), "0-0")
        await owner.execute("update deployments set status = 'paused' where id = $1", deployment)
        assert await settled(feed, NOW + timedelta(days=1), "0-0")
    finally:
        await owner.close()


async def _deploy(owner: asyncpg.Connection, feed: str) -> UUID:
    """A running deployment without its strategy and account: keys are not checked in this session."""
    deployment = uuid7()
    async with owner.transaction():
        await owner.execute("set local session_replication_role = replica")
        await owner.execute(
            "insert into deployments (tenant_id, id, strategy_id, account_id, digest, feed, bar_interval, instruments, "
            "status, failures, first_bar, last_bar, created_at, updated_at) "
            "values ($1, $2, $1, $1, '', $3, '1d', '{}', 'running', 0, $4, $4, $4, $4)",
            uuid7(),
            deployment,
            feed,
            NOW - timedelta(days=1),
        )
    return deployment
