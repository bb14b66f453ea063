"""`/v1/strategies` and `/v1/deployments`."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import Depends, Request, Response

from app.infra.database import Tx
from app.kernel.ids import decode_id
from app.trading.strategies import service
from app.trading.strategies.schemas import (
    CreateDeployment,
    CreateStrategy,
    DeploymentOut,
    DeploymentPlanOut,
    StrategyOut,
    TemplateList,
    TemplateOut,
)
from app.web.auth import requires
from app.web.conditional import Expected, Precondition
from app.web.context import now
from app.web.idempotency import forgo, idempotent
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import DryRun, OpenTx, rehearsed

router = ApiRouter(tags=["Strategies"])
_READ = [Depends(requires("strategies:read"))]
_WRITE = [Depends(requires("strategies:write")), idempotent]
_END = [Depends(requires("strategies:write", exits=True)), idempotent]
_Now = Annotated[datetime, Depends(now)]


@router.get("/v1/strategies/templates", summary="List the library", dependencies=_READ)
async def list_templates() -> TemplateList:
    """Well-known strategies with their parameters and references."""
    return TemplateList(data=[TemplateOut.of(template) for template in service.templates().values()])


@router.post("/v1/strategies", summary="Create a strategy", status_code=201, dependencies=_WRITE)
async def create(body: CreateStrategy, tx: OpenTx, at: _Now) -> StrategyOut:
    """Check and store a definition. A refused program names the node and the reason."""
    row = await service.create_strategy(
        tx, name=body.name, template=body.template, parameters=body.parameters, document=body.program, now=at
    )
    return StrategyOut.of(row)


@router.get("/v1/strategies", summary="List strategies", dependencies=_READ)
async def list_strategies(tx: OpenTx, page: Paged) -> Page[StrategyOut]:
    """Newest first."""
    return Page.of((await service.list_strategies(tx, page.cursor("str"))).map(StrategyOut.of))


@router.get("/v1/strategies/{id}", summary="Retrieve a strategy", dependencies=_READ)
async def retrieve(id: str, tx: OpenTx) -> StrategyOut:
    """One definition."""
    return StrategyOut.of(await service.get_strategy(tx, decode_id("str", id)))


@router.post(
    "/v1/deployments",
    summary="Deploy a strategy",
    status_code=201,
    response_model=DeploymentOut,
    responses={200: {"model": DeploymentPlanOut, "description": "A dry run: what would be deployed."}},
    dependencies=_WRITE,
)
async def start(
    body: CreateDeployment, request: Request, tx: OpenTx, at: _Now, dry_run: DryRun = False
) -> DeploymentOut | Response:
    """Run a strategy on an account from the next bar of the account's feed on. An account runs one at a time."""
    deploy = partial(
        service.deploy,
        tx,
        strategy_id=decode_id("str", body.strategy_id, param="strategy_id"),
        account_id=decode_id("acc", body.account_id, param="account_id"),
        instruments=[decode_id("ins", one, param="instruments") for one in body.instruments],
        bar_interval=body.bar_interval,
        now=at,
    )
    if not dry_run:
        return DeploymentOut.of(await deploy())
    forgo(request)
    async with rehearsed(tx):
        plan = DeploymentPlanOut.of(await deploy())
    return Response(plan.model_dump_json(), media_type="application/json")


@router.get("/v1/deployments", summary="List deployments", dependencies=_READ)
async def list_deployments(tx: OpenTx, page: Paged) -> Page[DeploymentOut]:
    """Newest first."""
    return Page.of((await service.list_deployments(tx, page.cursor("dep"))).map(DeploymentOut.of))


@router.get("/v1/deployments/{id}", summary="Retrieve a deployment", dependencies=_READ)
async def retrieve_deployment(id: str, tx: OpenTx) -> DeploymentOut:
    """One deployment."""
    return DeploymentOut.of(await service.get_deployment(tx, decode_id("dep", id)))


@router.post("/v1/deployments/{id}/pause", summary="Pause a deployment", dependencies=_END)
async def pause(id: str, tx: OpenTx, expected: Expected) -> DeploymentOut:
    """No more decisions until it is resumed. Positions and working orders stay."""
    return await _become(tx, id, "paused", expected)


@router.post("/v1/deployments/{id}/resume", summary="Resume a deployment", dependencies=_WRITE)
async def resume(id: str, tx: OpenTx, expected: Expected) -> DeploymentOut:
    """Decide again from the next bar on; what passed meanwhile is history."""
    return await _become(tx, id, "running", expected)


@router.post("/v1/deployments/{id}/stop", summary="Stop a deployment", dependencies=_END)
async def stop(id: str, tx: OpenTx, expected: Expected) -> DeploymentOut:
    """For good: the account is free for another one. Positions and working orders stay."""
    return await _become(tx, id, "stopped", expected)


async def _become(tx: Tx, id: str, status: str, expected: Precondition) -> DeploymentOut:
    deployment_id = decode_id("dep", id)
    if expected.given:
        expected.check(DeploymentOut.of(await service.held_deployment(tx, deployment_id)))
    return DeploymentOut.of(await service.set_status(tx, deployment_id, status))
