"""Decides how a person gets into a tenant: a token for one address, seven days, once. Only the mail ever holds it."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.infra.database import Database, Tx
from app.kernel.errors import DomainError, Kind, conflict, not_found
from app.kernel.ids import encode_id
from app.platform.tenancy import repository
from app.platform.tenancy.domain import (
    INVITATION_LIFE,
    Role,
    check_open,
    check_within,
    hash_token,
    normal_email,
)
from app.platform.tenancy.ports import InvitationLetter, Inviter
from app.platform.tenancy.service.members import add_member, check_no_member
from app.platform.tenancy.service.roles import assigned, held, resolve
from app.platform.tenancy.service.tenants import get_tenant
from app.platform.tenancy.tables import Invitation
from app.web.cursors import Cursor, Slice

INVITATION = "inv"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The membership that an invitation became."""

    tenant_id: UUID
    member_id: UUID


async def create_invitation(
    tx: Tx, *, email: str, role: str, inviter: Inviter, now: datetime, reason: str | None = None
) -> Invitation:
    """Invite an address. Only the operator invites owners, and his invitation takes the place of one that is pending.

    Raises `member_exists`, `invitation_pending`, `owner_by_approval` and what roles say.
    """
    normal = normal_email(email)
    await repository.lock_people(tx)
    wanted = await resolve(tx, role)
    if wanted.role is Role.OWNER and tx.operator is None:
        raise DomainError(
            "owner_by_approval",
            Kind.FORBIDDEN,
            "Nobody is invited as owner: invite with another role, then change it, which takes two people.",
            param="role",
        )
    check_within(wanted.permissions, await held(tx))
    await check_no_member(tx, normal)
    pending = await repository.pending_invitation(tx, normal)
    if pending is not None:
        if pending.expires_at > now and tx.operator is not None:
            tx.emit("invitation.revoked", pending.id, {})
        elif pending.expires_at > now:
            where = f"POST /v1/invitations/{encode_id(INVITATION, pending.id)}/resend"
            raise conflict(
                "invitation_pending", f"{normal!r} is invited already; {where} sends it again.", param="email"
            )
        pending.revoked_at = now
        await tx.flush()
    who = tx.principal
    token = _new_token()
    row = Invitation(
        tenant_id=tx.tenant_id,
        email=normal,
        role=wanted.role.value,
        role_id=wanted.role_id,
        token_hash=hash_token(token),
        invited_by_user=who.user_id if who else None,
        invited_by_key=who.key_id if who else None,
        expires_at=now + INVITATION_LIFE,
        sent_at=now,
    )
    tx.add(row)
    because = {} if reason is None else {"reason": reason}
    tx.emit("invitation.created", row.id, {"role": wanted.name} | because)
    await tx.flush()
    await _send(tx, row, token, inviter)
    return row


async def resend_invitation(tx: Tx, invitation_id: UUID, *, inviter: Inviter, now: datetime) -> Invitation:
    """A new letter with a new token and another seven days; the token sent before works no more."""
    row = await _locked(tx, invitation_id)
    check_open(accepted_at=row.accepted_at, revoked_at=row.revoked_at, expires_at=now + INVITATION_LIFE, now=now)
    check_within((await assigned(tx, row.role, row.role_id)).permissions, await held(tx))
    token = _new_token()
    row.token_hash, row.expires_at, row.sent_at = hash_token(token), now + INVITATION_LIFE, now
    tx.emit("invitation.resent", row.id, {})
    await tx.flush()
    await _send(tx, row, token, inviter)
    return row


async def revoke_invitation(tx: Tx, invitation_id: UUID, *, now: datetime) -> Invitation:
    """Close the door; a second time changes nothing. Raises `invitation_used`."""
    row = await _locked(tx, invitation_id)
    if row.accepted_at is not None:
        raise conflict("invitation_used", "This invitation was accepted: remove the member instead.")
    if row.revoked_at is None:
        row.revoked_at = now
        tx.emit("invitation.revoked", row.id, {})
        await tx.flush()
    return row


async def get_invitation(tx: Tx, invitation_id: UUID) -> Invitation:
    """Raises `invitation_not_found`."""
    row = await tx.get(Invitation, invitation_id)
    if row is None:
        raise not_found("invitation", encode_id(INVITATION, invitation_id))
    return row


async def list_invitations(tx: Tx, cursor: Cursor) -> Slice[Invitation]:
    """One page, newest first, used and revoked ones too."""
    return cursor.cut(await repository.invitations(tx, cursor))


async def accept_invitation(database: Database, token: str, *, user_id: UUID, email: str, now: datetime) -> Accepted:
    """Make the person a member, once. `email` is an address that he has proved to be his.

    Called by the pages of people, in transactions of its own. Raises `invitation_not_found` for a token that opens
    nothing; `invitation_used`, `invitation_revoked`, `invitation_expired`, `invitation_for_another`, `member_exists`.
    """
    digest = hash_token(token)
    found = await repository.find_invitation(database.pool, digest)
    if found is None:
        raise DomainError("invitation_not_found", Kind.NOT_FOUND, "This link opens nothing. Ask for a new invitation.")
    tenant_id, invitation_id = found
    async with database.tx(tenant_id) as tx:
        row = await _locked(tx, invitation_id)
        if row.token_hash != digest:  # sent again meanwhile
            raise conflict("invitation_expired", "This invitation was sent again: use the latest link.")
        check_open(accepted_at=row.accepted_at, revoked_at=row.revoked_at, expires_at=row.expires_at, now=now)
        if normal_email(email) != row.email:
            raise DomainError(
                "invitation_for_another",
                Kind.FORBIDDEN,
                "This invitation is for another address: log in with the one that it was sent to.",
            )
        member = await add_member(tx, email=row.email, role=Role(row.role), role_id=row.role_id, user_id=user_id)
        row.accepted_at = now
        tx.emit("invitation.accepted", row.id, {"member_id": encode_id("mem", member.id)})
        await tx.flush()
    return Accepted(tenant_id, member.id)


def _new_token() -> str:
    return f"mandi_inv_{secrets.token_urlsafe(32)}"


async def _locked(tx: Tx, invitation_id: UUID) -> Invitation:
    await repository.lock_people(tx)
    return await get_invitation(tx, invitation_id)


async def _send(tx: Tx, row: Invitation, token: str, inviter: Inviter) -> None:
    tenant = await get_tenant(tx)
    role = (await assigned(tx, row.role, row.role_id)).name
    await inviter.invite(tx, InvitationLetter(row.email, tenant.name, role, row.sent_at, row.expires_at, token))
