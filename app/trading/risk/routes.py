"""`/v1/risk_limits`, the same below a client, an account and a deployment, and `/v1/halts`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from app.infra.database import Tx
from app.kernel.ids import decode_id
from app.trading.risk import service
from app.trading.risk.ports import Deployments, WorkingOrders
from app.trading.risk.schemas import CreateHalt, HaltOut, RiskLimitList, RiskLimitOut, SetRiskLimit
from app.trading.risk.service import Scope
from app.web.auth import requires
from app.web.conditional import Expected, Precondition
from app.web.context import now
from app.web.idempotency import idempotent
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

_READ = [Depends(requires("risk:read"))]
_WRITE = [Depends(requires("risk:write"))]
_HALT = [Depends(requires("risk:write", exits=True)), idempotent]
_Now = Annotated[datetime, Depends(now)]
_Approval = Annotated[str | None, Query(max_length=64, description="What a second person approved.")]
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


def halt_routes(working: WorkingOrders) -> APIRouter:
    """The kill switch. Orders live above risk."""
    router = ApiRouter(prefix="/v1/halts", tags=["Risk"])

    @router.post(
        "",
        summary="Halt trading",
        status_code=202,
        dependencies=[Depends(requires("risk:write", exits=True)), idempotent],
    )
    async def halt(body: CreateHalt, tx: OpenTx, at: _Now) -> HaltOut:
        """The kill switch. After this answer no new risk of what you name leaves for a broker; exits and cancels still
        pass, and it holds until somebody lifts it. It stops accounts of your key's mode."""
        made = await service.halt(tx, body.target(), mode=body.mode, reason=body.reason, working=working, now=at)
        return HaltOut.of(made)

    @router.get("", summary="List halts", dependencies=_READ)
    async def list_halts(
        tx: OpenTx,
        page: Paged,
        standing: Annotated[bool, Query(description="Only those that were not lifted.")] = True,
    ) -> Page[HaltOut]:
        """Newest first."""
        return Page.of((await service.list_halts(tx, page.cursor("hlt"), standing=standing)).map(HaltOut.of))

    @router.get("/{id}", summary="Retrieve a halt", dependencies=_READ)
    async def retrieve_halt(id: str, tx: OpenTx) -> HaltOut:
        """One halt."""
        return HaltOut.of(await service.get_halt(tx, decode_id("hlt", id)))

    @router.delete("/{id}", summary="Lift a halt", dependencies=_WRITE)
    async def lift_halt(id: str, tx: OpenTx, at: _Now, expected: Expected, approval_id: _Approval = None) -> HaltOut:
        """Let trading go on. Takes a recent login; unless it is about test accounts alone, also a second person's
        approval of `halt.lift`. What was taken back stays so."""
        halt_id = decode_id("hlt", id)
        if expected.given:
            expected.check(HaltOut.of(await service.held_halt(tx, halt_id)))
        approval = None if approval_id is None else decode_id("apr", approval_id, param="approval_id")
        return HaltOut.of(await service.resume(tx, halt_id, approval_id=approval, now=at))

    return router
