"""Decides what can be done with a tenant: create it, read it, suspend it, close it; and which lie below it.

Creating and suspending are the platform operator's (`app.local.tenants`): no route leads there.

Closing is not deleting: the tenant stays `closing` for `CLOSING_GRACE`, without keys and applications; a tenant above
that acts for it can still read it. The purge that follows is a job of the operator's, after `closes_at`: it checks that
ledger and records which the law keeps (orders, fills, approvals, events) are archived, then deletes the tenant's rows
in reverse order of foreign keys, one tenant a transaction. Until then `set_status(ACTIVE)` takes it all back, but for
keys, applications and what these were granted.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from app.infra.database import Database, Tx
from app.kernel.errors import conflict, not_found
from app.kernel.ids import encode_id, uuid7
from app.kernel.times import format_time
from app.platform.tenancy import repository
from app.platform.tenancy.domain import (
    CLOSING_GRACE,
    TenantStatus,
    check_recent_login,
    check_slug,
    check_tenant_name,
)
from app.platform.tenancy.ports import Credentials, Holdings, Tokens
from app.platform.tenancy.service.members import owner_of
from app.platform.tenancy.tables import ChildTenant, Tenant
from app.web.cursors import Cursor, Slice


async def create_tenant(
    database: Database, *, slug: str, name: str, tenant_id: UUID | None = None, parent_id: UUID | None = None
) -> UUID:
    """A new active tenant with nothing in it; its id. Raises what `founding` says.

    A seed that must be repeatable passes `tenant_id`.
    """
    async with founding(database, slug=slug, name=name, tenant_id=tenant_id, parent_id=parent_id) as tx:
        return tx.tenant_id


@asynccontextmanager
async def founding(
    database: Database,
    *,
    slug: str,
    name: str,
    tenant_id: UUID | None = None,
    parent_id: UUID | None = None,
    operator: str | None = None,
) -> AsyncIterator[Tx]:
    """The first transaction of a new active tenant: what the caller adds in it is there with the tenant, or neither is.

    Raises `invalid_slug`, `invalid_name`; of the parent `tenant_not_found`, `parent_closes`. The parent's list is
    another tenant's row: it is written when all else is, just before the commit, and a child that a crash left out of
    `tenants` opens to nobody.
    """
    new_id = tenant_id or uuid7()
    slug, name = check_slug(slug), check_tenant_name(name)
    told = {"slug": slug, "name": name}
    async with database.tx(new_id, operator=operator) as tx:
        if parent_id is not None:
            async with database.tx(parent_id) as above:
                if (await get_tenant(above)).status == TenantStatus.CLOSING:
                    raise conflict("parent_closes", "The parent is closing: name another one.", param="parent")
        tx.add(Tenant(id=new_id, tenant_id=new_id, slug=slug, name=name, parent_id=parent_id))
        tx.emit("tenant.created", new_id, told)
        await tx.flush()
        yield tx
        await tx.flush()
        if parent_id is not None:
            async with database.tx(parent_id, operator=operator) as above:
                above.add(ChildTenant(tenant_id=parent_id, id=new_id, slug=slug, name=name))
                above.emit("tenant.child_added", new_id, told)


async def get_tenant(tx: Tx) -> Tenant:
    """The transaction's tenant. Raises `tenant_not_found`."""
    tenant = await repository.own_tenant(tx)
    if tenant is None:
        raise not_found("tenant", encode_id("ten", tx.tenant_id))
    return tenant


async def list_children(tx: Tx, cursor: Cursor) -> Slice[ChildTenant]:
    """One page of the tenants below this one, newest first."""
    return cursor.cut(await repository.children(tx, cursor))


async def set_status(tx: Tx, status: TenantStatus, *, reason: str | None = None) -> Tenant:
    """Suspend or reactivate the transaction's tenant; orders obey at once (`tenancy_status()`).

    Reactivating takes back that it closes. Raises `tenant_closes` for suspending one that does: that would, too.
    """
    tenant = await _held(tx)
    if status is TenantStatus.SUSPENDED and tenant.status == TenantStatus.CLOSING:
        raise conflict("tenant_closes", "The tenant is closing, which takes more from it: reactivate it first.")
    if tenant.status != status:
        tenant.status = status
        tenant.closes_at = None
        tx.emit("tenant.status_changed", tenant.id, {"status": status.value} | _because(reason))
        await tx.flush()
    return tenant


async def close_tenant(
    tx: Tx,
    *,
    credentials: Credentials,
    tokens: Tokens,
    holdings: Holdings,
    now: datetime,
    reason: str | None = None,
) -> Tenant:
    """Begin to close the tenant, as an owner who has just proved who he is, or as the operator; its keys, applications
    and all that these were granted end with it.

    Raises `owner_needed`, `login_needed`, `insufficient_user_authentication`, `tenant_holds_positions`. A second time
    changes nothing.
    """
    if tx.operator is None:
        await owner_of(tx)
        check_recent_login(tx.principal.auth_time if tx.principal else None, now=now)
    tenant = await _held(tx)
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
    tx.emit("tenant.closing", tenant.id, {"closes_at": format_time(tenant.closes_at)} | ended | _because(reason))
    await tx.flush()
    return tenant


async def _held(tx: Tx) -> Tenant:
    """The tenant as it stays until `tx` ends."""
    await repository.lock_people(tx)
    tenant = await get_tenant(tx)
    await tx.session.refresh(tenant)
    return tenant


def _because(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"reason": reason}


async def tenant_ids(database: Database) -> list[UUID]:
    """Every tenant, for jobs that serve them in turn (role `dispatch`)."""
    return await repository.all_ids(database.dispatch)
