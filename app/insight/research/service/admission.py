"""Admits a sweep: what can be known before it runs is checked here and pinned; then a row of work for each chunk."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from app.engine.document import parse_document
from app.infra.database import Tx
from app.insight.backtest.domain import Asked
from app.insight.backtest.service import Planned, plan_backtest, prepare_plan
from app.insight.research import repository
from app.insight.research.domain import (
    MAX_COST,
    MAX_UNFINISHED,
    Cut,
    Search,
    check_metric,
    check_names,
    combinations,
    family,
)
from app.insight.research.service.chunks import MOST
from app.insight.research.service.reading import Seen
from app.insight.research.service.running import CHUNK, QUEUE
from app.insight.research.service.sweeping import folds_of
from app.insight.research.tables import Sweep
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.ids import uuid7
from app.platform.plans.domain import QuotaName
from app.platform.plans.service import consume

MAX_CHUNKS = 2_000
_BARS_OF_A_CHUNK = 2_000_000
"""Bars × instruments × combinations of one chunk: seconds, so that a stop is prompt and a dead worker costs little."""


@dataclass(frozen=True, slots=True)
class AskedSweep:
    """A sweep as its caller asks for it. `run`: what each run is; `grid`: parameters and their values, as written."""

    run: Asked
    grid: dict[str, str]
    draws: int | None = None
    seed: int = 0
    metric: str = "sharpe"
    cut: Cut | None = None


async def create_sweep(tx: Tx, asked: AskedSweep, data_dir: Path) -> Seen:
    """Check, pin and queue a sweep. Nothing is written when it is refused.

    Raises what `backtest.service.plan_backtest` raises, `invalid_sweep`, `invalid_folds` and `too_costly` naming the
    field, `too_many_sweeps` when `MAX_UNFINISHED` of the tenant's wait or run, `quota_exceeded` when the plan has
    fewer cells left this month.
    """
    check_metric(asked.metric)
    planned = await plan_backtest(tx, asked.run, data_dir)
    search = Search(planned.plan, asked.grid, asked.draws, asked.seed, asked.metric, asked.cut)
    space = search.space
    document = parse_document(planned.plan.program)
    check_names(space, document.parameters, planned.plan.parameters)
    count = len(await asyncio.to_thread(combinations, space))
    instruments = len(planned.plan.listed)
    cost = count * planned.program.cost(bars=planned.bars, instruments=instruments)
    if cost > MAX_COST:
        reason = f"The sweep needs {cost:,} evaluations, more than {MAX_COST:,}: try fewer combinations or fewer bars."
        raise invalid("too_costly", reason, param="grid")
    if asked.cut is not None:
        await asyncio.to_thread(_fits, search, count, data_dir)
    if await repository.count_unfinished(tx) >= MAX_UNFINISHED:
        reason = f"{MAX_UNFINISHED} sweeps of yours wait or run; wait for one of them, or cancel it."
        raise DomainError("too_many_sweeps", Kind.LIMITED, reason)
    await consume(tx, QuotaName.BACKTEST_CELLS, count * planned.cells)
    size = max(1, min(MOST, _BARS_OF_A_CHUNK // (planned.bars * instruments)), -(-count // MAX_CHUNKS))
    return Seen(await _queue(tx, asked, planned, search, count=count, size=size), 0)


def _fits(search: Search, count: int, data_dir: Path) -> None:
    """The folds of a walk-forward need the trading dates, so the bars are read."""
    made = prepare_plan(search.plan, data_dir)
    if search.cut is not None:
        try:
            folds_of(made.bars, search.cut, made.first_row, count)
        except DomainError as error:
            raise invalid(error.code, error.message, param=f"walk_forward.{error.param}") from None


async def _queue(tx: Tx, asked: AskedSweep, planned: Planned, search: Search, *, count: int, size: int) -> Sweep:
    row = Sweep(
        tenant_id=tx.tenant_id,
        name=asked.run.name or planned.program.name,
        strategy_id=asked.run.strategy_id,
        template=asked.run.template,
        family=family(planned.plan.program),
        search=search.to_json(),
        currency=planned.currency,
        combinations=count,
        chunk_size=size,
    )
    tx.add(row)
    for number in range(-(-count // size)):
        chunk = uuid7()
        tx.work(QUEUE, CHUNK, chunk, _payload(row.id, chunk, number))
    tx.emit("sweep.created", row.id, {"family": row.family, "combinations": count})
    await tx.flush()
    return row


def _payload(sweep: UUID, chunk: UUID, number: int) -> dict[str, Any]:
    return {"sweep_id": str(sweep), "chunk_id": str(chunk), "number": number}
