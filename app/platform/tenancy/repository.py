"""Decides how tenants, their people and what these decided are read, and in which order rows are locked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlmodel import col, select

from app.infra.clearing import Outdated
from app.infra.database import Tx
from app.platform.tenancy.tables import ActAsGrant, Approval, ChildTenant, Invitation, Member, RoleRow, Tenant
from app.web.cursors import Cursor

OUTDATED = (
    Outdated(
        "invitations",
        """DELETE FROM invitations WHERE (tenant_id, id) IN
        (SELECT tenant_id, id FROM invitations WHERE expires_at <= $1 LIMIT $2)""",
        kept=timedelta(days=90),
    ),
)
"""What has run out here; events tell of it for longer."""

_STANDING = "SELECT * FROM tenancy_standing($1, $2, $3)"
_ACTING = "SELECT tenancy_acting($1, $2, $3, $4, $5)"
_INVITATION = "SELECT * FROM tenancy_invitation($1)"
_LOCK = text("SELECT 1 FROM tenants WHERE tenant_id = :tenant FOR NO KEY UPDATE")
_OPEN_GRANT = text(
    "SELECT tenancy_open_grant(:child, :grant, :mode, :reason, :user, :key, :approval, :now, :until, :source_ip,"
    " :request_id)"
)
_LISTED = "select id, slug, name, status, parent_id, closes_at, created_at from tenants"
_NAMED = f"{_LISTED} where slug = $1 or tenant_id = $2 order by created_at"
_NEWEST = f"{_LISTED} order by created_at desc, tenant_id limit $1"
_COUNT_PEOPLE = text(
    """
    SELECT count(*) FILTER (WHERE status = 'active') AS active,
           count(*) FILTER (WHERE status = 'suspended') AS suspended,
           count(*) FILTER (WHERE status = 'active' AND role = 'owner') AS owners,
           (SELECT count(*) FROM invitations i WHERE i.tenant_id = :tenant AND i.accepted_at IS NULL
            AND i.revoked_at IS NULL AND i.expires_at > :now) AS invited
    FROM members WHERE tenant_id = :tenant
    """
)
_END_GRANT = text("SELECT tenancy_end_grant(:grant, :now, :user, :key, :request_id)")


async def own_tenant(tx: Tx) -> Tenant | None:
    return await tx.get(Tenant, tx.tenant_id)


async def lock_people(tx: Tx) -> None:
    """Take the tenant's turn: changes of its members, roles and invitations come one after another. Read after it."""
    await tx.execute(_LOCK, {"tenant": tx.tenant_id})


async def page(tx: Tx, model: type[Any], cursor: Cursor) -> Sequence[Any]:
    """One row more than the page."""
    statement = select(model).where(model.tenant_id == tx.tenant_id)
    return (await tx.scalars(cursor.apply(cast(Any, statement), model.id))).all()


async def members(tx: Tx, cursor: Cursor) -> Sequence[Member]:
    statement = select(Member).where(col(Member.tenant_id) == tx.tenant_id, col(Member.status) != "removed")
    return (await tx.scalars(cursor.apply(cast(Any, statement), col(Member.id)))).all()


async def roles(tx: Tx, cursor: Cursor) -> Sequence[RoleRow]:
    statement = select(RoleRow).where(col(RoleRow.tenant_id) == tx.tenant_id, col(RoleRow.deleted_at).is_(None))
    return (await tx.scalars(cursor.apply(cast(Any, statement), col(RoleRow.id)))).all()


async def invitations(tx: Tx, cursor: Cursor) -> Sequence[Invitation]:
    return await page(tx, Invitation, cursor)


async def approvals(tx: Tx, cursor: Cursor) -> Sequence[Approval]:
    return await page(tx, Approval, cursor)


async def grants(tx: Tx, cursor: Cursor) -> Sequence[ActAsGrant]:
    return await page(tx, ActAsGrant, cursor)


async def children(tx: Tx, cursor: Cursor) -> Sequence[ChildTenant]:
    return await page(tx, ChildTenant, cursor)


async def _one(tx: Tx, statement: Any) -> Any:
    return (await tx.scalars(statement.execution_options(populate_existing=True))).one_or_none()


async def member_by_email(tx: Tx, email: str) -> Member | None:
    """Also one who was removed."""
    statement = select(Member).where(col(Member.tenant_id) == tx.tenant_id, col(Member.email) == email)
    return cast(Member | None, await _one(tx, statement))


async def member_by_user(tx: Tx, user_id: UUID) -> Member | None:
    statement = select(Member).where(col(Member.tenant_id) == tx.tenant_id, col(Member.user_id) == user_id)
    return cast(Member | None, await _one(tx, statement))


