"""Decides what a role permits, who may hand it on, and how the tenant's own roles are made, changed and deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.infra.database import Tx
from app.kernel.errors import conflict, invalid, not_found
from app.kernel.ids import decode_id, encode_id
from app.platform.tenancy import repository
from app.platform.tenancy.domain import BUILT_IN, PERMISSIONS, Role, check_permissions, check_within
from app.platform.tenancy.tables import RoleRow
from app.web.cursors import Cursor, Slice

ROLE = "rol"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A role as members and invitations hold it: a built-in one, or `custom` with the row's id."""

    role: Role
    role_id: UUID | None
    permissions: frozenset[str]

    @property
    def name(self) -> str:
        """As the API names it."""
        return role_name(self.role.value, self.role_id)


def role_name(role: str, role_id: UUID | None) -> str:
    """`trader`, or the id of a role of the tenant's own."""
    return role if role_id is None else encode_id(ROLE, role_id)


def permissions_of(role: str | None, custom: Sequence[str] | None) -> frozenset[str]:
    """What a stored role permits, None nothing. `custom` is what the tenant's own one lists."""
    if role is None:
        return frozenset()
    if role == Role.CUSTOM:
        return frozenset(custom or ()) & PERMISSIONS.keys()
    return BUILT_IN[Role(role)]


async def held(tx: Tx) -> frozenset[str]:
    """What the caller may hand on: his credential's scopes, of those his role permits; all for the platform's own work.

    Read in the transaction itself, so that a member who was demoted a moment ago grants nothing more.
    """
    who = tx.principal
    if who is None:
        return frozenset(PERMISSIONS)
    if who.user_id is None or who.home_tenant_id is not None:
        return who.scopes
    member = await repository.member_by_user(tx, who.user_id)
    if member is None or member.status != "active":
        return frozenset()
    return who.scopes & (await assigned(tx, member.role, member.role_id)).permissions


async def assigned(tx: Tx, role: str, role_id: UUID | None) -> Assignment:
    """The stored role of a member or an invitation, with what it permits now."""
    row = None if role_id is None else await tx.get(RoleRow, role_id)
    return Assignment(Role(role), role_id, permissions_of(role, row.permissions if row else None))


async def resolve(tx: Tx, name: str) -> Assignment:
    """The role that the API calls `name`. Raises `unknown_role`, `role_not_found`."""
    if name in BUILT_IN:
        role = Role(name)
        return Assignment(role, None, BUILT_IN[role])
    if not name.startswith(f"{ROLE}_"):
        known = ", ".join(BUILT_IN)
        message = f"{name[:64]!r} is not a role. Roles are {known}, and the ids of your own (GET /v1/roles)."
        raise invalid("unknown_role", message, param="role")
    row = await get_role(tx, decode_id(ROLE, name, param="role"))
    return Assignment(Role.CUSTOM, row.id, permissions_of(Role.CUSTOM, row.permissions))


async def get_role(tx: Tx, role_id: UUID) -> RoleRow:
    """Raises `role_not_found`."""
    row = await tx.get(RoleRow, role_id)
    if row is None or row.deleted_at is not None:
        raise not_found("role", encode_id(ROLE, role_id))
    return row


async def held_role(tx: Tx, role_id: UUID) -> RoleRow:
    """The role as it stays until `tx` ends: whoever else changes people or roles waits. Raises `role_not_found`."""
    await repository.lock_people(tx)
    return await get_role(tx, role_id)


async def list_roles(tx: Tx, cursor: Cursor) -> Slice[RoleRow]:
    """One page of the tenant's own roles, newest first."""
    return cursor.cut(await repository.roles(tx, cursor))


async def create_role(tx: Tx, *, name: str, permissions: Sequence[str]) -> RoleRow:
    """A role of the tenant's own. Raises what `check_permissions` says, and `role_exists`."""
    await repository.lock_people(tx)
    wanted = check_permissions(permissions, await held(tx))
    await _check_name(tx, name)
    row = RoleRow(tenant_id=tx.tenant_id, name=name, permissions=wanted)
    tx.add(row)
    tx.emit("role.created", row.id, {"name": name, "permissions": wanted})
    await tx.flush()
    return row


async def change_role(
    tx: Tx, role_id: UUID, *, name: str | None = None, permissions: Sequence[str] | None = None
) -> RoleRow:
    """Rename a role, or change what all who have it may do. The caller has all that it permits, before and after."""
    row = await held_role(tx, role_id)
    may_hand_on = await held(tx)
    check_within(row.permissions, may_hand_on, param="permissions")
    wanted = row.permissions if permissions is None else check_permissions(permissions, may_hand_on)
    if name is not None and name != row.name:
        await _check_name(tx, name)
        row.name = name
    row.permissions = wanted
    tx.emit("role.changed", row.id, {"name": row.name, "permissions": wanted})
    await tx.flush()
    return row


async def delete_role(tx: Tx, role_id: UUID, *, now: datetime) -> None:
    """Raises `role_not_found`, `role_in_use`."""
    row = await held_role(tx, role_id)
    check_within(row.permissions, await held(tx), param="id")
    if await repository.role_in_use(tx, role_id):
        raise conflict("role_in_use", "Members or pending invitations have this role: give them another one first.")
    tx.emit("role.deleted", row.id, {"name": row.name})
    row.deleted_at = now
    await tx.flush()


async def _check_name(tx: Tx, name: str) -> None:
    if name in {*Role} or name.startswith(f"{ROLE}_"):
        raise invalid("reserved_name", "This name belongs to a built-in role: choose another one.", param="name")
    if await repository.role_by_name(tx, name) is not None:
        raise conflict("role_exists", f"A role {name!r} exists already.", param="name")
