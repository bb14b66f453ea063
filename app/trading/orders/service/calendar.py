"""Decides how jobs of the calendar are kept and done: rows made ahead, each done once its feed's clock has come to it.

A holiday that is declared moves the rows that are pending. A job is claimed, done for one tenant after another, and
marked: whoever is killed in between leaves it to the next, who finds the work there that was asked for already. Jobs of
one venue and segment are done in order, however late the start is.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from time import monotonic
from uuid import UUID

import asyncpg
import structlog

from app.infra.clearing import Outdated
from app.infra.process import App
from app.infra.waiting import set_within
from app.kernel.ids import derive_id
from app.market.instruments.service import sessions_of_days
from app.trading.orders.domain.calendar import Job, JobKind, jobs_of

AHEAD = timedelta(days=7)
BEHIND = timedelta(days=4)
"""A feed that is new here is owed its last sessions: what they left to do is found by what there is."""

LEASE = timedelta(minutes=1)
PLAN_SECONDS = 1
LOOK = timedelta(milliseconds=100)
"""How often rows are looked for that are due: a replay waits for them."""

OUTDATED = (
    Outdated(
        "calendar_jobs",
        "delete from calendar_jobs where (feed, venue, segment, kind, day, turn) in "
        "(select feed, venue, segment, kind, day, turn from calendar_jobs "
        "where state = 'done' and done_at < $1 limit $2)",
        timedelta(days=90),
    ),
)
_KEEP = "select orders_keep_jobs($1, $2, $3, $4::jsonb)"
_LAST_DONE = "select max(day) from calendar_jobs where feed = $1 and state = 'done'"
_CLAIM = "select * from orders_claim_job($1, $2, $3)"
_FINISH = "select orders_finish_job($1, $2, $3, $4, $5, $6, $7, $8)"
_EXPIRE = "select orders_expire_session($1, $2, $3, $4, $5, $6)"
_OPEN = "select orders_open_session($1, $2, $3, $4, $5)"
_SQUARE_OFF = "select orders_square_off($1, $2, $3, $4, $5, $6)"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A job of one feed, under way."""

    feed: str
    venue: str
    segment: str
    kind: JobKind
    day: date
    turn: int
    until: datetime

    @property
    def key(self) -> tuple[str, str, str, str, date, int]:
        return (self.feed, self.venue, self.segment, self.kind, self.day, self.turn)

    @property
    def name(self) -> str:
        """The same for the same job for ever."""
        return derive_id("calendar_job", *self.key).hex


async def run_calendar(app: App, *, stop: asyncio.Event) -> None:
    """Until `stop`: keep and do the jobs of every feed. One process at a time (the caller holds the lock)."""
    plan_at = monotonic()
    while not stop.is_set():
        planning = monotonic() >= plan_at
        if planning:
            plan_at = monotonic() + PLAN_SECONDS
        for feed, at in await app.database.dispatch.fetch("select feed, market_at from market_feeds()"):
            if planning:
                await plan(app, feed, at)
            await do_due(app, feed, at)
        await set_within(stop, LOOK.total_seconds())


async def run_feed(app: App, feed: str, at: datetime) -> int:
    """Keep the jobs of `feed` as the calendar has them at its time `at`, and do what is due. Returns how many were."""
    await plan(app, feed, at)
    return await do_due(app, feed, at)


async def do_due(app: App, feed: str, at: datetime) -> int:
    """Do the jobs of `feed` that are due at its time `at`. Returns how many there were."""
    done = 0
    while (row := await app.database.dispatch.fetchrow(_CLAIM, feed, at, LEASE)) is not None:
        job = _Claimed(
            feed, row["venue"], row["segment"], JobKind(row["kind"]), row["day"], row["turn"], row["until_at"]
        )
        done += await _do(app, job)
    return done


async def plan(app: App, feed: str, at: datetime) -> None:
    """Make the rows of the sessions around `at`, and of those since the last job that was done."""
    dispatch = app.database.dispatch
    last: date | None = await dispatch.fetchval(_LAST_DONE, feed)
    first = min(filter(None, ((at - BEHIND).date(), last)))
    until = (at + AHEAD).date()
    jobs = jobs_of(await sessions_of_days(dispatch, first, until))
    await dispatch.execute(_KEEP, feed, first, until, _rows(jobs))


def _rows(jobs: Iterable[Job]) -> str:
    return json.dumps(
        [
            {
                "venue": job.venue,
                "segment": job.segment,
                "kind": job.kind,
                "day": job.day.isoformat(),
                "turn": job.turn,
                "due_at": job.due_at.isoformat(),
                "until_at": job.until.isoformat(),
            }
            for job in jobs
        ]
    )


async def _do(app: App, job: _Claimed) -> bool:
    """Whether it is done for every tenant. One for whom it fails stops no other; the job is tried again for all."""
    dispatch, failed, asked = app.database.dispatch, None, 0
    for row in await dispatch.fetch("select tenant_id from accounts_tenants_on($1)", job.feed):
        try:
            asked += await _ask(app.database.pool, row["tenant_id"], job)
        except asyncpg.PostgresError as error:
            failed = error
            log.error("calendar.failed", job=job.key, tenant=str(row["tenant_id"]), exc_info=error)
    await dispatch.execute(_FINISH, *job.key, failed and type(failed).__name__, LEASE)
    log.info("calendar.done", job=job.key, failed=failed is not None, asked=asked)
    return failed is None


async def _ask(pool: asyncpg.Pool, tenant_id: UUID, job: _Claimed) -> int:
    """Write the rows of work that the job is for one tenant, in one transaction. Returns how many."""
    scope = (tenant_id, job.feed, job.venue, job.segment)
    match job.kind:
        case JobKind.EXPIRE:
            count = await pool.fetchval(_EXPIRE, *scope, job.day, job.until)
        case JobKind.SQUARE_OFF:
            count = await pool.fetchval(_SQUARE_OFF, *scope, job.until, job.name)
        case JobKind.OPEN:
            count = await pool.fetchval(_OPEN, *scope, job.until)
    return int(count)
