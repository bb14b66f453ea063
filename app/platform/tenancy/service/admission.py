"""Decides, for every request, whether its caller may: gathers what `domain.may` asks for, and resolves act-as grants.

Nothing is kept between requests: who was suspended or demoted a moment ago is refused now. A key that no person
answers for, reading or on the order path, costs no query.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import asyncpg

from app.infra.database import Database, Tx
from app.kernel.errors import DomainError, Kind
from app.kernel.principal import Principal
from app.platform.tenancy import repository
from app.platform.tenancy.domain import NOT_DELEGABLE, MemberStatus, Standing, TenantStatus, may
from app.platform.tenancy.ports import Entitlements
from app.platform.tenancy.service.roles import permissions_of
from app.platform.tenancy.tables import RoleRow

_UNQUESTIONED = Standing(TenantStatus.ACTIVE)


class Admission:
    """Implements `web.context.Admission`."""

    def __init__(self, database: Database, entitlements: Entitlements) -> None:
        self._database = database
        self._entitlements = entitlements

    async def check(self, principal: Principal, permissions: Sequence[str], *, exits: bool, now: datetime) -> None:
        """Raises the first reason of `domain.may` against any of `permissions`."""
        known = not principal.scopes.issuperset(permissions)  # the answer, without asking
        standing = _UNQUESTIONED if known else await self._standing(principal, permissions, exits=exits)
        for permission in permissions:
            unentitled = None
            if not known and not exits:
                unentitled = await self._entitlements.refusal(principal.tenant_id, permission, principal.mode, now=now)
            refused = may(permission, scopes=principal.scopes, standing=standing, unentitled=unentitled, exits=exits)
            if refused is not None:
                raise refused

    async def act_as(self, principal: Principal, grant_id: UUID, *, now: datetime) -> Principal:
        """The caller in the child's place. Raises `missing_scope`, `grant_not_in_force`: never why, nor for whom."""
        if "tenants:act_as" not in principal.scopes:
            raise DomainError("missing_scope", Kind.FORBIDDEN, "The key lacks the scope tenants:act_as.")
        child = None
        if principal.user_id is not None:
            child = await repository.acting(
                self._database.pool,
                parent=principal.tenant_id,
                grant_id=grant_id,
                user_id=principal.user_id,
                mode=principal.mode.value,
                now=now,
            )
        if child is None:
            raise DomainError(
                "grant_not_in_force",
                Kind.FORBIDDEN,
                "No such grant of yours is in force: open one (POST /v1/act_as_grants).",
                param="Mandi-Act-As",
            )
        await self.check(principal, ("tenants:act_as",), exits=False, now=now)
        return replace(
            principal,
            tenant_id=child,
            scopes=principal.scopes - NOT_DELEGABLE,
            home_tenant_id=principal.tenant_id,
            grant_id=grant_id,
        )

    async def _standing(self, principal: Principal, permissions: Sequence[str], *, exits: bool) -> Standing:
        state_matters = not exits and not _only_read(tuple(permissions))
        if principal.user_id is None and not state_matters:
            return _UNQUESTIONED
        row = await repository.standing(
            self._database.pool,
            home=principal.home_tenant_id or principal.tenant_id,
            user_id=principal.user_id,
            tenant_id=principal.tenant_id,
        )
        status = TenantStatus(row["tenant_status"] or TenantStatus.SUSPENDED)
        if principal.user_id is None:
            return Standing(status)
        return Standing(status, _permitted(row))


@dataclass(frozen=True, slots=True)
class ActiveMember:
    """A person in a tenant as they are now. `permissions`: what a consent may grant at most; a credential is held to
    them again on every request."""

    email: str
    permissions: frozenset[str]


async def active_member(tx: Tx, user_id: UUID) -> ActiveMember | None:
    """The member of the transaction's tenant who is this person; None once they were suspended or removed."""
    member = await repository.member_by_user(tx, user_id)
    if member is None or member.status != MemberStatus.ACTIVE:
        return None
    custom = None if member.role_id is None else await tx.get(RoleRow, member.role_id)
    permissions = permissions_of(member.role, None if custom is None else custom.permissions)
    return ActiveMember(member.email, permissions)


@lru_cache(maxsize=1_000)
def _only_read(permissions: tuple[str, ...]) -> bool:
    return all(permission.endswith(":read") for permission in permissions)


def _permitted(row: asyncpg.Record) -> frozenset[str]:
    active = row["member_status"] == "active"
    return permissions_of(row["member_role"] if active else None, row["permissions"])
