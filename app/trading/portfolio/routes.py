"""`/v1/positions`."""

from typing import Annotated

from fastapi import Depends, Query

from app.kernel.ids import decode_id
from app.trading.portfolio import service
from app.trading.portfolio.schemas import PositionOut
from app.web.auth import requires
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1/positions", tags=["Portfolio"])


@router.get("", summary="List open positions", dependencies=[Depends(requires("positions:read"))])
async def list_all(
    tx: OpenTx,
    page: Paged,
    account_id: Annotated[str | None, Query(max_length=64, description="Only this account's.")] = None,
    deployment_id: Annotated[str | None, Query(max_length=64, description="Only this deployment's.")] = None,
) -> Page[PositionOut]:
    """Open positions at the last prices of their feed, newest first."""
    found = await service.list_positions(
        tx,
        page.cursor("pos"),
        account_id=None if account_id is None else decode_id("acc", account_id, param="account_id"),
        deployment_id=None if deployment_id is None else decode_id("dep", deployment_id, param="deployment_id"),
    )
    return Page.of(found.map(PositionOut.of))
