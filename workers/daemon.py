"""Decides what runs for ever, once in the house: each role is the body of a leader, all of them on one event loop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic

import asyncpg
import structlog

from app.bootstrap import SERVERS_PATIENCE_S, App, bootstrap, open_brokers
from app.infra.clearing import Outdated, clear, in_batches
from app.infra.events.follower import run_follower
from app.infra.heap import keep_what_is_there
from app.infra.idempotency.keys import prune
from app.infra.leader import lead
from app.infra.settings import Settings
from app.infra.telemetry import set_unsegregated, set_work_ready
from app.infra.waiting import set_within
from app.infra.work.relay import SHARED_ROWS, Waiting, run_relay
from workers.main import QUEUES, configure, send_wake_up
from workers.settled import WorkSettled

FEED = "replay"
MARKET_STARTS_AT = datetime(2003, 1, 1, tzinfo=UTC)
"""The replay's clock begins here: what lies before is history that indicators warm up on."""

END_SECONDS = 4.0
IMPORTED_SECONDS = 3.0
"""Roles have imported what they need by then."""

HOUSEKEEPING_SECONDS = 60.0
CLEARING_SECONDS = 3600.0
DONE_ROWS = 5_000
ANSWERS = LEASES = 10_000
"""So many go in one statement."""

Body = Callable[[App, asyncio.Event], Awaitable[None]]
Chore = Callable[[App], Awaitable[None]]
log = structlog.get_logger(__name__)


def _weight(row: asyncpg.Record) -> int:
    """Backtests last: each shard is a message by itself, for whichever process has room."""
    return SHARED_ROWS if row["queue"] == "backtests" else int(row["ready"])


async def _relay(app: App, stop: asyncio.Event) -> None:
    from app.trading.strategies.service import due_shards

    async def waiting() -> Sequence[Waiting]:
        rows = await app.database.dispatch.fetch("select queue, shard, ready from work_waiting()")
        for queue in QUEUES:
            set_work_ready(queue, sum(row["ready"] for row in rows if row["queue"] == queue))
        return [(row["queue"], row["shard"], _weight(row)) for row in rows]

    async def due() -> Sequence[Waiting]:
        return await due_shards(app)

    await run_relay(app.redis, [waiting, due], send_wake_up, stop=stop)


def outdated() -> Sequence[Outdated]:
    """What each slice says has run out."""
    from app.platform.notifications.service import OUTDATED as DELIVERIES
    from app.platform.oauth.service import OUTDATED as GRANTS
    from app.platform.people.service import OUTDATED as LOGINS
    from app.platform.tenancy.service import OUTDATED as INVITATIONS
    from app.trading.orders.service.calendar import OUTDATED as CALENDAR
    from app.trading.paper.service import OUTDATED as ENDED_ORDERS

    return [*GRANTS, *LOGINS, *INVITATIONS, *DELIVERIES, *ENDED_ORDERS, *CALENDAR]


async def _clear(app: App) -> None:
    await clear(app.database.dispatch, outdated(), now=app.clock())


async def _look_at_segregation(app: App) -> None:
    from app.custody.ledger.service import unsegregated

    found = await unsegregated(app.database)
    set_unsegregated(len(found))
    if found:
        log.error("segregation.broken", tenants=[str(tenant_id) for tenant_id in found])


async def _scheduler(app: App, stop: asyncio.Event) -> None:
    from app.trading.orders.service.calendar import run_calendar

    async with asyncio.TaskGroup() as tasks:  # a failure of the calendar ends the body, and its leader begins again
        tasks.create_task(_keep_house(app, stop))
        tasks.create_task(run_calendar(app, stop=stop))


async def _prune_work(app: App) -> None:
    async def remove(batch: int) -> int:
        gone: int = await app.database.dispatch.fetchval("select work_prune('1 hour', $1)", batch)
        return gone

    log.debug("scheduler.pruned", rows=await in_batches(remove, batch=DONE_ROWS))


async def _forget_leases(app: App) -> None:
    async def remove(batch: int) -> int:
        gone: int = await app.database.dispatch.fetchval("select work_forget('1 day', $1)", batch)
        return gone

    log.debug("scheduler.pruned", leases=await in_batches(remove, batch=LEASES))


