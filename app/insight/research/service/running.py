"""Runs a sweep's rows of work: chunks anywhere and in any order; whoever ends the last one queues the finish.

Nothing is held while it computes, in a thread. A chunk writes its figures once; run again, it finds or writes the same.
"""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from app.infra.database import Tx
from app.infra.process import App
from app.infra.work.runner import MAX_ATTEMPTS, Handler, Item, Retry
from app.insight.backtest.domain import canonical
from app.insight.backtest.service import patiently
from app.insight.research import repository
from app.insight.research.domain import Search
from app.insight.research.service.stored import Stored
from app.insight.research.tables import Sweep, SweepChunk, SweepResult
from app.kernel.errors import DomainError

QUEUE = "backtests"
CHUNK = "sweep.chunk"
FINISH = "sweep.finish"
LOOK_SECONDS = 0.5
RUN_SECONDS = 900.0

T = TypeVar("T")


class _Stopped(Exception):
    """Raised in the thread before its next run."""


class _Flag:
    """Set by the event loop, seen by the thread."""

    def __init__(self) -> None:
        self.stop = False

    def check(self) -> None:
        if self.stop:
            raise _Stopped


def handlers(app: App) -> dict[str, Handler]:
    """What the queue `backtests` runs of sweeps."""

    def lasting(work: Callable[[App, Item], Any]) -> Handler:
        async def run(item: Item) -> None:
            await _guarded(app, item, work)

        return Handler(run, lasting=timedelta(seconds=app.settings.lasting_lease_s))

    return {CHUNK: lasting(run_chunk), FINISH: lasting(finish_sweep)}


async def _guarded(app: App, item: Item, work: Callable[[App, Item], Any]) -> None:
    """What fails for good ends the sweep, with the reason."""
    if item.attempts > MAX_ATTEMPTS:  # nobody was left to record the failure
        await _fail(app, item, f"The worker died while it ran, {MAX_ATTEMPTS} times.")
        return
    try:
        async with asyncio.timeout(RUN_SECONDS):
            await work(app, item)
    except _Stopped:
        return
    except TimeoutError:
        await _fail(app, item, f"A part of it ran for more than {RUN_SECONDS / 60:.0f} minutes.")
    except DomainError as error:
        await _fail(app, item, error.message)
    except Retry:
        raise
    except Exception:
        if item.attempts >= MAX_ATTEMPTS:
            await _fail(app, item, "It failed on our side, three times, and was logged.")
        raise


async def run_chunk(app: App, item: Item) -> None:
    """Run a chunk and write its figures. Of a sweep that is no longer wanted, or a chunk that is done: a no-op."""
    async with _opened(app, item) as tx:
        row = await repository.locked(tx, _sweep(item))
        if row is None or row.status not in repository.UNFINISHED or await _found(tx, item):
            return
        if row.status == "queued":
            row.status, row.started_at = "running", app.clock()
        search, size = row.search, row.chunk_size
    number, flag = int(item.payload["number"]), _Flag()

    def compute() -> tuple[int, bytes]:
        return Stored(Search.from_json(search), app.settings.data_dir).chunk(number, size, flag.check)

    ran, figures = await _watched(app, item, compute, flag)
    async with _opened(app, item) as tx:
        row = await repository.locked(tx, _sweep(item))
        if row is None or row.status not in repository.UNFINISHED or await _found(tx, item):
            return
        count = min(size, row.combinations - number * size)
        tx.add(
            SweepChunk(
                tenant_id=row.tenant_id, id=UUID(item.payload["chunk_id"]), sweep_id=row.id, number=number,
                combinations=count, ran=ran, figures=figures,
            )
        )  # fmt: skip
        await tx.flush()
        if (await repository.done(tx, [row.id]))[row.id] == row.combinations:
            row.earlier = await repository.trials(tx, row.family, but=row.id)
            tx.work(QUEUE, FINISH, row.id, {"sweep_id": str(row.id)})


async def finish_sweep(app: App, item: Item) -> None:
    """Put the figures of all chunks together and write the result."""
    async with _opened(app, item) as tx:
        row = await repository.locked(tx, _sweep(item))
        if row is None or row.status not in repository.UNFINISHED:
            return
        figures = await repository.figures(tx, row.id)
        search, size, earlier = row.search, row.chunk_size, row.earlier or 0

    def compute() -> tuple[dict[str, Any], bytes, str, bytes]:
        document = Stored(Search.from_json(search), app.settings.data_dir).document(figures, size, earlier)
        sent = canonical(document)
        return document, sent, hashlib.sha256(sent).hexdigest(), zlib.compress(sent, 6)

    document, _, sha256, packed = await _watched(app, item, compute, _Flag())
    async with _opened(app, item) as tx:
        row = await repository.locked(tx, _sweep(item))
        if row is None or row.status not in repository.UNFINISHED:
            return
        row.summary, row.result_sha256 = _summary(document), sha256
        tx.add(SweepResult(tenant_id=row.tenant_id, id=row.id, sha256=sha256, document=packed))
        _end(tx, app, row, "succeeded")


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    """The figures one looks at first."""
    shared = {name: document[name] for name in ("trials", "significance")}
    if "folds" in document:
        return shared | {"best": None, "out_of_sample": document["out_of_sample"]}
    return shared | {"best": document["best"], "out_of_sample": None}


async def _watched(app: App, item: Item, compute: Callable[[], T], flag: _Flag) -> T:
    """Compute in a thread; stop it when the sweep is no longer wanted."""
    job = asyncio.create_task(asyncio.to_thread(compute))
    try:
        while not job.done():
            await asyncio.wait({job}, timeout=LOOK_SECONDS)
            if not job.done():
                with suppress(Retry), patiently():  # the next look tells as much
                    async with _opened(app, item) as tx:
                        flag.stop = not await repository.is_unfinished(tx, _sweep(item))
        return job.result()
    finally:
        flag.stop = True  # a thread cannot be cancelled: it ends before its next run
        job.cancel()


@asynccontextmanager
async def _opened(app: App, item: Item) -> AsyncIterator[Tx]:
    """A transaction of the tenant's; while the database is away the work waits for it, and no attempt counts."""
    with patiently():
        async with app.database.tx(item.tenant_id) as tx:
            yield tx


async def _fail(app: App, item: Item, reason: str) -> None:
    async with _opened(app, item) as tx:
        row = await repository.locked(tx, _sweep(item))
        if row is not None and row.status in repository.UNFINISHED:
            _end(tx, app, row, "failed", reason=reason)


def _end(tx: Tx, app: App, row: Sweep, status: str, *, reason: str | None = None) -> None:
    row.status, row.status_reason, row.finished_at = status, reason, app.clock()
    tx.emit(f"sweep.{status}", row.id, {"reason": reason} if reason else {"sha256": row.result_sha256})


async def _found(tx: Tx, item: Item) -> bool:
    return await tx.get(SweepChunk, UUID(item.payload["chunk_id"])) is not None


def _sweep(item: Item) -> UUID:
    return UUID(item.payload["sweep_id"])
