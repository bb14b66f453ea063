"""Fresh tenants with keys, for tests that commit: every test makes its own and cleans nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app.infra.database import Database
from app.kernel.ids import uuid7
from app.kernel.orders import Mode
from app.platform.identity.service import PERMISSIONS, create_key
from app.platform.tenancy.service import create_tenant


@dataclass(frozen=True, slots=True)
class TenantWithKey:
    """A tenant, one of its keys in full, and that key's row id."""

    tenant_id: UUID
    secret: str
    key_row: UUID

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


async def make_tenant(
    database: Database,
    *,
    scopes: list[str] | None = None,
    expires_at: datetime | None = None,
    now: datetime | None = None,
    mode: Mode = Mode.TEST,
    cell: str = "in1",
) -> TenantWithKey:
    """A new tenant and a key of `scopes`, every one by default."""
    tenant_id = await create_tenant(database, slug=f"t-{uuid7().hex[-12:]}", name="Test")
    return await make_key(database, tenant_id, scopes=scopes, expires_at=expires_at, now=now, mode=mode, cell=cell)


async def make_key(
    database: Database,
    tenant_id: UUID,
    *,
    scopes: list[str] | None = None,
    expires_at: datetime | None = None,
    now: datetime | None = None,
    mode: Mode = Mode.TEST,
    cell: str = "in1",
) -> TenantWithKey:
    """A further key of a tenant."""
    async with database.tx(tenant_id) as tx:
        issued = await create_key(
            tx,
            name="test",
            scopes=list(PERMISSIONS) if scopes is None else scopes,
            cell=cell,
            now=now or datetime.now(UTC),
            mode=mode,
            expires_at=expires_at,
        )
    return TenantWithKey(tenant_id, issued.secret, issued.row.id)
