"""`/v1/performance`."""

from datetime import date
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request

from app.insight.analytics import service
from app.insight.analytics.schemas import MAX_POINTS, CurvePage, PerformanceOut
from app.kernel.errors import invalid
from app.kernel.ids import decode_id
from app.kernel.money import currency_exponent
from app.web.auth import requires
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1/performance", tags=["Performance"])
_Id = Annotated[str | None, Query(max_length=64, description="This or the other, not both.")]


def data_dir(request: Request) -> Path:
    """Where the bars lie."""
    folder: Path = request.app.state.app.settings.data_dir
    return folder


@router.get("", summary="Retrieve performance", dependencies=[Depends(requires("performance:read"))])
async def retrieve(
    tx: OpenTx,
    folder: Annotated[Path, Depends(data_dir)],
    account_id: _Id = None,
    deployment_id: _Id = None,
    curve: Annotated[bool, Query(description="Whether to send the equity curve, too.")] = False,
    limit: Annotated[int, Query(ge=1, le=MAX_POINTS, description="How many points of the curve.")] = 500,
    starting_after: Annotated[date | None, Query(description="The date of the last point of the page before.")] = None,
) -> PerformanceOut:
    """Return, risk and round trips of an account or of one deployment, daily, up to the last close of its feed."""
    if (account_id is None) == (deployment_id is None):
        raise invalid("one_subject", "Send either account_id or deployment_id.", param="account_id")
    if deployment_id is not None:
        report = await service.deployment_performance(
            tx, folder, decode_id("dep", deployment_id, param="deployment_id")
        )
    else:
        report = await service.account_performance(tx, folder, decode_id("acc", account_id or "", param="account_id"))
    money = currency_exponent(report.currency)
    page = CurvePage.of(report.assessment.curve, money, starting_after=starting_after, limit=limit) if curve else None
    return PerformanceOut.of(report, page)
