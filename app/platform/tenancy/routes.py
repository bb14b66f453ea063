"""`/v1/tenant`, `/v1/members`."""

from fastapi import Depends

from app.platform.tenancy import service
from app.platform.tenancy.schemas import MEMBER, MemberOut, TenantOut
from app.web.auth import requires
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1", tags=["Tenant"])


@router.get("/tenant", summary="Retrieve the tenant", dependencies=[Depends(requires("tenant:read"))])
async def retrieve_tenant(tx: OpenTx) -> TenantOut:
    """The tenant that the key belongs to, and whether it may trade."""
    return TenantOut.of(await service.get_tenant(tx))


@router.get("/members", summary="List members", dependencies=[Depends(requires("members:read"))])
async def list_members(tx: OpenTx, page: Paged) -> Page[MemberOut]:
    """The people who work for the tenant, newest first."""
    found = await service.list_members(tx, page.cursor(MEMBER))
    return Page.of(found.map(MemberOut.of))
