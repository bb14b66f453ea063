"""`/v1/tenant`, `/v1/members`, `/v1/entitlements`, `/v1/usage`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends

from app.platform.tenancy import service
from app.platform.tenancy.schemas import MEMBER, EntitlementsOut, MemberOut, TenantOut, UsageList, UsageOut
from app.web.auth import requires
from app.web.context import now
from app.web.pagination import Page, Paged
from app.web.transaction import OpenTx

router = APIRouter(prefix="/v1", tags=["Tenant"])


@router.get("/tenant", summary="Retrieve the tenant", dependencies=[Depends(requires("tenant:read"))])
async def retrieve_tenant(tx: OpenTx) -> TenantOut:
    """The tenant that the key belongs to, and whether it may trade."""
    return TenantOut.of(await service.get_tenant(tx))


@router.get("/members", summary="List members", dependencies=[Depends(requires("members:read"))])
async def list_members(tx: OpenTx, page: Paged) -> Page[MemberOut]:
    """The people who work for the tenant, newest first."""
    found = await service.list_members(tx, page.cursor(MEMBER))
    return Page.of(found.map(MemberOut.of))


@router.get("/entitlements", summary="Retrieve entitlements", dependencies=[Depends(requires("tenant:read"))])
async def retrieve_entitlements(tx: OpenTx, at: Annotated[datetime, Depends(now)]) -> EntitlementsOut:
    """The tenant's plan with add-ons and overrides, and what they come to. A change shows here at once, and is obeyed
    everywhere within five seconds."""
    return EntitlementsOut.of(await service.entitlements(tx, now=at))


@router.get("/usage", summary="Retrieve usage", dependencies=[Depends(requires("tenant:read"))])
async def retrieve_usage(tx: OpenTx, at: Annotated[datetime, Depends(now)]) -> UsageList:
    """How much of each quota is used, its limit, and when it resets."""
    found = service.usage_of(await service.entitlements(tx, now=at))
    return UsageList(data=[UsageOut.of(usage) for usage in found])
