"""Rows of work that no handler knows."""

from uuid import UUID

from app.infra.database import Database
from app.infra.work.operating import replay_work
from app.infra.work.tables import WorkItem, shard_of
from app.kernel.ids import uuid7


async def replay_dead_work(database: Database, tenant_id: UUID) -> None:
    """Work died, and the operator lets it be tried again."""
    item_id = uuid7()
    async with database.tx(tenant_id) as tx:
        row = WorkItem(
            tenant_id=tenant_id, queue="test", shard=shard_of(tenant_id), lane=item_id, kind="note", payload={}
        )
        row.id, row.state = item_id, "dead"
        tx.add(row)
    async with database.tx(tenant_id, operator="asha") as tx:
        await replay_work(tx, item_id)
