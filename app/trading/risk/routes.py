"""`/v1/risk_limits`, and the same below a client, an account and a deployment."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from app.infra.database import Tx
from app.kernel.ids import decode_id
from app.trading.risk import service
from app.trading.risk.schemas import RiskLimitList, RiskLimitOut, SetRiskLimit
from app.trading.risk.service import Deployments, Scope
from app.web.auth import requires
from app.web.conditional import Expected, Precondition
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

_READ = [Depends(requires("risk:read"))]
_WRITE = [Depends(requires("risk:write"))]
_Rule = Annotated[str, Path(max_length=64, examples=["max_order_value"])]


async def _of_tenant() -> Scope:
    return service.TENANT


async def _of_client(id: str, tx: OpenTx) -> Scope:
    return await service.client_scope(tx, decode_id("cli", id))


async def _of_account(id: str, tx: OpenTx) -> Scope:
    return await service.account_scope(tx, decode_id("acc", id))


def limit_routes(deployments: Deployments) -> Sequence[APIRouter]:
    """The routes of every level. Deployments live above risk."""

    async def of_deployment(id: str, tx: OpenTx) -> Scope:
        return await service.deployment_scope(tx, decode_id("dep", id), deployments)

    return (
        _routes("/v1/risk_limits", "the tenant", _of_tenant),
        _routes("/v1/clients/{id}/risk_limits", "a client", _of_client),
        _routes("/v1/accounts/{id}/risk_limits", "an account", _of_account),
        _routes("/v1/deployments/{id}/risk_limits", "a deployment", of_deployment),
    )


def _routes(prefix: str, whose: str, scope_of: Callable[..., Any]) -> APIRouter:
    router = ApiRouter(prefix=prefix, tags=["Risk"])
    asked = Depends(scope_of)

    @router.get("", summary=f"List risk limits of {whose}", dependencies=_READ)
    async def list_all(tx: OpenTx, scope: Annotated[Scope, asked]) -> RiskLimitList:
        """What every rule applies, and which level gives it: the tightest of all levels holds."""
        return RiskLimitList(data=[RiskLimitOut.of(one) for one in await service.limits(tx, scope)])

    @router.get("/{rule}", summary=f"Retrieve a risk limit of {whose}", dependencies=_READ)
    async def retrieve(rule: _Rule, tx: OpenTx, scope: Annotated[Scope, asked]) -> RiskLimitOut:
        """What one rule applies. Its `ETag` goes into `If-Match` when you change it."""
        return RiskLimitOut.of(await service.limit(tx, scope, rule))

    @router.put("/{rule}", summary=f"Set a risk limit of {whose}", dependencies=_WRITE)
    async def replace(
        rule: _Rule, body: SetRiskLimit, tx: OpenTx, scope: Annotated[Scope, asked], expected: Expected
    ) -> RiskLimitOut:
        """Tighten what holds above; a looser limit is refused. It holds for every order decided from now on, also for
        those that are being decided."""
        await _check(tx, scope, rule, expected)
        return RiskLimitOut.of(await service.set_limit(tx, scope, rule, body.parameters))

    @router.delete("/{rule}", summary=f"Clear a risk limit of {whose}", dependencies=_WRITE)
    async def clear(rule: _Rule, tx: OpenTx, scope: Annotated[Scope, asked], expected: Expected) -> RiskLimitOut:
        """Back to what the other levels say, or the rule's default; the answer says which."""
        await _check(tx, scope, rule, expected)
        return RiskLimitOut.of(await service.clear_limit(tx, scope, rule))

    return router


async def _check(tx: Tx, scope: Scope, rule: str, expected: Precondition) -> None:
    if expected.given:
        expected.check(RiskLimitOut.of(await service.held_limit(tx, scope, rule)))
