"""The statements of sweeps. Who changes one holds its row."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Select, func, text
from sqlmodel import select

from app.infra.database import Tx
from app.insight.research.tables import Sweep, SweepChunk

_Sweep, _Chunk = cast(Any, Sweep), cast(Any, SweepChunk)
UNFINISHED = ("queued", "running")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('sweeps'), hashtext(cast(:tenant AS text)))")


async def count_unfinished(tx: Tx) -> int:
    """How many wait or run; until the transaction ends, nobody else can add one."""
    await tx.execute(_LOCK, {"tenant": str(tx.tenant_id)})
    statement = (
        select(func.count()).select_from(Sweep).where(_Sweep.tenant_id == tx.tenant_id, _Sweep.status.in_(UNFINISHED))
    )
    return int((await tx.execute(statement)).scalar_one())


def listed(tx: Tx, *, status: str | None) -> Select[Any]:
    statement = select(Sweep).where(_Sweep.tenant_id == tx.tenant_id)
    return cast("Select[Any]", statement if status is None else statement.where(_Sweep.status == status))


async def locked(tx: Tx, sweep_id: UUID) -> Sweep | None:
    """The row, as it is now, until the transaction ends nobody else's."""
    statement = (
        select(Sweep).where(_Sweep.tenant_id == tx.tenant_id, _Sweep.id == sweep_id).with_for_update(key_share=True)
    )
    found: Sweep | None = (await tx.scalars(cast(Any, statement))).first()
    return found


async def is_unfinished(tx: Tx, sweep_id: UUID) -> bool:
    """Whether its chunks are still wanted."""
    statement = select(_Sweep.status).where(_Sweep.tenant_id == tx.tenant_id, _Sweep.id == sweep_id)
    return (await tx.execute(statement)).scalar_one_or_none() in UNFINISHED


async def done(tx: Tx, sweep_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Combinations in chunks that are done, of each sweep."""
    statement = (
        select(_Chunk.sweep_id, func.sum(_Chunk.combinations).label("done"))
        .where(_Chunk.tenant_id == tx.tenant_id, _Chunk.sweep_id.in_(sweep_ids))
        .group_by(_Chunk.sweep_id)
    )
    found = {row.sweep_id: int(row.done) for row in await tx.execute(statement)}
    return {sweep_id: found.get(sweep_id, 0) for sweep_id in sweep_ids}


async def trials(tx: Tx, family: str, *, but: UUID) -> int:
    """Combinations that ran in every other sweep of the family, finished or not."""
    statement = (
        select(func.coalesce(func.sum(_Chunk.ran), 0))
        .join(Sweep, (_Sweep.tenant_id == _Chunk.tenant_id) & (_Sweep.id == _Chunk.sweep_id))
        .where(_Chunk.tenant_id == tx.tenant_id, _Sweep.family == family, _Sweep.id != but)
    )
    return int((await tx.execute(statement)).scalar_one())


async def figures(tx: Tx, sweep_id: UUID) -> list[bytes]:
    """Of every chunk that is done, in order, compressed."""
    statement = (
        select(_Chunk.figures)
        .where(_Chunk.tenant_id == tx.tenant_id, _Chunk.sweep_id == sweep_id)
        .order_by(_Chunk.number)
    )
    return list((await tx.execute(statement)).scalars())