async def active_owners(tx: Tx) -> list[UUID]:
    """Ids of the members who own the tenant at this moment."""
    statement = select(col(Member.id)).where(
        col(Member.tenant_id) == tx.tenant_id, col(Member.role) == "owner", col(Member.status) == "active"
    )
    return list((await tx.scalars(statement)).all())


async def role_by_name(tx: Tx, name: str) -> RoleRow | None:
    statement = select(RoleRow).where(
        col(RoleRow.tenant_id) == tx.tenant_id, col(RoleRow.name) == name, col(RoleRow.deleted_at).is_(None)
    )
    return cast(RoleRow | None, await _one(tx, statement))


async def role_in_use(tx: Tx, role_id: UUID) -> bool:
    """Whether a member has the role, or a pending invitation names it."""
    held = select(Member).where(col(Member.tenant_id) == tx.tenant_id, col(Member.role_id) == role_id)
    promised = _pending(tx).where(col(Invitation.role_id) == role_id)
    for statement in (held, promised):
        if (await tx.scalars(cast(Any, statement).limit(1))).first() is not None:
            return True
    return False


def _pending(tx: Tx) -> Any:
    return select(Invitation).where(
        col(Invitation.tenant_id) == tx.tenant_id,
        col(Invitation.accepted_at).is_(None),
        col(Invitation.revoked_at).is_(None),
    )


async def pending_invitation(tx: Tx, email: str) -> Invitation | None:
    """The address's invitation that was neither accepted nor revoked; it may have expired."""
    return cast(Invitation | None, await _one(tx, _pending(tx).where(col(Invitation.email) == email)))


async def find_invitation(pool: asyncpg.Pool, token_hash: bytes) -> tuple[UUID, UUID] | None:
    """Tenant and id of the invitation with this token, of whatever tenant."""
    row = await pool.fetchrow(_INVITATION, token_hash)
    return None if row is None else (row["tenant_id"], row["id"])


async def lock_approval(tx: Tx, approval_id: UUID) -> Approval | None:
    """The row, held until the end of the transaction: of several deciders each sees what the one before did."""
    statement = (
        select(Approval)
        .where(col(Approval.tenant_id) == tx.tenant_id, col(Approval.id) == approval_id)
        .with_for_update(key_share=True)
    )
    return cast(Approval | None, await _one(tx, statement))


async def standing(pool: asyncpg.Pool, *, home: UUID, user_id: UUID | None, tenant_id: UUID) -> asyncpg.Record:
    """`tenant_status`, and `member_status`, `member_role`, `permissions` of the person in `home`, null for none."""
    return await pool.fetchrow(_STANDING, home, user_id, tenant_id)


async def acting(
    pool: asyncpg.Pool, *, parent: UUID, grant_id: UUID, user_id: UUID, mode: str, now: datetime
) -> UUID | None:
    """The tenant that the grant opens to this person now."""
    found: UUID | None = await pool.fetchval(_ACTING, parent, grant_id, user_id, mode, now)
    return found


async def open_grant(tx: Tx, **values: Any) -> bool:
    """Both sides' rows and events; False when the tenant named is no child."""
    return bool((await tx.execute(_OPEN_GRANT, values)).scalar_one())


async def end_grant(tx: Tx, **values: Any) -> bool:
    """Both sides' rows and events; False when it had ended before."""
    return bool((await tx.execute(_END_GRANT, values)).scalar_one())


@dataclass(frozen=True, slots=True)
class ListedTenant:
    """What the operator reads of a tenant without entering it."""

    id: UUID
    slug: str
    name: str
    status: str
    parent_id: UUID | None
    closes_at: datetime | None
    created_at: datetime


async def tenants_named(dispatch: asyncpg.Pool, slug: str, tenant_id: UUID | None) -> list[ListedTenant]:
    """Those with this slug, or the one with this id, oldest first."""
    return [ListedTenant(**row) for row in await dispatch.fetch(_NAMED, slug, tenant_id)]


async def newest_tenants(dispatch: asyncpg.Pool, limit: int) -> list[ListedTenant]:
    return [ListedTenant(**row) for row in await dispatch.fetch(_NEWEST, limit)]


async def count_people(tx: Tx, now: datetime) -> dict[str, int]:
    """Active and suspended members, active owners, and addresses that are invited at `now`."""
    await tx.flush()
    return dict((await tx.execute(_COUNT_PEOPLE, {"tenant": tx.tenant_id, "now": now})).mappings().one())


async def all_ids(dispatch: asyncpg.Pool) -> list[UUID]:
    return [row["tenant_id"] for row in await dispatch.fetch("select tenant_id from tenants order by tenant_id")]
