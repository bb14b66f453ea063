"""The statements of backtests. What a worker writes is fenced: only who holds the lease may write."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Select, func, text, update
from sqlmodel import select

from app.infra.database import Tx
from app.insight.backtest.tables import Backtest

_Backtest = cast(Any, Backtest)
UNFINISHED = ("queued", "running")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('backtests'), hashtext(cast(:tenant AS text)))")


async def count_unfinished(tx: Tx) -> int:
    """How many wait or run; until the transaction ends, nobody else can add one."""
    await tx.execute(_LOCK, {"tenant": str(tx.tenant_id)})
    statement = (
        select(func.count())
        .select_from(Backtest)
        .where(_Backtest.tenant_id == tx.tenant_id, _Backtest.status.in_(UNFINISHED))
    )
    return int((await tx.execute(statement)).scalar_one())


def listed(tx: Tx, *, status: str | None) -> Select[Any]:
    statement = select(Backtest).where(_Backtest.tenant_id == tx.tenant_id)
    return cast("Select[Any]", statement if status is None else statement.where(_Backtest.status == status))


async def locked(tx: Tx, backtest_id: UUID) -> Backtest | None:
    """The row, as it is now, until the transaction ends nobody else's."""
    statement = (
        select(Backtest)
        .where(_Backtest.tenant_id == tx.tenant_id, _Backtest.id == backtest_id)
        .with_for_update(key_share=True)
    )
    found: Backtest | None = (await tx.scalars(cast(Any, statement))).first()
    return found


async def report(tx: Tx, backtest_id: UUID, *, fence: int, bars_done: int, now: datetime) -> bool:
    """Write the progress. Whether to go on: False once a cancel was asked for, or another worker holds the run."""
    statement = (
        update(Backtest)
        .where(
            _Backtest.tenant_id == tx.tenant_id,
            _Backtest.id == backtest_id,
            _Backtest.fence == fence,
            _Backtest.status == "running",
        )
        .values(bars_done=bars_done, progressed_at=now)
        .returning(_Backtest.cancel_requested_at)
    )
    found = (await tx.execute(statement)).first()
    return found is not None and found[0] is None
