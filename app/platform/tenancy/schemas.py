"""Tenants and members as the API shows them."""

from datetime import datetime

from pydantic import ConfigDict

from app.kernel.ids import encode_id
from app.platform.tenancy.domain import Role, TenantStatus
from app.platform.tenancy.tables import Member, Tenant
from app.web.models import ApiModel

TENANT = "ten"
MEMBER = "mem"


class TenantOut(ApiModel):
    """The tenant that the key belongs to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "ten_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "slug": "demo",
                    "name": "Demo",
                    "status": "active",
                    "created_at": "2026-01-31T09:15:00Z",
                }
            ]
        }
    )

    id: str
    slug: str
    name: str
    status: TenantStatus
    created_at: datetime

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantOut":
        return cls(
            id=encode_id(TENANT, tenant.id),
            slug=tenant.slug,
            name=tenant.name,
            status=TenantStatus(tenant.status),
            created_at=tenant.created_at,
        )


class MemberOut(ApiModel):
    """A person who works for the tenant."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "mem_01kpx4t8yhe6rb2y6x3v1m9d0c",
                    "email": "asha@example.com",
                    "role": "owner",
                    "status": "active",
                    "created_at": "2026-01-31T09:15:00Z",
                }
            ]
        }
    )

    id: str
    email: str
    role: Role
    status: str
    created_at: datetime

    @classmethod
    def of(cls, member: Member) -> "MemberOut":
        return cls(
            id=encode_id(MEMBER, member.id),
            email=member.email,
            role=Role(member.role),
            status=member.status,
            created_at=member.created_at,
        )
