"""Decides who may act for another tenant: a person of its parent, for a reason, an hour at most, seen by both sides.

Isolation is not widened: whoever acts works in the child's own transactions, and nothing reads two tenants at once.
"""

from datetime import datetime
from uuid import UUID

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, not_found
from app.kernel.ids import encode_id, uuid7
from app.kernel.orders import Mode
from app.platform.tenancy import repository
from app.platform.tenancy.domain import Action, check_act_as, check_recent_login
from app.platform.tenancy.service.approvals import execute
from app.platform.tenancy.tables import ActAsGrant, ChildTenant
from app.web.cursors import Cursor, Slice

GRANT = "act"
TENANT = "ten"


async def open_grant(
    tx: Tx, child_id: UUID, *, reason: str, minutes: int, now: datetime, approval_id: UUID | None = None
) -> ActAsGrant:
    """Let the caller act for a tenant below his own, in the mode of his credential. Live takes a recent login and
    a second person.

    Raises `tenant_not_found`, `person_needed`, `reason_required`, `grant_too_long`, `login_needed`,
    `insufficient_user_authentication` and what `approvals.execute` says.
    """
    if await tx.get(ChildTenant, child_id) is None:
        raise not_found("tenant", encode_id(TENANT, child_id))
    who = tx.principal
    if who is None or who.user_id is None:
        raise DomainError(
            "person_needed", Kind.FORBIDDEN, "Only a person acts for a tenant: log in, or use a key that you made."
        )
    length = check_act_as(reason, minutes)
    if who.mode is Mode.LIVE:
        check_recent_login(who.auth_time, now=now)
        payload = {"tenant_id": encode_id(TENANT, child_id), "reason": reason}
        await execute(tx, approval_id, Action.ACT_AS_LIVE, payload, now=now)
    grant_id = uuid7()
    opened = await repository.open_grant(
        tx,
        child=child_id,
        grant=grant_id,
        mode=who.mode.value,
        reason=reason,
        user=who.user_id,
        key=who.key_id,
        approval=approval_id if who.mode is Mode.LIVE else None,
        now=now,
        until=now + length,
        source_ip=who.source_ip,
        request_id=who.request_id,
    )
    if not opened:
        raise not_found("tenant", encode_id(TENANT, child_id))
    return await get_grant(tx, grant_id)


async def end_grant(tx: Tx, grant_id: UUID, *, now: datetime) -> ActAsGrant:
    """End it on both sides, whichever the caller is on; a second time changes nothing. Raises `grant_not_found`."""
    row = await get_grant(tx, grant_id)
    who = tx.principal
    await repository.end_grant(
        tx,
        grant=grant_id,
        now=now,
        user=who.user_id if who else None,
        key=who.key_id if who else None,
        request_id=who.request_id if who else None,
    )
    await tx.session.refresh(row)
    return row


async def get_grant(tx: Tx, grant_id: UUID) -> ActAsGrant:
    """Raises `grant_not_found`."""
    row = await tx.get(ActAsGrant, grant_id)
    if row is None:
        raise not_found("grant", encode_id(GRANT, grant_id))
    return row


async def list_grants(tx: Tx, cursor: Cursor) -> Slice[ActAsGrant]:
    """One page of the grants that this tenant has a side of, newest first."""
    return cursor.cut(await repository.grants(tx, cursor))
