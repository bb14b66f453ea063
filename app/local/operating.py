"""Decides what the platform's operator does with tenants: which services, in which transactions, under whose name.

Each action is one transaction of the tenant's, with the rights of the application and no more; its events name the
operator. Nothing here is reachable over HTTP.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.bootstrap import App, open_people
from app.infra.database import Tx
from app.kernel.ids import encode_id
from app.platform.identity.service import PERMISSIONS, TenantKeys, create_key
from app.platform.oauth.service import Endings, Revocations
from app.platform.people.service import InvitationMail
from app.platform.plans.domain import Override
from app.platform.plans.service import (
    Snapshot,
    Usage,
    assign_plan,
    entitlements,
    mark_paid,
    mark_past_due,
    set_add_on,
    set_override,
    usage_of,
)
from app.platform.tenancy.domain import Role, TenantStatus
from app.platform.tenancy.service import (
    ListedTenant,
    PeopleCount,
    check_slug_free,
    close_tenant,
    count_people,
    create_invitation,
    find_tenant,
    founding,
    newest_tenants,
    set_status,
)
from app.trading.orders.service.reading import TenantHoldings


@dataclass(frozen=True, slots=True)
class NewTenant:
    """What to create. With `owner_email` a person is invited, without the tenant gets a first API key."""

    slug: str
    name: str
    parent: str | None = None
    plan: str | None = None
    owner_email: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """The new tenant. `api_key` is told this once."""

    tenant: ListedTenant
    plan: str
    api_key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one tenant that its operator decides on."""

    tenant: ListedTenant
    parent: ListedTenant | None
    people: PeopleCount
    entitled: Snapshot
    usage: Sequence[Usage]


@dataclass(frozen=True, slots=True)
class Changed:
    """The tenant after a change. `changed` False: it was so already, and nothing was written.

    `read_only_at`: when a missing payment takes trading away. `tokens_ended` False: Redis did not answer, so access
    tokens of a tenant that closes end by themselves, within minutes.
    """

    tenant: ListedTenant
    changed: bool = True
    read_only_at: datetime | None = None
    tokens_ended: bool = True


async def newest(app: App, limit: int) -> list[tuple[ListedTenant, Snapshot]]:
    """The newest tenants and what they are entitled to."""
    found = []
    for tenant in await newest_tenants(app.database, limit):
        async with app.database.tx(tenant.id) as tx:
            found.append((tenant, await entitlements(tx, now=app.clock())))
    return found


async def report(app: App, named: str) -> Report:
    """Everything about one."""
    tenant, now = await find_tenant(app.database, named), app.clock()
    parent = None if tenant.parent_id is None else await _listed(app, tenant.parent_id)
    async with app.database.tx(tenant.id) as tx:
        people, snapshot = await count_people(tx, now=now), await entitlements(tx, now=now)
    return Report(tenant, parent, people, snapshot, usage_of(snapshot))


async def find(app: App, named: str) -> ListedTenant:
    """The one that is meant."""
    return await find_tenant(app.database, named)


async def _listed(app: App, tenant_id: UUID) -> ListedTenant:
    return await find_tenant(app.database, encode_id("ten", tenant_id))


