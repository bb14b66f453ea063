"""What can befall a backtest while it runs: a cancel, a dead worker, a slow one, lost bars. The bytes stay the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.infra.work import lasting
from app.infra.work.tables import shard_of
from app.insight.backtest.service import running
from app.market.data.service import bars as bars_module
from tests.factories.minutes import slow_program
from tests.integration.insight.conftest import Desk, row_id

pytestmark = pytest.mark.integration
WORDS = 100


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is reported many times in a run of a second, however fast the machine."""
    monkeypatch.setattr(running, "REPORT_SECONDS", 0.03)


def _slow(minutes: str, **changes: Any) -> dict[str, Any]:
    """A run of a second or two."""
    return {
        "template": None,
        "program": slow_program(WORDS),
        "instruments": [minutes],
        "interval": "1m",
        "start": None,
        "charges": None,
    } | changes


async def _until(desk: Desk, backtest: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            shown = await desk.shown(backtest)
            if reached(shown):
                return shown
            assert shown["status"] in ("queued", "running"), shown
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _worker(desk: Desk) -> AsyncIterator["asyncio.Task[int]"]:
    task = asyncio.create_task(desk.work())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _under_way(shown: dict[str, Any]) -> bool:
    return bool(shown["status"] == "running" and shown["bars_done"])


async def _bytes(desk: Desk, backtest: str) -> bytes:
    answer = await desk.get(f"{backtest}/result")
    assert answer.status_code == 200, answer.text
    return answer.content


async def test_progress_and_time_left_are_shown_while_it_runs(desk: Desk, minutes: str) -> None:
    backtest = await desk.made(**_slow(minutes))
    async with _worker(desk) as worker:
        shown = await _until(desk, backtest, _under_way)
        assert 0 < shown["bars_done"] < shown["bars"] == 60_000
        assert shown["eta_s"] > 0 and shown["started_at"] and shown["finished_at"] is None
        assert await worker == 1
    done = await desk.shown(backtest)
    assert (done["status"], done["bars_done"], done["eta_s"]) == ("succeeded", 60_000, None)


async def test_a_running_backtest_is_cancelled_at_its_next_block(desk: Desk, minutes: str) -> None:
    backtest = await desk.made(**_slow(minutes))
    async with _worker(desk) as worker:
        await _until(desk, backtest, _under_way)
        first, second = await desk.cancel(backtest), await desk.cancel(backtest)
        assert first.json()["cancel_requested_at"] == second.json()["cancel_requested_at"] is not None
        assert await worker == 1
    done = await desk.shown(backtest)
    assert done["status"] == "cancelled" and done["bars_done"] < done["bars"] and done["finished_at"]
    assert await desk.rows("select 1 from backtest_results") == []
    assert await desk.events() == ["backtest.created", "backtest.cancelled"]
    assert await desk.rows("select state from work_items") == [{"state": "done"}]


async def test_no_transaction_is_open_while_it_computes(
    desk: Desk, minutes: str, database_urls: dict[str, str]
) -> None:
    backtest = await desk.made(**_slow(minutes))
    admin = await asyncpg.connect(database_urls["admin"])
    held = "select count(*) from pg_stat_activity where usename = 'mandi_app' and xact_start < now() - interval '0.2 s'"
    try:
        async with _worker(desk) as worker:
            await _until(desk, backtest, _under_way)
            while not worker.done():
                assert await admin.fetchval(held) == 0
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def test_connections_that_break_meanwhile_cost_it_nothing(
    desk: Desk, minutes: str, database_urls: dict[str, str]
) -> None:
    backtest = await desk.made(**_slow(minutes))
    admin = await asyncpg.connect(database_urls["admin"])
    cut = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename in ('mandi_app', 'mandi_dispatch')"
    )
    try:
        async with _worker(desk) as worker:
            await _until(desk, backtest, _under_way)
            assert await admin.fetchval(cut) > 0
            assert await worker == 1
    finally:
        await admin.close()
    done = await desk.shown(backtest)
    assert (done["status"], done["attempts"]) == ("succeeded", 1)


async def test_a_worker_that_ends_in_order_gives_it_back_and_no_attempt_counts(desk: Desk, minutes: str) -> None:
    backtest, undisturbed = await desk.made(**_slow(minutes)), await desk.made(**_slow(minutes))
    async with _worker(desk):
        await _until(desk, backtest, _under_way)
    assert await desk.rows("select distinct state, attempts from work_items") == [{"state": "ready", "attempts": 0}]
    assert await desk.work() == 2
    assert (await desk.shown(backtest))["attempts"] == 1
    assert await _bytes(desk, backtest) == await _bytes(desk, undisturbed)


async def _claim(desk: Desk) -> asyncpg.Record:
    """Lease and begin the one lane as a worker that will die: nobody renews or releases it."""
    dispatch, shard = desk.app.database.dispatch, shard_of(desk.tenant.tenant_id)
    lease = timedelta(seconds=30)
    (lane,) = await dispatch.fetch("select * from work_claim('backtests', array[$1::int], 'dead', 1, $2)", shard, lease)
    started = await dispatch.fetchrow(
        "select * from work_next('backtests', $1, $2, $3, $4, null)",
        lane["tenant_id"],
        lane["lane"],
        lane["fence"],
        lease,
    )
    assert started is not None
    return lane