async def _prune_answers(app: App) -> None:
    async def remove(batch: int) -> int:
        return await prune(app.database.dispatch, now=app.clock(), limit=batch)

    log.debug("scheduler.pruned", answers=await in_batches(remove, batch=ANSWERS))


EACH_TURN: Mapping[str, Chore] = {"work": _prune_work, "answers": _prune_answers}
EACH_HOUR: Mapping[str, Chore] = {
    "clearing": _clear,
    "leases": _forget_leases,
    "segregation": _look_at_segregation,
}


async def _keep_house(app: App, stop: asyncio.Event) -> None:
    clear_at = monotonic()
    while not stop.is_set():
        if monotonic() >= clear_at:
            clear_at += CLEARING_SECONDS
            await _do(app, EACH_HOUR)
        await _do(app, EACH_TURN)
        await set_within(stop, HOUSEKEEPING_SECONDS)


async def _do(app: App, chores: Mapping[str, Chore]) -> None:
    """One after the other. What fails waits for its next turn: the calendar runs beside it and must not end with it."""
    for name, chore in chores.items():
        try:
            await chore(app)
        except Exception as error:
            log.error("scheduler.failed", chore=name, exc_info=error)


async def _feed(app: App, stop: asyncio.Event) -> None:
    from app.market.data.service import run_replay

    await run_replay(
        app.database.reference,
        app.stream,
        app.settings.data_dir,
        settled=WorkSettled(app.database.dispatch),
        stop=stop,
        feed=FEED,
        speed=app.settings.replay_bars_per_second,
        start=MARKET_STARTS_AT,
    )


async def _matcher(app: App, stop: asyncio.Event) -> None:
    from app.trading.orders.service.matching import run_matcher

    await run_matcher(app, FEED, stop=stop)


async def _listener(app: App, stop: asyncio.Event) -> None:
    from app.trading.orders.service import open_desk
    from app.trading.orders.service.listening import run_listener

    await run_listener(app.database.dispatch, open_desk(app, open_brokers(app)), stop=stop)


async def _settler(app: App, stop: asyncio.Event) -> None:
    from app.trading.portfolio.service import run_settlements

    await run_settlements(app, stop=stop)


async def _follower(app: App, stop: asyncio.Event) -> None:
    await run_follower(app.database.dispatch, app.redis, stop=stop)


async def _webhooks(app: App, stop: asyncio.Event) -> None:
    from app.platform.notifications.service import run_webhooks

    await run_webhooks(app, stop=stop)


ROLES: Mapping[str, Body] = {
    "relay": _relay,
    "scheduler": _scheduler,
    "feed": _feed,
    "matcher": _matcher,
    "listener": _listener,
    "settler": _settler,
    "follower": _follower,
    "webhooks": _webhooks,
}


def run(settings: Settings, *, roles: Sequence[str] | None = None) -> int:
    """Play `roles` (all by default) until SIGTERM or SIGINT; ends within five seconds. Returns the exit code."""
    unknown = sorted(set(roles or ()) - set(ROLES))
    if unknown:
        raise SystemExit(f"unknown roles: {', '.join(unknown)} (there are {', '.join(ROLES)})")
    configure(settings)
    asyncio.run(_run(settings, list(roles or ROLES)))
    return 0


async def _run(settings: Settings, roles: Sequence[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with bootstrap(settings, patience_s=SERVERS_PATIENCE_S) as app:
        log.info("daemon.started", roles=list(roles))
        tasks = {asyncio.create_task(_play(app, role, stop), name=role) for role in roles}
        asyncio.get_running_loop().call_later(IMPORTED_SECONDS, keep_what_is_there)
        await asyncio.wait({asyncio.create_task(stop.wait()), *tasks}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=END_SECONDS)
        for task in late:
            task.cancel()
        failures = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(one, Exception)]
        log.info("daemon.ended", late=sorted(task.get_name() for task in late))
    if failures:
        raise failures[0]


async def _play(app: App, role: str, stop: asyncio.Event) -> None:
    url = app.settings.dispatch_database_url.get_secret_value()
    await lead(url, role, lambda ending: ROLES[role](app, ending), stop=stop)
