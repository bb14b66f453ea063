"""`/v1/tenant` and what belongs to it: members, roles, invitations, approvals, the tenants below, act-as grants."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Response

from app.infra.database import Tx
from app.kernel.ids import decode_id
from app.platform.tenancy import service
from app.platform.tenancy.ports import Ports
from app.platform.tenancy.schemas import (
    ApprovalOut,
    ChangeMember,
    ChangeRole,
    ChildTenantOut,
    CreateApproval,
    CreateInvitation,
    CreateRole,
    GrantOut,
    InvitationOut,
    MemberOut,
    OpenGrant,
    RejectApproval,
    RoleOut,
    TenantOut,
)
from app.platform.tenancy.service import roles
from app.platform.tenancy.service.acting import GRANT, TENANT
from app.platform.tenancy.service.approvals import APPROVAL
from app.platform.tenancy.service.invitations import INVITATION
from app.platform.tenancy.service.members import MEMBER
from app.platform.tenancy.service.roles import ROLE
from app.web.auth import requires
from app.web.conditional import Expected, Precondition
from app.web.context import now
from app.web.idempotency import idempotent
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

Now = Annotated[datetime, Depends(now)]


async def _ports_of(request: Request) -> Ports:
    """What lies above tenancy, as `main` put it on the app."""
    ports: Ports = request.app.state.tenancy
    return ports


Above = Annotated[Ports, Depends(_ports_of)]


def _needs(permission: str, *, exits: bool = False) -> list[Any]:
    return [Depends(requires(permission, exits=exits))]


def _approval(approval_id: str | None) -> UUID | None:
    return None if approval_id is None else decode_id(APPROVAL, approval_id, param="approval_id")


def tenancy_routes() -> list[ApiRouter]:
    """The routes, in the order of the reference."""
    return [
        _tenant_routes(),
        _member_routes(),
        _role_routes(),
        _invitation_routes(),
        _approval_routes(),
        _tree(),
    ]


def _tenant_routes() -> ApiRouter:
    router = ApiRouter(prefix="/v1", tags=["Tenant"])

    @router.get("/tenant", summary="Retrieve the tenant", dependencies=_needs("tenant:read"))
    async def retrieve_tenant(tx: OpenTx) -> TenantOut:
        """The tenant that the key belongs to, and whether it may trade."""
        return TenantOut.of(await service.get_tenant(tx))

    @router.delete("/tenant", summary="Close the tenant", status_code=202, dependencies=_needs("tenant:delete"))
    async def close_tenant(tx: OpenTx, at: Now, above: Above) -> TenantOut:
        """Begin to close it: its keys, OAuth clients and all tokens end now, yours with them; it is kept for thirty
        days and purged after `closes_at`. An owner in person does this, just after logging in; not while there are
        open positions or orders."""
        closing = await service.close_tenant(
            tx, credentials=above.credentials, tokens=above.tokens, holdings=above.holdings, now=at
        )
        return TenantOut.of(closing)

    return router


def _member_routes() -> ApiRouter:
    router = ApiRouter(prefix="/v1/members", tags=["Tenant"])
    write = _needs("members:write")
    take_away = _needs("members:write", exits=True)

    @router.get("", summary="List members", dependencies=_needs("members:read"))
    async def list_members(tx: OpenTx, page: Paged) -> Page[MemberOut]:
        """The people who work for the tenant, newest first."""
        return Page.of((await service.list_members(tx, page.cursor(MEMBER))).map(MemberOut.of))

    @router.get("/{id}", summary="Retrieve a member", dependencies=_needs("members:read"))
    async def retrieve_member(id: str, tx: OpenTx) -> MemberOut:
        """One person."""
        return MemberOut.of(await service.get_member(tx, decode_id(MEMBER, id)))

    @router.patch("/{id}", summary="Change a member's role", dependencies=write)
    async def change_member(id: str, body: ChangeMember, tx: OpenTx, at: Now, expected: Expected) -> MemberOut:
        """Give another role. You must have all that both roles permit; `owner` takes a second person's approval; the
        last owner stays."""
        member_id = await _known_member(tx, id, expected)
        member = await service.change_role(tx, member_id, body.role, now=at, approval_id=_approval(body.approval_id))
        return MemberOut.of(member)

    @router.post("/{id}/suspend", summary="Suspend a member", dependencies=[*take_away, idempotent])
    async def suspend_member(id: str, tx: OpenTx, at: Now, above: Above, expected: Expected) -> MemberOut:
        """At once the member, and every key that he made, may do nothing; applications lose what he granted them."""
        member_id = await _known_member(tx, id, expected)
        return MemberOut.of(await service.suspend_member(tx, member_id, tokens=above.tokens, now=at))

    @router.post("/{id}/reactivate", summary="Reactivate a member", dependencies=[*write, idempotent])
    async def reactivate_member(id: str, tx: OpenTx, expected: Expected) -> MemberOut:
        """Undo a suspension."""
        return MemberOut.of(await service.reactivate_member(tx, await _known_member(tx, id, expected)))

    @router.delete("/{id}", summary="Remove a member", status_code=204, dependencies=take_away)
    async def remove_member(id: str, tx: OpenTx, at: Now, above: Above, expected: Expected) -> Response:
        """The keys that he made work no more. To take him back, invite him again."""
        await service.remove_member(tx, await _known_member(tx, id, expected), tokens=above.tokens, now=at)
        return Response(status_code=204)

    return router


async def _known_member(tx: Tx, id: str, expected: Precondition) -> UUID:
    member_id = decode_id(MEMBER, id)
    if expected.given:
        expected.check(MemberOut.of(await service.held_member(tx, member_id)))
    return member_id


def _role_routes() -> ApiRouter:
    router = ApiRouter(prefix="/v1/roles", tags=["Tenant"])
    write = _needs("roles:write")

    @router.get("", summary="List roles", dependencies=_needs("roles:read"))
    async def list_roles(tx: OpenTx, page: Paged) -> Page[RoleOut]:
        """Your own roles, newest first; the first page begins with the built-in ones, beyond its limit."""
        found = await roles.list_roles(tx, page.cursor(ROLE))
        first = page.starting_after is None and page.ending_before is None
        own = [RoleOut.of(row) for row in found.rows]
        return Page(data=[*(RoleOut.built_ins() if first else []), *own], has_more=found.has_more)

    @router.post("", summary="Create a role", status_code=201, dependencies=[*write, idempotent])
    async def create_role(body: CreateRole, tx: OpenTx) -> RoleOut:
        """A role of your own, with at most the permissions that you have."""
        return RoleOut.of(await roles.create_role(tx, name=body.name, permissions=body.permissions))

    @router.get("/{id}", summary="Retrieve a role", dependencies=_needs("roles:read"))
    async def retrieve_role(id: str, tx: OpenTx) -> RoleOut:
        """One role; a built-in one by its name."""
        built_in = next((one for one in RoleOut.built_ins() if one.id == id), None)
        return built_in or RoleOut.of(await roles.get_role(tx, decode_id(ROLE, id)))

    @router.patch("/{id}", summary="Change a role", dependencies=write)
    async def change_role(id: str, body: ChangeRole, tx: OpenTx, expected: Expected) -> RoleOut:
        """All who have it may do what it permits from the next request on. Built-in roles cannot be changed."""
        role_id = await _known_role(tx, id, expected)
        row = await roles.change_role(tx, role_id, name=body.name, permissions=body.permissions)
        return RoleOut.of(row)

    @router.delete("/{id}", summary="Delete a role", status_code=204, dependencies=write)
    async def delete_role(id: str, tx: OpenTx, at: Now, expected: Expected) -> Response:
        """Only one that no member has and no pending invitation names."""
        await roles.delete_role(tx, await _known_role(tx, id, expected), now=at)
        return Response(status_code=204)

    return router


async def _known_role(tx: Tx, id: str, expected: Precondition) -> UUID:
    role_id = decode_id(ROLE, id)
    if expected.given:
        expected.check(RoleOut.of(await roles.held_role(tx, role_id)))
    return role_id


def _invitation_routes() -> ApiRouter:
    router = ApiRouter(prefix="/v1/invitations", tags=["Tenant"])
    write = _needs("invitations:write")

    @router.post("", summary="Invite a person", status_code=201, dependencies=[*write, idempotent])
    async def create_invitation(body: CreateInvitation, tx: OpenTx, at: Now, above: Above) -> InvitationOut:
        """Mail a link that makes its reader a member, within seven days, once. You must have all that the role
        permits."""
        row = await service.create_invitation(tx, email=body.email, role=body.role, inviter=above.inviter, now=at)
        return InvitationOut.of(row)

    @router.get("", summary="List invitations", dependencies=_needs("invitations:read"))
    async def list_invitations(tx: OpenTx, page: Paged) -> Page[InvitationOut]:
        """Newest first, used and revoked ones too."""
        return Page.of((await service.list_invitations(tx, page.cursor(INVITATION))).map(InvitationOut.of))

    @router.get("/{id}", summary="Retrieve an invitation", dependencies=_needs("invitations:read"))
    async def retrieve_invitation(id: str, tx: OpenTx) -> InvitationOut:
        """One of them."""
        return InvitationOut.of(await service.get_invitation(tx, decode_id(INVITATION, id)))

    @router.post("/{id}/resend", summary="Send an invitation again", dependencies=[*write, idempotent])
    async def resend_invitation(id: str, tx: OpenTx, at: Now, above: Above) -> InvitationOut:
        """A new link for another seven days; the one sent before opens nothing any more."""
        row = await service.resend_invitation(tx, decode_id(INVITATION, id), inviter=above.inviter, now=at)
        return InvitationOut.of(row)

    @router.delete("/{id}", summary="Revoke an invitation", dependencies=_needs("invitations:write", exits=True))
    async def revoke_invitation(id: str, tx: OpenTx, at: Now) -> InvitationOut:
        """Its link opens nothing any more. Repeating it changes nothing."""
        return InvitationOut.of(await service.revoke_invitation(tx, decode_id(INVITATION, id), now=at))

    return router


def _approval_routes() -> ApiRouter:
    router = ApiRouter(prefix="/v1/approvals", tags=["Tenant"])
    write = _needs("approvals:write")

    @router.post("", summary="Propose what takes two people", status_code=201, dependencies=[*write, idempotent])
    async def propose(body: CreateApproval, tx: OpenTx, at: Now, above: Above) -> ApprovalOut:
        """For a day another person may approve it; then repeat the request itself with `approval_id`, once."""
        row = await service.propose(tx, body.action, body.payload, accounts=above.accounts, halts=above.halts, now=at)
        return ApprovalOut.of(row)

    @router.get("", summary="List approvals", dependencies=_needs("approvals:read"))
    async def list_approvals(tx: OpenTx, page: Paged) -> Page[ApprovalOut]:
        """Newest first."""
        return Page.of((await service.list_approvals(tx, page.cursor(APPROVAL))).map(ApprovalOut.of))

    @router.get("/{id}", summary="Retrieve an approval", dependencies=_needs("approvals:read"))
    async def retrieve_approval(id: str, tx: OpenTx) -> ApprovalOut:
        """One of them."""
        return ApprovalOut.of(await service.get_approval(tx, decode_id(APPROVAL, id)))

    @router.post("/{id}/approve", summary="Approve", dependencies=[*write, idempotent])
    async def approve(id: str, tx: OpenTx, at: Now) -> ApprovalOut:
        """As another person than the maker, with the action's own permission."""
        return ApprovalOut.of(await service.approve(tx, decode_id(APPROVAL, id), now=at))

    @router.post("/{id}/reject", summary="Reject", dependencies=[*_needs("approvals:write", exits=True), idempotent])
    async def reject(id: str, body: RejectApproval, tx: OpenTx, at: Now) -> ApprovalOut:
        """For good, as another person than the maker."""
        return ApprovalOut.of(await service.reject(tx, decode_id(APPROVAL, id), reason=body.reason, now=at))

    return router


