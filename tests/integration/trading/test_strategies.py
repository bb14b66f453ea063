"""Deployments: defined once, run once per bar, whatever is repeated, raced or fails."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.infra.process import App
from app.infra.work.relay import SHARED_ROWS
from app.infra.work.tables import shard_of
from app.kernel.errors import DomainError
from app.kernel.orders import Intent
from app.trading.strategies.service import create_strategy, deploy, due_shards, run_due, set_status
from app.trading.strategies.service import running as running_module
from app.trading.strategies.service.signals import Bar
from app.trading.strategies.tables import Deployment
from tests.integration.trading.conftest import AT, Venue

# the first bars after AT on which AAPL's z-score of 20 closes asks for an order lie within this month
BARS = [AT + timedelta(days=days) for days in (1, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 18)]


async def _deployed(venue: Venue, *, entry: float = -0.5) -> UUID:
    async with venue.app.database.tx(venue.tenant_id) as tx:
        strategy = await create_strategy(
            tx, name="s", template="mean_reversion", parameters={"entry_z": entry}, now=AT, n_instruments=1
        )
        row = await deploy(
            tx,
            strategy_id=strategy.id,
            account_id=venue.account_id,
            instruments=[venue.instrument_id],
            now=AT,
        )
    return row.id


async def _reach(venue: Venue, at: datetime) -> None:
    """The feed is complete to `at`."""
    await venue.app.database.reference.execute(
        "update feed_state set watermark = $2, market_at = $2 where feed = $1", venue.feed, at
    )


async def _orders(venue: Venue) -> list[dict[str, Any]]:
    return await venue.rows("select id, client_order_id, side, quantity, status from orders order by id")


async def _run_until_order(venue: Venue) -> datetime:
    """Bars one by one until the first order; answers its bar."""
    for at in BARS:
        await _reach(venue, at)
        await run_due(venue.app, shard_of(venue.tenant_id))
        if await _orders(venue):
            return at
    raise AssertionError("no bar asked for an order")


async def test_a_due_bar_is_run_once_and_its_order_placed_once(venue: Venue) -> None:
    deployment = await _deployed(venue)
    at = await _run_until_order(venue)
    assert len(await _orders(venue)) == 1
    (row,) = await venue.rows("select last_bar, failures from deployments where id = :id", id=deployment)
    assert row == {"last_bar": at, "failures": 0}
    await run_due(venue.app, shard_of(venue.tenant_id))
    assert len(await _orders(venue)) == 1


async def test_a_bar_interrupted_between_placing_and_advancing_places_the_same_order(venue: Venue) -> None:
    deployment = await _deployed(venue)
    at = await _run_until_order(venue)
    (first,) = await _orders(venue)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        row = await tx.get(Deployment, deployment)
        assert row is not None
        row.last_bar = at - timedelta(days=1)
    await run_due(venue.app, shard_of(venue.tenant_id))
    assert await _orders(venue) == [first]


async def test_two_workers_on_one_shard_place_one_order(venue: Venue) -> None:
    await _deployed(venue)
    for at in BARS:
        await _reach(venue, at)
        shard = shard_of(venue.tenant_id)
        await asyncio.gather(*(run_due(venue.app, shard) for _ in range(3)))
    placed = await _orders(venue)
    assert placed
    assert len({order["client_order_id"] for order in placed}) == len(placed)
    (row,) = await venue.rows("select status, failures from deployments")
    assert row == {"status": "running", "failures": 0}


async def test_the_relay_hears_of_a_due_shard_and_of_no_other(venue: Venue) -> None:
    await _deployed(venue)
    mine = ("strategies", shard_of(venue.tenant_id), SHARED_ROWS)
    await run_due(venue.app, mine[1])
    await _reach(venue, BARS[0])
    assert mine in await due_shards(venue.app)
    await run_due(venue.app, mine[1])
    (row,) = await venue.rows("select last_bar from deployments")
    assert row["last_bar"] == BARS[0]


async def test_the_third_failure_pauses_a_deployment_and_says_why(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = await _deployed(venue)
    await _reach(venue, BARS[0])

    async def broken(*_: object) -> None:
        raise RuntimeError("the model is broken")

    monkeypatch.setattr(running_module, "_instruments", broken)
    for _ in range(3):
        await run_due(venue.app, shard_of(venue.tenant_id))
        await asyncio.sleep(2.1)
    (row,) = await venue.rows("select status, status_reason, last_bar from deployments where id = :id", id=deployment)
    assert (row["status"], row["status_reason"], row["last_bar"]) == ("paused", "the model is broken", AT)
    assert len(await venue.rows("select 1 from events where type = 'deployment.paused'")) == 1


async def test_a_paused_deployment_decides_nothing_and_a_resumed_one_skips_what_it_missed(venue: Venue) -> None:
    deployment = await _deployed(venue)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_status(tx, deployment, "paused")
    await _reach(venue, BARS[3])
    await run_due(venue.app, shard_of(venue.tenant_id))
    assert await _orders(venue) == []
    async with venue.app.database.tx(venue.tenant_id) as tx:
        row = await set_status(tx, deployment, "running")
    assert row.last_bar == BARS[3]
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_status(tx, deployment, "stopped")
    with pytest.raises(DomainError) as caught:
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_status(tx, deployment, "running")
    assert caught.value.code == "deployment_stopped"


@pytest.mark.parametrize("status", ["paused", "stopped"])
async def test_who_pauses_or_stops_a_deployment_is_told_so_when_no_order_of_it_can_follow(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    deployment, place, asked = await _deployed(venue), running_module._place, []

    async def ended_first(app: App, due: Any, bar: Bar, intent: Intent) -> bool:
        asked.append(bar.at)
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_status(tx, deployment, status)
        return await place(app, due, bar, intent)

    monkeypatch.setattr(running_module, "_place", ended_first)
    for at in BARS:
        await _reach(venue, at)
        await run_due(venue.app, shard_of(venue.tenant_id))
        if asked:
            break
    assert len(asked) == 1
    assert await _orders(venue) == []
    (row,) = await venue.rows("select status, last_bar from deployments where id = :id", id=deployment)
    assert row["status"] == status and row["last_bar"] < asked[0]


async def test_a_failure_changes_nothing_of_a_deployment_that_was_stopped_meanwhile(venue: Venue) -> None:
    deployment = await _deployed(venue)
    fails = "select strategies_fail($1, $2, 'broken')"
    for count in (1, 2):
        assert await venue.app.database.pool.fetchval(fails, venue.tenant_id, deployment) == count
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_status(tx, deployment, "stopped")
    assert await venue.app.database.pool.fetchval(fails, venue.tenant_id, deployment) == 0
    (row,) = await venue.rows("select status, failures from deployments where id = :id", id=deployment)
    assert (row["status"], row["failures"]) == ("stopped", 2)


async def test_nobody_resumes_what_is_being_stopped(venue: Venue) -> None:
    deployment = await _deployed(venue)
    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_status(tx, deployment, "paused")

    async def resume() -> None:
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await set_status(tx, deployment, "running")

    async with venue.app.database.tx(venue.tenant_id) as tx:
        await set_status(tx, deployment, "stopped")
        resuming = asyncio.create_task(resume())
        await asyncio.sleep(0.2)
        assert not resuming.done()
    with pytest.raises(DomainError) as caught:
        await resuming
    assert caught.value.code == "deployment_stopped"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"template": "no_such"}, "unknown_template"),
        ({"parameters": {"window": 0}}, "invalid_parameters"),
        ({"parameters": {"no_such": 1}}, "invalid_parameters"),
        ({"template": None}, "template_or_program"),
        ({"template": None, "document": {"version": 1}}, "invalid_program"),
    ],
)
async def test_a_definition_that_cannot_run_is_refused_with_its_reason(
    venue: Venue, changes: dict[str, Any], code: str
) -> None:
    asked: dict[str, Any] = {"name": "s", "template": "mean_reversion", "parameters": {}, "now": AT}
    with pytest.raises(DomainError) as caught:
        async with venue.app.database.tx(venue.tenant_id) as tx:
            await create_strategy(tx, **asked | changes)
    assert caught.value.code == code
    assert await venue.rows("select 1 from strategies") == []


async def test_an_account_runs_one_deployment_and_only_instruments_of_its_currency(venue: Venue) -> None:
    await _deployed(venue)
    with pytest.raises(DomainError) as caught:
        await _deployed(venue)
    assert caught.value.code == "account_in_use"
    async with venue.app.database.tx(venue.tenant_id) as tx:
        strategy = await create_strategy(tx, name="s", template="momentum", parameters={}, now=datetime.now(UTC))
        with pytest.raises(DomainError) as caught:
            await deploy(tx, strategy_id=strategy.id, account_id=venue.account_id, instruments=[uuid4()], now=AT)
    assert caught.value.code == "unknown_instrument"
