"""Decides what is told of tenants, the people in them, their roles and what takes two of them."""

from typing import Literal

from pydantic import Field

from app.kernel.events import EventPayload, EventType, Moment, Named, public_id


class TenantNamed(EventPayload):
    slug: str = Field(description="Its name in addresses.")
    name: str = Field(description="Its name for people.")


class TenantStatusChanged(EventPayload):
    status: Literal["active", "suspended", "closing"] = Field(description="The new status.")
    reason: str | None = Field(default=None, description="Why, as the platform's operator said.")


class TenantClosing(EventPayload):
    closes_at: Moment = Field(description="When it will be closed.")
    keys_revoked: int = Field(description="How many API keys ended at once.")
    clients_revoked: int = Field(description="How many OAuth clients ended with it.")
    reason: str | None = Field(default=None, description="Why, as the platform's operator said, if he closes it.")


class MemberRole(EventPayload):
    role: str = Field(description="The name of the role.")


class MemberRoleChanged(EventPayload):
    """`from` and `to`."""

    before: str = Field(alias="from", description="The name of the role before.")
    after: str = Field(alias="to", description="The name of the new role.")


class InvitationCreated(MemberRole):
    reason: str | None = Field(default=None, description="Why, as the platform's operator said, if he invited.")


class InvitationAccepted(EventPayload):
    member_id: str = Field(description="The member who came of it.", pattern=public_id("mem"))


class RoleWritten(EventPayload):
    name: str = Field(description="The role's name.")
    permissions: list[str] = Field(description="What it permits.")


class ApprovalProposed(EventPayload):
    action: str = Field(description="What takes two people.")
    payload: dict[str, str] = Field(description="What exactly was proposed.")


class ApprovalDecided(EventPayload):
    action: str = Field(description="What takes two people.")


class GrantOpened(EventPayload):
    reason: str = Field(description="Why, as whoever asked for it said.")
    expires_at: Moment = Field(description="When it ends, at the latest.")


class GrantEnded(EventPayload):
    ended_by: Literal["parent", "child"] = Field(description="The tenant above or below, which ended it.")


class WorkReplayed(EventPayload):
    kind: str = Field(description="What it does, such as `order.submit`.")


EVENTS = (
    EventType("tenant.created", "ten", "The tenant was created.", TenantNamed),
    EventType("tenant.child_added", "ten", "A tenant was created below this one.", TenantNamed),
    EventType("tenant.status_changed", "ten", "The tenant was suspended or reactivated.", TenantStatusChanged),
    EventType("tenant.closing", "ten", "The tenant will be closed; its API keys have ended.", TenantClosing),
    EventType("member.added", "mem", "A person became a member.", MemberRole),
    EventType("member.role_changed", "mem", "A member got another role.", MemberRoleChanged),
    EventType("member.suspended", "mem", "A member, and every key that he made, may do nothing."),
    EventType("member.reactivated", "mem", "A member's suspension ended."),
    EventType("member.removed", "mem", "A member was removed; tokens in his name ended.", MemberRole),
    EventType("invitation.created", "inv", "A person was invited.", InvitationCreated),
    EventType("invitation.resent", "inv", "An invitation was sent again, with a new link."),
    EventType("invitation.revoked", "inv", "An invitation was revoked."),
    EventType("invitation.accepted", "inv", "An invitation was accepted.", InvitationAccepted),
    EventType("role.created", "rol", "A role of the tenant's own was created.", RoleWritten),
    EventType("role.changed", "rol", "A role of the tenant's own was changed.", RoleWritten),
    EventType("role.deleted", "rol", "A role of the tenant's own was deleted.", Named),
    EventType("approval.proposed", "apr", "Something waits for a second person.", ApprovalProposed),
    EventType("approval.approved", "apr", "A second person approved it.", ApprovalDecided),
    EventType("approval.rejected", "apr", "A second person rejected it.", ApprovalDecided),
    EventType("approval.executed", "apr", "What was approved was done.", ApprovalDecided),
    EventType("work.replayed", "wrk", "The operator lets work that had failed for good be tried again.", WorkReplayed),
    EventType("act_as.opened", "act", "A person of the tenant above may act for the one below.", GrantOpened),
    EventType("act_as.ended", "act", "An act-as grant was ended before its time.", GrantEnded),
)
