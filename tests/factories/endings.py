"""What hears of the end of logins and members in tests that look at nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.infra.database import Tx


@dataclass
class Heard:
    """People's port `Endings` and tenancy's `Tokens`: notes what ended."""

    sessions: list[UUID] = field(default_factory=list)
    people: list[UUID] = field(default_factory=list)
    tenants: list[UUID] = field(default_factory=list)

    async def sessions_ended(self, session_ids: Sequence[UUID]) -> None:
        self.sessions += session_ids

    async def end_person(self, tx: Tx, user_id: UUID, *, now: datetime) -> None:
        self.people.append(user_id)

    async def end_tenant(self, tx: Tx, *, now: datetime) -> int:
        self.tenants.append(tx.tenant_id)
        return 0
