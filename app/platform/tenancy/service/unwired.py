"""A stand-in for the port whose owner is not wired yet: there are no plans."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID


class EveryPermission:
    """A plan that includes everything."""

    async def lacking(self, tenant_id: UUID, permissions: Collection[str], *, now: datetime) -> Collection[str]:
        return ()
