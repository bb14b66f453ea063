"""Reads backtests and their results, and takes a cancel."""

import asyncio
import json
import zlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.infra.database import Tx
from app.insight.backtest import repository
from app.insight.backtest.service.page import report_page
from app.insight.backtest.tables import Backtest, BacktestResult
from app.kernel.errors import conflict, not_found
from app.kernel.ids import encode_id
from app.web.cursors import Cursor, Slice

PREFIX = "bkt"


@dataclass(frozen=True, slots=True)
class ResultBytes:
    """A result document as it was made, and the SHA-256 of it."""

    sha256: str
    document: bytes


async def get_backtest(tx: Tx, backtest_id: UUID) -> Backtest:
    """Raises `backtest_not_found`."""
    row = await tx.get(Backtest, backtest_id)
    if row is None:
        raise not_found("backtest", encode_id(PREFIX, backtest_id))
    return row


async def list_backtests(tx: Tx, cursor: Cursor, *, status: str | None = None) -> Slice[Backtest]:
    """Newest first."""
    statement = cursor.apply(repository.listed(tx, status=status), Backtest.id)
    return cursor.cut((await tx.scalars(statement)).all())


async def read_result(tx: Tx, backtest_id: UUID) -> ResultBytes:
    """Raises `backtest_not_found`, and `backtest_not_succeeded` until there is a result."""
    row = await get_backtest(tx, backtest_id)
    found = await tx.get(BacktestResult, backtest_id)
    if found is None:
        reason = f": {row.status_reason}" if row.status_reason else ""
        todo = "wait until it has succeeded" if row.status in repository.UNFINISHED else "run it again"
        raise conflict("backtest_not_succeeded", f"The backtest is {row.status}{reason}. There is no result: {todo}.")
    return ResultBytes(found.sha256, await asyncio.to_thread(zlib.decompress, found.document))


async def read_report(tx: Tx, backtest_id: UUID) -> str:
    """The report page. Raises what `read_result` raises."""
    found = await read_result(tx, backtest_id)
    return await asyncio.to_thread(lambda: report_page(json.loads(found.document)))


async def cancel_backtest(tx: Tx, backtest_id: UUID, *, now: datetime) -> Backtest:
    """A waiting run is cancelled at once, a running one at its next block; a finished one stays as it is.

    Raises `backtest_not_found`.
    """
    row = await repository.locked(tx, backtest_id)
    if row is None:
        raise not_found("backtest", encode_id(PREFIX, backtest_id))
    if row.status in repository.UNFINISHED and row.cancel_requested_at is None:
        row.cancel_requested_at = now
    if row.status == "queued":
        row.status, row.finished_at = "cancelled", now
        tx.emit("backtest.cancelled", row.id, {})
    await tx.flush()
    return row
