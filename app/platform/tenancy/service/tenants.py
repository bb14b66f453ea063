"""Decides what can be done with a tenant: create it, read it, suspend it, close it; and which lie below it.

Closing is not deleting: the tenant stays `closing` for `CLOSING_GRACE`, without keys and applications; a tenant above
that acts for it can still read it. The purge that follows is a job of the operator's, after `closes_at`: it checks that
ledger and records which the law keeps (orders, fills, approvals, events) are archived, then deletes the tenant's rows
in reverse order of foreign keys, one tenant a transaction. Until then `set_status(ACTIVE)` takes it all back, but for
keys, applications and what these were granted.
"""

from datetime import datetime
from uuid import UUID

from app.infra.database import Database, Tx
from app.kernel.errors import conflict, not_found
from app.kernel.ids import encode_id, uuid7
from app.kernel.times import format_time
from app.platform.tenancy import repository
from app.platform.tenancy.domain import CLOSING_GRACE, TenantStatus, check_recent_login, check_slug
from app.platform.tenancy.ports import Credentials, Holdings, Tokens
from app.platform.tenancy.service.members import owner_of
from app.platform.tenancy.tables import ChildTenant, Tenant
from app.web.cursors import Cursor, Slice


async def create_tenant(
    database: Database, *, slug: str, name: str, tenant_id: UUID | None = None, parent_id: UUID | None = None
) -> UUID:
    """A new active tenant, in a transaction of its own; its id. Raises `invalid_slug`, `tenant_not_found` (the parent).

    Only the platform's operator does this: no route leads here. A seed that must be repeatable passes `tenant_id`.
    The parent's list is written first: a child that a crash left out of `tenants` opens to nobody.
    """
    new_id = tenant_id or uuid7()
    checked = check_slug(slug)
    if parent_id is not None:
        async with database.tx(parent_id) as tx:
            await get_tenant(tx)
            tx.add(ChildTenant(tenant_id=parent_id, id=new_id, slug=checked, name=name))
            tx.emit("tenant.child_added", new_id, {"slug": checked, "name": name})
    async with database.tx(new_id) as tx:
        tx.add(Tenant(id=new_id, tenant_id=new_id, slug=checked, name=name, parent_id=parent_id))
        tx.emit("tenant.created", new_id, {"slug": checked, "name": name})
    return new_id


async def get_tenant(tx: Tx) -> Tenant:
    """The transaction's tenant. Raises `tenant_not_found`."""
    tenant = await repository.own_tenant(tx)
    if tenant is None:
        raise not_found("tenant", encode_id("ten", tx.tenant_id))
    return tenant


async def list_children(tx: Tx, cursor: Cursor) -> Slice[ChildTenant]:
    """One page of the tenants below this one, newest first."""
    return cursor.cut(await repository.children(tx, cursor))


async def set_status(tx: Tx, status: TenantStatus) -> Tenant:
    """Suspend or reactivate the transaction's tenant; orders obey at once (`tenancy_status()`)."""
    tenant = await get_tenant(tx)
    if tenant.status != status:
        tenant.status = status
        tenant.closes_at = None
        tx.emit("tenant.status_changed", tenant.id, {"status": status.value})
    return tenant


async def close_tenant(
    tx: Tx, *, credentials: Credentials, tokens: Tokens, holdings: Holdings, now: datetime
) -> Tenant:
    """Begin to close the tenant, as an owner who has just proved who he is; its keys, applications and all that these
    were granted end with it.

    Raises `owner_needed`, `login_needed`, `insufficient_user_authentication`, `tenant_holds_positions`. A second time
    changes nothing.
    """
    await owner_of(tx)
    check_recent_login(tx.principal.auth_time if tx.principal else None, now=now)
    await repository.lock_people(tx)
    tenant = await get_tenant(tx)
    if tenant.status == TenantStatus.CLOSING:
        return tenant
    held = await holdings.freeze(tx)
    if held.positions or held.orders:
        raise conflict(
            "tenant_holds_positions",
            f"{held.positions} positions and {held.orders} orders are open: close and cancel them first.",
        )
    tenant.status, tenant.closes_at = TenantStatus.CLOSING, now + CLOSING_GRACE
    ended = {
        "keys_revoked": await credentials.revoke_all(tx, now=now),
        "clients_revoked": await tokens.end_tenant(tx, now=now),
    }
    tx.emit("tenant.closing", tenant.id, {"closes_at": format_time(tenant.closes_at)} | ended)
    await tx.flush()
    return tenant


async def tenant_ids(database: Database) -> list[UUID]:
    """Every tenant, for jobs that serve them in turn (role `dispatch`)."""
    return await repository.all_ids(database.dispatch)