async def _lapse(desk: Desk) -> None:
    await desk.app.database.dispatch.execute(
        "update work_leases set lease_until = '-infinity' where tenant_id = $1", desk.tenant.tenant_id
    )


async def test_a_dead_workers_backtest_runs_again_once_its_lease_lapses(desk: Desk) -> None:
    undisturbed, backtest = await desk.made(), ""
    await desk.work()
    backtest = await desk.made()
    await _claim(desk)
    assert await desk.work() == 0
    await _lapse(desk)
    assert await desk.work() == 1
    assert (await desk.shown(backtest))["attempts"] == 2
    assert await _bytes(desk, backtest) == await _bytes(desk, undisturbed)


async def test_the_third_death_of_its_worker_is_a_failure_that_says_so(desk: Desk) -> None:
    backtest = await desk.made()
    for _ in range(3):
        await _claim(desk)
        await _lapse(desk)
    await desk.work()
    done = await desk.shown(backtest)
    assert done["status"] == "failed"
    assert "worker died" in done["status_reason"]
    assert await desk.events() == ["backtest.created", "backtest.failed"]
    answer = await desk.get(f"{backtest}/result")
    assert answer.status_code == 409 and "worker died" in answer.json()["detail"]


async def test_a_dead_workers_cancelled_backtest_is_not_run_again(desk: Desk) -> None:
    backtest = await desk.made()
    await _claim(desk)
    await desk.cancel(backtest)
    await _lapse(desk)
    await desk.work()
    assert (await desk.shown(backtest))["status"] == "cancelled"


async def test_an_outcome_of_a_worker_that_lost_the_run_is_not_written(
    desk: Desk, minutes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting, "RENEWALS", 200)
    backtest = await desk.made(**_slow(minutes))
    async with _worker(desk) as slow:
        await _until(desk, backtest, _under_way)
        await desk.app.database.dispatch.execute(
            "update work_leases set fence = fence + 1, holder = 'another' where tenant_id = $1", desk.tenant.tenant_id
        )
        assert await slow == 1
    assert (await desk.shown(backtest))["status"] == "running"
    assert await desk.rows("select state from work_items") == [{"state": "ready"}]
    assert await desk.rows("select 1 from backtest_results") == []


async def test_its_lease_is_renewed_and_no_wake_up_is_sent_meanwhile(
    desk: Desk, minutes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting, "RENEWALS", 200)
    backtest, dispatch = await desk.made(**_slow(minutes)), desk.app.database.dispatch
    waiting = "select count(*) from work_waiting() where queue = 'backtests' and shard = $1"
    until = "select lease_until from work_leases where tenant_id = $1"
    seen = set()
    async with _worker(desk) as worker:
        await _until(desk, backtest, _under_way)
        while not worker.done():
            seen.add(await dispatch.fetchval(until, desk.tenant.tenant_id))
            if not worker.done():
                assert await desk.work() == 0
                assert await dispatch.fetchval(waiting, shard_of(desk.tenant.tenant_id)) == 0
            await asyncio.sleep(0.02)
        assert await worker == 1
    assert len(seen) > 2
    assert (await desk.shown(backtest))["attempts"] == 1


async def test_bars_that_were_lost_fail_it_and_the_reason_names_the_file(desk: Desk, minutes: str) -> None:
    backtest = await desk.made(**_slow(minutes))
    (row,) = await desk.rows("select plan #>> '{listed,0,path}' as path from backtests")
    file = desk.app.settings.data_dir / row["path"]
    kept = file.read_bytes()
    bars_module._cache.clear()
    try:
        file.write_bytes(kept[:-1])
        await desk.work()
    finally:
        file.write_bytes(kept)
    done = await desk.shown(backtest)
    assert done["status"] == "failed" and file.name in done["status_reason"]
    assert await desk.rows("select state from work_items") == [{"state": "done"}]


async def test_what_nobody_expected_is_tried_three_times_and_then_said(
    desk: Desk, database_urls: dict[str, str]
) -> None:
    backtest = await desk.made()
    place = urlsplit(database_urls["admin"])._replace(path=urlsplit(database_urls["mandi_app"]).path)
    admin = await asyncpg.connect(place.geturl())
    try:
        await admin.execute("update backtests set plan = '{}' where id = $1", row_id(backtest))
    finally:
        await admin.close()
    for _ in range(3):
        await desk.work()
        await desk.app.database.dispatch.execute(
            "update work_items set available_at = clock_timestamp() where tenant_id = $1", desk.tenant.tenant_id
        )
    (row,) = await desk.rows("select status, status_reason, attempts from backtests")
    assert (row["status"], row["attempts"]) == ("failed", 3)
    assert "three times" in row["status_reason"] and "validation" not in row["status_reason"]
    assert await desk.rows("select state from work_items") == [{"state": "dead"}]
