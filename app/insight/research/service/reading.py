"""Reads sweeps and their results, and takes a cancel."""

import asyncio
import json
import zlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.infra.database import Tx
from app.insight.backtest.service import ResultBytes
from app.insight.research import repository
from app.insight.research.service.page import sweep_page, walk_page
from app.insight.research.tables import Sweep, SweepResult
from app.kernel.errors import conflict, not_found
from app.kernel.ids import encode_id
from app.web.cursors import Cursor, Slice

PREFIX = "swp"


@dataclass(frozen=True, slots=True)
class Seen:
    """A sweep and how many of its combinations are done."""

    row: Sweep
    done: int


async def get_sweep(tx: Tx, sweep_id: UUID) -> Seen:
    """Raises `sweep_not_found`."""
    row = await tx.get(Sweep, sweep_id)
    if row is None:
        raise not_found("sweep", encode_id(PREFIX, sweep_id))
    return Seen(row, (await repository.done(tx, [sweep_id]))[sweep_id])


async def list_sweeps(tx: Tx, cursor: Cursor, *, status: str | None = None) -> Slice[Seen]:
    """Newest first."""
    statement = cursor.apply(repository.listed(tx, status=status), Sweep.id)
    found = cursor.cut((await tx.scalars(statement)).all())
    rows: list[Sweep] = list(found.rows)
    done = await repository.done(tx, [row.id for row in rows])
    return found.map(lambda row: Seen(row, done[row.id]))


async def read_result(tx: Tx, sweep_id: UUID) -> ResultBytes:
    """Raises `sweep_not_found`, and `sweep_not_succeeded` until there is a result."""
    row = (await get_sweep(tx, sweep_id)).row
    found = await tx.get(SweepResult, sweep_id)
    if found is None:
        reason = f": {row.status_reason}" if row.status_reason else ""
        todo = "wait until it has succeeded" if row.status in repository.UNFINISHED else "run it again"
        raise conflict("sweep_not_succeeded", f"The sweep is {row.status}{reason}. There is no result: {todo}.")
    return ResultBytes(found.sha256, await asyncio.to_thread(zlib.decompress, found.document))


async def read_report(tx: Tx, sweep_id: UUID) -> str:
    """The report page. Raises what `read_result` raises."""
    found = await read_result(tx, sweep_id)

    def page() -> str:
        document = json.loads(found.document)
        return walk_page(document) if "folds" in document else sweep_page(document)

    return await asyncio.to_thread(page)


async def cancel_sweep(tx: Tx, sweep_id: UUID, *, now: datetime) -> Seen:
    """At once: what runs of it stops within a second and writes nothing. A finished one stays as it is.

    Raises `sweep_not_found`.
    """
    row = await repository.locked(tx, sweep_id)
    if row is None:
        raise not_found("sweep", encode_id(PREFIX, sweep_id))
    if row.status in repository.UNFINISHED:
        row.status, row.finished_at = "cancelled", now
        tx.emit("sweep.cancelled", row.id, {})
        await tx.flush()
    return Seen(row, (await repository.done(tx, [sweep_id]))[sweep_id])
