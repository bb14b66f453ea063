"""The gateway with three routes more, which do nothing but what a benchmark measures."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from sqlalchemy import text

from app import main
from app.kernel.principal import Principal
from app.web.auth import requires
from app.web.routing import ApiRouter, flat
from app.web.transaction import OpenTx

_ISOLATED = text("select id, type, position from events order by position desc limit 20")
_EXPLICIT = text(
    "select id, type, position from bench_events where tenant_id = :tenant order by position desc limit 20"
)
app: FastAPI = main.app  # with the logs and metrics of production
router = ApiRouter()  # whose routes are of the class of all others


@router.get("/bench/noop")
async def noop(principal: Annotated[Principal, Depends(requires("tenant:read"))]) -> dict[str, bool]:
    """Nothing, for somebody who may."""
    return {"ok": True}


@router.get("/bench/isolated", dependencies=[Depends(requires("tenant:read"))])
async def isolated(tx: OpenTx) -> list[dict[str, Any]]:
    """A page of the tenant's events, as row-level security shows them."""
    return [dict(row) for row in (await tx.execute(_ISOLATED)).mappings()]


@router.get("/bench/explicit", dependencies=[Depends(requires("tenant:read"))])
async def explicit(tx: OpenTx) -> list[dict[str, Any]]:
    """The same page of a table without it, by a WHERE."""
    return [dict(row) for row in (await tx.execute(_EXPLICIT, {"tenant": tx.tenant_id})).mappings()]


app.router.routes.extend(flat([router]))