class Operator:
    """The operator `name` at work: everything that he changes. Tenants are named by slug or id."""

    def __init__(self, app: App, name: str) -> None:
        self._app = app
        self._name = name

    def now(self) -> datetime:
        return self._app.clock()

    async def create(self, asked: NewTenant) -> Created:
        """All of it, or nothing. Raises what `founding` says, `slug_taken`, `plan_not_found`, `invalid_email`."""
        database, now = self._app.database, self._app.clock()
        await check_slug_free(database, asked.slug)
        parent = None if asked.parent is None else await find_tenant(database, asked.parent, param="parent")
        parent_id = None if parent is None else parent.id
        async with founding(database, slug=asked.slug, name=asked.name, parent_id=parent_id, operator=self._name) as tx:
            if asked.plan is not None:
                await assign_plan(tx, asked.plan, reason="the tenant was created with it", now=now)
            secret = None
            if asked.owner_email is None:
                cell = self._app.settings.cell
                secret = (await create_key(tx, name="first key", scopes=list(PERMISSIONS), cell=cell, now=now)).secret
            else:
                await self._invite(tx, asked.owner_email, now=now)
            plan, tenant_id = (await entitlements(tx, now=now)).plan_code, tx.tenant_id
        return Created(await _listed(self._app, tenant_id), plan, secret)

    async def set_status(self, named: str, status: TenantStatus, *, reason: str) -> Changed:
        """Suspend or reactivate. Raises `tenant_closes`."""
        async with self._working(named) as (before, tx):
            await set_status(tx, status, reason=reason)
        return Changed(await _listed(self._app, before.id), before.status != status)

    async def close(self, named: str, *, reason: str) -> Changed:
        """Begin to close. Raises `tenant_holds_positions`."""
        revocations = Revocations(self._app.redis)
        async with self._working(named) as (before, tx):
            await close_tenant(
                tx,
                credentials=TenantKeys(),
                tokens=Endings(revocations),
                holdings=TenantHoldings(),
                now=self._app.clock(),
                reason=reason,
            )
        told = await revocations.publish(())  # tries once more what could not be told right after the commit
        return Changed(await _listed(self._app, before.id), before.status != TenantStatus.CLOSING, tokens_ended=told)

    async def assign_plan(self, named: str, plan: str, *, reason: str) -> Changed:
        """Give the newest version of a plan. Raises `plan_not_found`."""
        async with self._working(named) as (tenant, tx):
            await assign_plan(tx, plan, reason=reason, now=self._app.clock())
        return Changed(tenant)

    async def set_add_on(self, named: str, add_on: str, units: int, *, reason: str) -> Changed:
        """Give so many units, 0 for none. Raises `unknown_add_on`."""
        async with self._working(named) as (tenant, tx):
            await set_add_on(tx, add_on, units, reason=reason, now=self._app.clock())
        return Changed(tenant)

    async def set_override(self, named: str, key: str, override: Override | None, *, reason: str) -> Changed:
        """Set an exception, or with None end it. Raises `invalid_override`, `override_not_set`."""
        async with self._working(named) as (tenant, tx):
            await set_override(tx, key, override, reason=reason, now=self._app.clock())
        return Changed(tenant)

    async def mark_payment(self, named: str, *, past_due_since: datetime | None) -> Changed:
        """A payment is missing since then; None: nothing is owed."""
        now = self._app.clock()
        async with self._working(named) as (tenant, tx):
            before = await entitlements(tx, now=now)
            if (before.past_due_since is None) == (past_due_since is None):
                return Changed(tenant, changed=False, read_only_at=before.read_only_at)
            if past_due_since is None:
                return Changed(tenant, read_only_at=(await mark_paid(tx, now=now)).read_only_at)
            return Changed(tenant, read_only_at=(await mark_past_due(tx, past_due_since, now=now)).read_only_at)

    async def invite_owner(self, named: str, email: str, *, reason: str) -> Changed:
        """Invite an owner; an invitation of the same address that is pending ends. Raises `member_exists`."""
        async with self._working(named) as (tenant, tx):
            await self._invite(tx, email, now=self._app.clock(), reason=reason)
        return Changed(tenant)

    async def _invite(self, tx: Tx, email: str, *, now: datetime, reason: str | None = None) -> None:
        """Write the invitation and its letter; a gateway mails it. Raises `SettingsError` where none could."""
        async with open_people(self._app, Endings(Revocations(self._app.redis))) as opened:
            inviter = InvitationMail(opened.people)
            await create_invitation(tx, email=email, role=Role.OWNER, inviter=inviter, now=now, reason=reason)

    @asynccontextmanager
    async def _working(self, named: str) -> AsyncIterator[tuple[ListedTenant, Tx]]:
        tenant = await find_tenant(self._app.database, named)
        async with self._app.database.tx(tenant.id, operator=self._name) as tx:
            yield tenant, tx
