"""Runs one row of work: plan in, result out, nothing held while it computes.

Simulation and document are made in a thread (the kernels release the interpreter); the event loop reports its progress
and looks for a cancel. Whoever runs it again writes the same bytes.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError

from app.infra.database import Tx
from app.infra.outages import AWAY
from app.infra.process import App
from app.infra.work.runner import MAX_ATTEMPTS, Handler, Item, Retry
from app.insight.backtest import repository
from app.insight.backtest.domain import Plan, canonical, summary_of
from app.insight.backtest.service.stored import run_plan
from app.insight.backtest.tables import Backtest, BacktestResult
from app.kernel.errors import DomainError

QUEUE = "backtests"
RUN = "backtest.run"
REPORT_SECONDS = 0.5
RUN_SECONDS = 900.0
AWAY_SECONDS = 2.0
_AWAY = (*AWAY, OSError, asyncpg.OperatorInterventionError)
"""The database is down: that is nobody's failure, so the run waits."""

log = structlog.get_logger(__name__)


class _Stopped(Exception):
    """Raised in the thread at the next block."""


class _Progress:
    """What thread and event loop tell each other: whole objects, assigned at once."""

    def __init__(self) -> None:
        self.rows = 0
        self.stop = False

    def __call__(self, rows: int) -> None:
        if self.stop:
            raise _Stopped
        self.rows = rows


def handlers(app: App) -> dict[str, Handler]:
    """What the queue `backtests` runs."""

    async def run(item: Item) -> None:
        await run_backtest(app, item)

    return {RUN: Handler(run, lasting=timedelta(seconds=app.settings.lasting_lease_s))}


@contextmanager
def patiently() -> Iterator[None]:
    """Around what needs the database: the run waits until it is back. Raises `Retry`."""
    try:
        yield
    except Exception as error:
        if not _away(error):
            raise
        raise Retry(AWAY_SECONDS, repr(error)) from error


def _away(error: BaseException | None) -> bool:
    """Whether the database is the cause, as the driver said it."""
    while error is not None and not isinstance(error, _AWAY):
        error = (error.orig if isinstance(error, DBAPIError) else None) or error.__cause__
    return error is not None


async def run_backtest(app: App, item: Item) -> None:
    """Begin, compute, finish: two short transactions and the reports between them. Finished or cancelled is a no-op."""
    with patiently():
        stored = await _begin(app, item)
    if stored is None:
        return
    try:
        async with asyncio.timeout(RUN_SECONDS):
            sent, document = await _compute(app, item, Plan.from_json(stored), _Progress())
    except _Stopped:
        await _finish(app, item, "cancelled")
    except TimeoutError:
        await _finish(app, item, "failed", reason=f"It ran for more than {RUN_SECONDS / 60:.0f} minutes.")
    except DomainError as error:
        await _finish(app, item, "failed", reason=error.message)
    except Exception:
        if item.attempts >= MAX_ATTEMPTS:
            await _finish(app, item, "failed", reason="It failed on our side, three times, and was logged.")
        raise
    else:
        await _finish(app, item, "succeeded", sent=sent, document=document)


async def _begin(app: App, item: Item) -> dict[str, Any] | None:
    """The plan, marked as running under this lease; None when there is nothing to run."""
    async with app.database.tx(item.tenant_id) as tx:
        row = await repository.locked(tx, _id(item))
        if row is None or row.status not in repository.UNFINISHED:
            return None
        row.fence = item.fence
        if row.cancel_requested_at is not None:
            _end(tx, app, row, "cancelled")
            return None
        if item.attempts > MAX_ATTEMPTS:  # nobody was left to record the failure
            _end(tx, app, row, "failed", reason=f"The worker died while it ran, {MAX_ATTEMPTS} times.")
            return None
        row.status, row.attempts, row.bars_done = "running", item.attempts, 0
        row.started_at = row.progressed_at = app.clock()
        return row.plan


async def _compute(app: App, item: Item, plan: Plan, progress: _Progress) -> tuple[bytes, dict[str, Any]]:
    """The result's bytes and the document. Raises `_Stopped` after a cancel, and what the run raises."""
    job = asyncio.create_task(asyncio.to_thread(_made, plan, app.settings.data_dir, progress))
    try:
        while not job.done():
            await asyncio.wait({job}, timeout=REPORT_SECONDS)
            if not job.done():
                await _report(app, item, progress)
        return job.result()
    finally:
        progress.stop = True  # a thread cannot be cancelled: it ends at its next block
        job.cancel()


def _made(plan: Plan, data_dir: Path, progress: _Progress) -> tuple[bytes, dict[str, Any]]:
    document = run_plan(plan, data_dir, progress)
    return canonical(document), document


async def _report(app: App, item: Item, progress: _Progress) -> None:
    with suppress(Retry), patiently():  # the next report tells as much
        async with app.database.tx(item.tenant_id) as tx:
            go_on = await repository.report(tx, _id(item), fence=item.fence, bars_done=progress.rows, now=app.clock())
        progress.stop = not go_on


async def _finish(
    app: App,
    item: Item,
    status: str,
    *,
    reason: str | None = None,
    sent: bytes = b"",
    document: dict[str, Any] | None = None,
) -> None:
    """Write the outcome, unless another worker holds the run by now. A cancel that came in time wins."""
    packed = await asyncio.to_thread(zlib.compress, sent, 6) if document else b""
    with patiently():
        async with app.database.tx(item.tenant_id) as tx:
            row = await repository.locked(tx, _id(item))
            if row is None or row.status != "running" or row.fence != item.fence:
                log.warning("backtest.superseded", backtest=item.payload["backtest_id"], fence=item.fence)
                return
            if status == "succeeded" and row.cancel_requested_at is not None:
                status, document = "cancelled", None
            if document is not None:
                row.summary, row.result_sha256 = summary_of(document), hashlib.sha256(sent).hexdigest()
                row.bars_done = row.bars
                tx.add(BacktestResult(tenant_id=row.tenant_id, id=row.id, sha256=row.result_sha256, document=packed))
            _end(tx, app, row, status, reason=reason)


def _end(tx: Tx, app: App, row: Backtest, status: str, *, reason: str | None = None) -> None:
    row.status, row.status_reason, row.finished_at = status, reason, app.clock()
    said = {"reason": reason} if reason else {"sha256": row.result_sha256} if row.result_sha256 else {}
    tx.emit(f"backtest.{status}", row.id, said)


def _id(item: Item) -> UUID:
    return UUID(item.payload["backtest_id"])
