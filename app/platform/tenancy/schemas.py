"""Tenants, their people and what these decided, as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from app.kernel.ids import encode_id
from app.platform.tenancy.domain import BUILT_IN, Action, MemberStatus, TenantStatus
from app.platform.tenancy.service.acting import GRANT, TENANT
from app.platform.tenancy.service.approvals import APPROVAL
from app.platform.tenancy.service.invitations import INVITATION
from app.platform.tenancy.service.members import MEMBER
from app.platform.tenancy.service.roles import ROLE, role_name
from app.platform.tenancy.tables import ActAsGrant, Approval, ChildTenant, Invitation, Member, RoleRow, Tenant
from app.web.models import ApiModel, WholeNumber

_SUFFIX = "01kpx4t8yhe6rb2y6x3v1m9d0c"
_AT = "2026-01-31T09:15:00Z"
_USER = "usr"

Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^\S(.*\S)?$")]
RoleName = Annotated[
    str, Field(min_length=1, max_length=40, description="A built-in role, such as `trader`, or the id of your own.")
]
ApprovalId = Annotated[str, Field(max_length=40)]
Permissions = Annotated[
    list[Annotated[str, Field(max_length=64)]], Field(max_length=100, description="At most those that you have.")
]


def _example(**values: Any) -> ConfigDict:
    example: JsonDict = values
    return ConfigDict(json_schema_extra={"examples": [example]})


def _public(prefix: str, value: Any) -> str | None:
    return None if value is None else encode_id(prefix, value)


class TenantOut(ApiModel):
    """The tenant that the key belongs to."""

    model_config = _example(
        id=f"ten_{_SUFFIX}",
        slug="demo",
        name="Demo",
        status="active",
        parent_id=None,
        closes_at=None,
        created_at=_AT,
    )

    id: str
    slug: str
    name: str
    status: TenantStatus = Field(description="`suspended` and `closing` ones read, cancel and close positions only.")
    parent_id: str | None = Field(description="The tenant above this one, whose people may act for it by a grant.")
    closes_at: datetime | None = Field(description="When a tenant that is closing may be purged.")
    created_at: datetime

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantOut":
        return cls(
            id=encode_id(TENANT, tenant.id),
            slug=tenant.slug,
            name=tenant.name,
            status=TenantStatus(tenant.status),
            parent_id=_public(TENANT, tenant.parent_id),
            closes_at=tenant.closes_at,
            created_at=tenant.created_at,
        )


class ChildTenantOut(ApiModel):
    """A tenant below this one."""

    model_config = _example(id=f"ten_{_SUFFIX}", slug="acme", name="Acme", created_at=_AT)

    id: str
    slug: str
    name: str
    created_at: datetime

    @classmethod
    def of(cls, row: ChildTenant) -> "ChildTenantOut":
        return cls(id=encode_id(TENANT, row.id), slug=row.slug, name=row.name, created_at=row.created_at)


class ChangeMember(ApiModel):
    """What `PATCH /v1/members/{id}` takes."""

    model_config = _example(role="trader")

    role: RoleName
    approval_id: ApprovalId | None = Field(default=None, description="For `owner`: what a second person approved.")


class MemberOut(ApiModel):
    """A person who works for the tenant."""

    model_config = _example(
        id=f"mem_{_SUFFIX}",
        email="asha@example.com",
        role="owner",
        status="active",
        user_id=f"usr_{_SUFFIX}",
        created_at=_AT,
    )

    id: str
    email: str
    role: str = Field(description="A built-in role or the id of one of your own.")
    status: Literal["active", "suspended"]
    user_id: str | None = Field(description="The person's login; null until there is one.")
    created_at: datetime

    @classmethod
    def of(cls, member: Member) -> "MemberOut":
        return cls(
            id=encode_id(MEMBER, member.id),
            email=member.email,
            role=role_name(member.role, member.role_id),
            status="active" if member.status == MemberStatus.ACTIVE else "suspended",
            user_id=_public(_USER, member.user_id),
            created_at=member.created_at,
        )


class CreateRole(ApiModel):
    """What `POST /v1/roles` takes."""

    model_config = _example(name="night desk", permissions=["orders:read", "orders:write", "positions:read"])

    name: Name
    permissions: Permissions


class ChangeRole(ApiModel):
    """What `PATCH /v1/roles/{id}` takes; what is absent stays."""

    model_config = _example(permissions=["orders:read", "positions:read"])

    name: Name | None = None
    permissions: Permissions | None = None


class RoleOut(ApiModel):
    """A role. Built-in ones are the same for everybody; their id is their name."""

    model_config = _example(
        id=f"rol_{_SUFFIX}", name="night desk", permissions=["orders:read"], built_in=False, created_at=_AT
    )

    id: str
    name: str
    permissions: list[str]
    built_in: bool = Field(description="Whether it is the same for everybody, and fixed.")
    created_at: datetime | None

    @classmethod
    def of(cls, row: RoleRow) -> "RoleOut":
        return cls(
            id=encode_id(ROLE, row.id),
            name=row.name,
            permissions=row.permissions,
            built_in=False,
            created_at=row.created_at,
        )

    @classmethod
    def built_ins(cls) -> list["RoleOut"]:
        return [
            cls(id=role.value, name=role.value, permissions=sorted(permissions), built_in=True, created_at=None)
            for role, permissions in BUILT_IN.items()
        ]


class CreateInvitation(ApiModel):
    """What `POST /v1/invitations` takes."""

    model_config = _example(email="ravi@example.com", role="trader")

    email: Annotated[str, Field(min_length=3, max_length=254)]
    role: RoleName


class InvitationOut(ApiModel):
    """An invitation. Its link is in the mail and nowhere else."""

    model_config = _example(
        id=f"inv_{_SUFFIX}",
        email="ravi@example.com",
        role="trader",
        sent_at=_AT,
        expires_at="2026-02-07T09:15:00Z",
        accepted_at=None,
        revoked_at=None,
        created_at=_AT,
    )

    id: str
    email: str
    role: str = Field(description="What its reader becomes: a built-in role or the id of one of your own.")
    sent_at: datetime = Field(description="When the latest mail was handed over.")
    expires_at: datetime
    accepted_at: datetime | None = Field(description="When its reader became a member; null before.")
    revoked_at: datetime | None = Field(description="When it was taken back; null while it opens something.")
    created_at: datetime

    @classmethod
    def of(cls, row: Invitation) -> "InvitationOut":
        return cls(
            id=encode_id(INVITATION, row.id),
            email=row.email,
            role=role_name(row.role, row.role_id),
            sent_at=row.sent_at,
            expires_at=row.expires_at,
            accepted_at=row.accepted_at,
            revoked_at=row.revoked_at,
            created_at=row.created_at,
        )


class CreateApproval(ApiModel):
    """What `POST /v1/approvals` takes."""

    model_config = _example(action="member.make_owner", payload={"member_id": f"mem_{_SUFFIX}"})

    action: Action = Field(description="What takes two people.")
    payload: Annotated[
        dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=1_000)]],
        Field(
            max_length=8,
            description="Exactly what is to happen: `member_id` for `member.make_owner`; `tenant_id` and `reason` for "
            "`tenant.act_as_live`; `account_id` and `rule` for `risk_limit.clear`; `halt_id` for `halt.lift`.",
        ),
    ]


class RejectApproval(ApiModel):
    """What `POST /v1/approvals/{id}/reject` takes."""

    model_config = _example(reason="not this week")

    reason: Annotated[str, Field(min_length=1, max_length=500, description="Why, for the maker to read.")]


class ApprovalOut(ApiModel):
    """Something that takes two people: approved by another than the maker, then carried out by the maker, once."""

    model_config = _example(
        id=f"apr_{_SUFFIX}",
        action="member.make_owner",
        payload={"member_id": f"mem_{_SUFFIX}"},
        status="pending",
        made_by=f"usr_{_SUFFIX}",
        checked_by=None,
        decision_reason=None,
        created_at=_AT,
        expires_at="2026-02-01T09:15:00Z",
        decided_at=None,
        executed_at=None,
    )

    id: str
    action: Action
    payload: dict[str, str] = Field(description="Exactly what is to happen.")
    status: Literal["pending", "approved", "rejected", "executed"]
    made_by: str = Field(description="Who proposed it, and carries it out.")
    checked_by: str | None = Field(description="Who decided it; null while nobody has.")
    decision_reason: str | None = Field(description="Why it was rejected; null otherwise.")
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = Field(description="When it was approved or rejected; null before.")
    executed_at: datetime | None = Field(description="When it was carried out; null before.")

    @classmethod
    def of(cls, row: Approval) -> "ApprovalOut":
        shown = ("payload", "decision_reason", "created_at", "expires_at", "decided_at", "executed_at", "status")
        return cls.model_validate(
            {
                "id": encode_id(APPROVAL, row.id),
                "action": Action(row.action),
                "made_by": encode_id(_USER, row.made_by),
                "checked_by": _public(_USER, row.checked_by),
                **{name: getattr(row, name) for name in shown},
            }
        )


class OpenGrant(ApiModel):
    """What `POST /v1/act_as_grants` takes."""

    model_config = _example(tenant_id=f"ten_{_SUFFIX}", reason="ticket 4711: their order does not fill", minutes=30)

    tenant_id: Annotated[str, Field(max_length=40, description="A tenant below yours.")]
    reason: Annotated[str, Field(max_length=500, description="Shown to that tenant.")]
    minutes: Annotated[WholeNumber, Field(ge=1, le=60, description="How long.")]
    approval_id: ApprovalId | None = Field(default=None, description="Live: what a second person approved.")


class GrantOut(ApiModel):
    """A person of the parent may act for the child: send `Mandi-Act-As: <id>`. Either side may end it."""

    model_config = _example(
        id=f"act_{_SUFFIX}",
        side="parent",
        other_tenant_id=f"ten_{_SUFFIX}",
        mode="test",
        reason="ticket 4711: their order does not fill",
        user_id=f"usr_{_SUFFIX}",
        opened_at=_AT,
        expires_at="2026-01-31T09:45:00Z",
        ended_at=None,
        ended_by=None,
    )

    id: str
    side: Literal["parent", "child"] = Field(description="Which side you are on: `parent` acts for `child`.")
    other_tenant_id: str = Field(description="The tenant on the other side.")
    mode: Literal["test", "live"]
    reason: str = Field(description="Why, for both sides to read.")
    user_id: str = Field(description="The person of the parent who acts.")
    opened_at: datetime = Field(description="When it began.")
    expires_at: datetime
    ended_at: datetime | None = Field(description="When a side ended it before its time; null otherwise.")
    ended_by: Literal["parent", "child"] | None = Field(description="Which side ended it.")

    @classmethod
    def of(cls, row: ActAsGrant) -> "GrantOut":
        shown = ("side", "mode", "reason", "opened_at", "expires_at", "ended_at", "ended_by")
        return cls.model_validate(
            {
                "id": encode_id(GRANT, row.id),
                "other_tenant_id": encode_id(TENANT, row.other_tenant_id),
                "user_id": encode_id(_USER, row.user_id),
                **{name: getattr(row, name) for name in shown},
            }
        )
