"""`/v1/entitlements`, `/v1/usage`."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends

from app.platform.plans import service
from app.platform.plans.schemas import EntitlementsOut, UsageList, UsageOut
from app.web.auth import requires
from app.web.context import now
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1", tags=["Tenant"])


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
