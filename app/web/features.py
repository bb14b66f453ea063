"""Decides that a route needs a feature of the tenant's plan: `dependencies=[Depends(entitled("live_trading"))]`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.kernel.principal import Principal
from app.web.auth import authenticated
from app.web.context import gateway_of


@dataclass(frozen=True, slots=True)
class Entitled:
    """A dependency that admits callers whose tenant has `feature`. Not for cancels and exits: they need no plan."""

    feature: str

    async def __call__(self, request: Request, principal: Annotated[Principal, Depends(authenticated)]) -> Principal:
        gateway = gateway_of(request)
        await gateway.limiter.quotas.require(principal.tenant_id, self.feature, now=gateway.clock())
        return principal


def entitled(feature: str) -> Entitled:
    """Or 403 `feature_not_in_plan`, naming the plan that has it."""
    return Entitled(feature)
