"""Decides how the people of a tenant change: role, suspension, leaving. One owner always remains."""

from datetime import datetime
from uuid import UUID

from app.infra.database import Tx
from app.kernel.errors import DomainError, Kind, conflict, not_found
from app.kernel.ids import encode_id
from app.platform.tenancy import repository
from app.platform.tenancy.domain import (
    Action,
    MemberStatus,
    Role,
    check_owner_remains,
    check_within,
    normal_email,
)
from app.platform.tenancy.ports import Tokens
from app.platform.tenancy.service.approvals import execute
from app.platform.tenancy.service.roles import assigned, held, resolve
from app.platform.tenancy.tables import Member
from app.web.cursors import Cursor, Slice

MEMBER = "mem"


async def add_member(
    tx: Tx, *, email: str, role: Role, user_id: UUID | None = None, role_id: UUID | None = None
) -> Member:
    """A new member, without a login unless `user_id` says whose. Raises `invalid_email`, `member_exists`.

    For the platform's own work and for accepted invitations: no route leads here without one.
    """
    normal = normal_email(email)
    await repository.lock_people(tx)
    known = await check_no_member(tx, normal)
    if user_id is not None and await repository.member_by_user(tx, user_id) is not None:
        raise conflict("member_exists", "This person is a member already, under another address.", param="email")
    member = known or Member(tenant_id=tx.tenant_id, email=normal, role=role.value)
    member.role, member.role_id, member.user_id = role.value, role_id, user_id
    member.status = MemberStatus.ACTIVE.value
    tx.add(member)
    tx.emit("member.added", member.id, {"role": role.value})
    await tx.flush()
    return member


async def check_no_member(tx: Tx, email: str) -> Member | None:
    """The row of one who left, if there is one. Raises `member_exists`."""
    known = await repository.member_by_email(tx, email)
    if known is not None and known.status != MemberStatus.REMOVED:
        raise conflict("member_exists", f"{email!r} is a member already.", param="email")
    return known


async def list_members(tx: Tx, cursor: Cursor) -> Slice[Member]:
    """One page of the tenant's members, newest first."""
    return cursor.cut(await repository.members(tx, cursor))


async def get_member(tx: Tx, member_id: UUID) -> Member:
    """Raises `member_not_found`."""
    member = await tx.get(Member, member_id)
    if member is None or member.status == MemberStatus.REMOVED:
        raise not_found("member", encode_id(MEMBER, member_id))
    return member


async def held_member(tx: Tx, member_id: UUID) -> Member:
    """The member as he stays until `tx` ends: whoever else changes people waits. Raises `member_not_found`."""
    await repository.lock_people(tx)
    return await get_member(tx, member_id)


async def change_role(tx: Tx, member_id: UUID, role: str, *, now: datetime, approval_id: UUID | None = None) -> Member:
    """Give a member another role, by its name in the API. Making somebody owner takes a second person's approval.

    Raises `member_not_found`, `unknown_role`, `role_not_found`, `role_beyond_caller`, `last_owner`, and what
    `approvals.execute` says.
    """
    member = await _locked(tx, member_id)
    wanted = await resolve(tx, role)
    check_within(wanted.permissions, await held(tx))
    if (member.role, member.role_id) == (wanted.role.value, wanted.role_id):
        return member
    if wanted.role is Role.OWNER:
        payload = {"member_id": encode_id(MEMBER, member.id)}
        await execute(tx, approval_id, Action.MAKE_OWNER, payload, now=now)
    else:
        await _check_owner_remains(tx, member)
    before = await assigned(tx, member.role, member.role_id)
    member.role, member.role_id = wanted.role.value, wanted.role_id
    tx.emit("member.role_changed", member.id, {"from": before.name, "to": wanted.name})
    await tx.flush()
    return member


async def suspend_member(tx: Tx, member_id: UUID, *, tokens: Tokens, now: datetime) -> Member:
    """From now on the member, and every key that he made, may do nothing; tokens in his name end for ever.

    Raises `last_owner`, `role_beyond_caller`.
    """
    member = await _locked(tx, member_id)
    if member.status != MemberStatus.SUSPENDED:
        await _check_owner_remains(tx, member)
        member.status = MemberStatus.SUSPENDED.value
        await _end_tokens(tx, member, tokens, now)
        tx.emit("member.suspended", member.id, {})
        await tx.flush()
    return member


async def reactivate_member(tx: Tx, member_id: UUID) -> Member:
    """Undo a suspension."""
    member = await _locked(tx, member_id)
    if member.status != MemberStatus.ACTIVE:
        member.status = MemberStatus.ACTIVE.value
        tx.emit("member.reactivated", member.id, {})
        await tx.flush()
    return member


async def remove_member(tx: Tx, member_id: UUID, *, tokens: Tokens, now: datetime) -> None:
    """The member is gone; keys that he made and tokens in his name work no more.

    Raises `last_owner`, `role_beyond_caller`.
    """
    member = await _locked(tx, member_id)
    await _check_owner_remains(tx, member)
    await _end_tokens(tx, member, tokens, now)
    tx.emit("member.removed", member.id, {"role": (await assigned(tx, member.role, member.role_id)).name})
    member.status, member.user_id = MemberStatus.REMOVED.value, None
    member.role, member.role_id = Role.READ_ONLY.value, None
    await tx.flush()


async def owner_of(tx: Tx) -> Member:
    """The caller as an active owner of the transaction's tenant. Raises `owner_needed`."""
    who = tx.principal
    member = None
    if who is not None and who.user_id is not None and who.home_tenant_id is None:
        member = await repository.member_by_user(tx, who.user_id)
    if member is None or member.role != Role.OWNER or member.status != MemberStatus.ACTIVE:
        raise DomainError("owner_needed", Kind.FORBIDDEN, "Only an owner in person does this: log in as one.")
    return member


async def _locked(tx: Tx, member_id: UUID) -> Member:
    """The member, once no other change of the tenant's people is under way, when the caller has all that he may do."""
    member = await held_member(tx, member_id)
    check_within((await assigned(tx, member.role, member.role_id)).permissions, await held(tx), param="id")
    return member


async def _end_tokens(tx: Tx, member: Member, tokens: Tokens, now: datetime) -> None:
    if member.user_id is not None:
        await tokens.end_person(tx, member.user_id, now=now)


async def _check_owner_remains(tx: Tx, member: Member) -> None:
    check_owner_remains(await repository.active_owners(tx), member.id)
