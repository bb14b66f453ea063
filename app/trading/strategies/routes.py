"""`/v1/strategies` and `/v1/deployments`."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends

from app.kernel.ids import decode_id
from app.trading.strategies import service
from app.trading.strategies.schemas import (
    CreateDeployment,
    CreateStrategy,
    DeploymentOut,
    StrategyOut,
    TemplateList,
    TemplateOut,
)
from app.web.auth import requires
from app.web.context import now
from app.web.pagination import Page, Paged
from app.web.transaction import OpenTx

router = APIRouter(tags=["Strategies"])
_READ = [Depends(requires("strategies:read"))]
_WRITE = [Depends(requires("strategies:write"))]
_END = [Depends(requires("strategies:write", exits=True))]
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


@router.post("/v1/deployments", summary="Deploy a strategy", status_code=201, dependencies=_WRITE)
async def deploy(body: CreateDeployment, tx: OpenTx, at: _Now) -> DeploymentOut:
    """Run a strategy on an account from the next bar of the account's feed on. An account runs one at a time."""
    row = await service.deploy(
        tx,
        strategy_id=decode_id("str", body.strategy_id, param="strategy_id"),
        account_id=decode_id("acc", body.account_id, param="account_id"),
        instruments=[decode_id("ins", one, param="instruments") for one in body.instruments],
        bar_interval=body.bar_interval,
        now=at,
    )
    return DeploymentOut.of(row)


@router.get("/v1/deployments", summary="List deployments", dependencies=_READ)
async def list_deployments(tx: OpenTx, page: Paged) -> Page[DeploymentOut]:
    """Newest first."""
    return Page.of((await service.list_deployments(tx, page.cursor("dep"))).map(DeploymentOut.of))


@router.get("/v1/deployments/{id}", summary="Retrieve a deployment", dependencies=_READ)
async def retrieve_deployment(id: str, tx: OpenTx) -> DeploymentOut:
    """One deployment."""
    return DeploymentOut.of(await service.get_deployment(tx, decode_id("dep", id)))


@router.post("/v1/deployments/{id}/pause", summary="Pause a deployment", dependencies=_END)
async def pause(id: str, tx: OpenTx) -> DeploymentOut:
    """No more decisions until it is resumed. Positions and working orders stay."""
    return DeploymentOut.of(await service.set_status(tx, decode_id("dep", id), "paused"))


@router.post("/v1/deployments/{id}/resume", summary="Resume a deployment", dependencies=_WRITE)
async def resume(id: str, tx: OpenTx) -> DeploymentOut:
    """Decide again from the next bar on; what passed meanwhile is history."""
    return DeploymentOut.of(await service.set_status(tx, decode_id("dep", id), "running"))


@router.post("/v1/deployments/{id}/stop", summary="Stop a deployment", dependencies=_END)
async def stop(id: str, tx: OpenTx) -> DeploymentOut:
    """For good: the account is free for another one. Positions and working orders stay."""
    return DeploymentOut.of(await service.set_status(tx, decode_id("dep", id), "stopped"))