def _tree() -> ApiRouter:
    router = ApiRouter(prefix="/v1", tags=["Tenant"])

    @router.get("/tenants", summary="List the tenants below", dependencies=_needs("tenants:read"))
    async def list_children(tx: OpenTx, page: Paged) -> Page[ChildTenantOut]:
        """Newest first."""
        return Page.of((await service.list_children(tx, page.cursor(TENANT))).map(ChildTenantOut.of))

    @router.post(
        "/act_as_grants",
        summary="Act for a tenant below",
        status_code=201,
        dependencies=[*_needs("tenants:act_as"), idempotent],
    )
    async def open_grant(body: OpenGrant, tx: OpenTx, at: Now) -> GrantOut:
        """For at most an hour, send `Mandi-Act-As` with this id: your requests are that tenant's, within your own
        permissions, and its events name both of you. With a live key it takes a second person's approval."""
        grant = await service.open_grant(
            tx,
            decode_id(TENANT, body.tenant_id, param="tenant_id"),
            reason=body.reason,
            minutes=body.minutes,
            now=at,
            approval_id=_approval(body.approval_id),
        )
        return GrantOut.of(grant)

    @router.get("/act_as_grants", summary="List act-as grants", dependencies=_needs("act_as_grants:read"))
    async def list_grants(tx: OpenTx, page: Paged) -> Page[GrantOut]:
        """Who acts or acted for you, and for whom your people did, newest first."""
        return Page.of((await service.list_grants(tx, page.cursor(GRANT))).map(GrantOut.of))

    @router.get("/act_as_grants/{id}", summary="Retrieve an act-as grant", dependencies=_needs("act_as_grants:read"))
    async def retrieve_grant(id: str, tx: OpenTx) -> GrantOut:
        """One that you have a side of."""
        return GrantOut.of(await service.get_grant(tx, decode_id(GRANT, id)))

    @router.delete(
        "/act_as_grants/{id}", summary="End an act-as grant", dependencies=_needs("act_as_grants:write", exits=True)
    )
    async def end_grant(id: str, tx: OpenTx, at: Now) -> GrantOut:
        """At once, by either side. Repeating it changes nothing."""
        return GrantOut.of(await service.end_grant(tx, decode_id(GRANT, id), now=at))

    return router
