"""Decides, for every request, whether its caller may: gathers what `domain.may` asks for, and resolves act-as grants.

Nothing is kept between requests: who was suspended or demoted a moment ago is refused now. A key that no person
answers for, reading or on the order path, costs no query.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import asyncpg

from app.infra.database import Database
from app.kernel.errors import DomainError, Kind
from app.kernel.principal import Principal
from app.platform.tenancy import repository
from app.platform.tenancy.domain import NOT_DELEGABLE, Standing, TenantStatus, may
from app.platform.tenancy.ports import Entitlements
from app.platform.tenancy.service.roles import permissions_of

_UNQUESTIONED = Standing(TenantStatus.ACTIVE)


class Admission:
    """Implements `web.context.Admission`."""

    def __init__(self, database: Database, entitlements: Entitlements) -> None:
        self._database = database
        self._entitlements = entitlements

    async def check(self, principal: Principal, permissions: Sequence[str], *, exits: bool, now: datetime) -> None:
        """Raises the first reason of `domain.may` against any of `permissions`."""
        if not principal.scopes.issuperset(permissions):  # the answer is known without asking
            standing, lacking = _UNQUESTIONED, frozenset[str]()
        else:
            standing = await self._standing(principal, permissions, exits=exits)
            lacking = frozenset(await self._entitlements.lacking(principal.tenant_id, permissions, now=now))
        for permission in permissions:
            refused = may(permission, scopes=principal.scopes, standing=standing, lacking=lacking, exits=exits)
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
        state_matters = not exits and not all(permission.endswith(":read") for permission in permissions)
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


async def member_permissions(database: Database, tenant_id: UUID, user_id: UUID) -> frozenset[str]:
    """What the person may do in the tenant at this moment; nothing when he is no active member of it.

    What a consent may grant at most. A credential is held to it again on every request.
    """
    return _permitted(await repository.standing(database.pool, home=tenant_id, user_id=user_id, tenant_id=tenant_id))


def _permitted(row: asyncpg.Record) -> frozenset[str]:
    active = row["member_status"] == "active"
    return permissions_of(row["member_role"] if active else None, row["permissions"])
