"""Decides what can be done with a tenant: create it, read it, suspend it, add and list its members."""

from uuid import UUID

from app.infra.database import Database, Tx
from app.kernel.errors import conflict, not_found
from app.kernel.ids import encode_id, uuid7
from app.platform.tenancy import repository
from app.platform.tenancy.domain import Role, TenantStatus, check_slug, normal_email
from app.platform.tenancy.tables import Member, Tenant
from app.web.cursors import Cursor, Slice


async def create_tenant(database: Database, *, slug: str, name: str, tenant_id: UUID | None = None) -> UUID:
    """A new active tenant, in a transaction of its own; its id. Raises `invalid_slug`.

    Only the platform's operator does this: no route leads here. A seed that must be repeatable passes `tenant_id`.
    """
    new_id = tenant_id or uuid7()
    async with database.tx(new_id) as tx:
        tx.add(Tenant(id=new_id, tenant_id=new_id, slug=check_slug(slug), name=name))
        tx.emit("tenant.created", new_id, {"slug": slug, "name": name})
    return new_id


async def get_tenant(tx: Tx) -> Tenant:
    """The transaction's tenant. Raises `tenant_not_found`."""
    tenant = await repository.own_tenant(tx)
    if tenant is None:
        raise not_found("tenant", encode_id("ten", tx.tenant_id))
    return tenant


async def set_status(tx: Tx, status: TenantStatus) -> Tenant:
    """Suspend or reactivate the transaction's tenant; orders obey at once (`tenancy_status()`)."""
    tenant = await get_tenant(tx)
    if tenant.status != status:
        tenant.status = status
        tx.emit("tenant.status_changed", tenant.id, {"status": status.value})
    return tenant


async def add_member(tx: Tx, *, email: str, role: Role) -> Member:
    """A new member, without a login yet. Raises `invalid_email`, `member_exists`."""
    normal = normal_email(email)
    if await repository.member_by_email(tx, normal) is not None:
        raise conflict("member_exists", f"{normal!r} is a member already.", param="email")
    member = Member(tenant_id=tx.tenant_id, email=normal, role=role.value)
    tx.add(member)
    tx.emit("member.added", member.id, {"role": role.value})
    await tx.flush()
    return member


async def list_members(tx: Tx, cursor: Cursor) -> Slice[Member]:
    """One page of the tenant's members, newest first."""
    return cursor.cut(await repository.members(tx, cursor))


async def tenant_ids(database: Database) -> list[UUID]:
    """Every tenant, for jobs that serve them in turn (role `dispatch`)."""
    return await repository.all_ids(database.dispatch)
