"""`/v1/backtests`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response

from app.insight.backtest import service
from app.insight.backtest.schemas import BacktestOut, BacktestPlanOut, CreateBacktest
from app.kernel.ids import decode_id
from app.web.auth import requires
from app.web.context import gateway_of, now
from app.web.idempotency import forgo, idempotent
from app.web.limits import costs
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import DryRun, OpenTx

PREFIX = "bkt"
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's own style and nothing else: no script, no address outside it."""

_RESULT: dict[str, Any] = {
    "schema": {"type": "object"},
    "example": {"currency": "USD", "final_equity": "142000.00", "metrics": {"total_return": 0.42}, "fills": []},
}

router = ApiRouter(prefix="/v1/backtests", tags=["Backtests"])
_READ = [Depends(requires("backtests:read"))]
_WRITE = [Depends(requires("backtests:write")), Depends(costs("backtests")), idempotent]
_CANCEL = [Depends(requires("backtests:write", exits=True)), idempotent]
_Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


def data_dir(request: Request) -> Path:
    """Where the bars lie."""
    folder: Path = request.app.state.app.settings.data_dir
    return folder


@router.post(
    "",
    summary="Run a backtest",
    status_code=202,
    response_model=BacktestOut,
    responses={200: {"model": BacktestPlanOut, "description": "A dry run: the plan and its cost."}},
    dependencies=_WRITE,
)
async def create(
    body: CreateBacktest,
    request: Request,
    tx: OpenTx,
    response: Response,
    folder: Annotated[Path, Depends(data_dir)],
    dry_run: DryRun = False,
) -> BacktestOut | Response:
    """Check it and queue it on the bars as they are stored now; the answer's `Location` tells how it goes."""
    if dry_run:
        forgo(request)
        plan = BacktestPlanOut.of(await service.admit_backtest(tx, body.asked(), folder))
        return Response(plan.model_dump_json(), media_type="application/json")
    gateway_of(request).backlog.refuse("backtests", tx.tenant_id)
    made = BacktestOut.of(await service.create_backtest(tx, body.asked(), folder))
    response.headers["Location"] = f"/v1/backtests/{made.id}"
    return made


@router.get("", summary="List backtests", dependencies=_READ)
async def list_backtests(
    tx: OpenTx, page: Paged, status: Annotated[_Status | None, Query(description="Only these.")] = None
) -> Page[BacktestOut]:
    """Newest first."""
    return Page.of((await service.list_backtests(tx, page.cursor(PREFIX), status=status)).map(BacktestOut.of))


@router.get("/{id}", summary="Retrieve a backtest", dependencies=_READ)
async def retrieve(id: str, tx: OpenTx) -> BacktestOut:
    """Its status, progress and, once it has succeeded, the figures one looks at first."""
    return BacktestOut.of(await service.get_backtest(tx, decode_id(PREFIX, id)))


@router.get(
    "/{id}/result",
    summary="Retrieve a backtest's result",
    dependencies=_READ,
    response_class=Response,
    responses={
        200: {"content": {"application/json": _RESULT}},
        409: {"$ref": "#/components/responses/Conflict"},
    },
)
async def retrieve_result(id: str, tx: OpenTx) -> Response:
    """The whole document: metrics, equity curve, fills with their reasons, round trips, charges by head, assumptions,
    digests of data and program. The same run gives the same bytes; `ETag` is their SHA-256.
    """
    found = await service.read_result(tx, decode_id(PREFIX, id))
    return Response(found.document, media_type="application/json", headers={"ETag": f'"{found.sha256}"'})


@router.get(
    "/{id}/report",
    summary="Retrieve a backtest's report",
    dependencies=_READ,
    response_class=Response,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        409: {"$ref": "#/components/responses/Conflict"},
    },
)
async def retrieve_report(id: str, tx: OpenTx) -> Response:
    """A page with charts: one HTML file that needs nothing else."""
    page = await service.read_report(tx, decode_id(PREFIX, id))
    headers = {"Content-Security-Policy": REPORT_POLICY}
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


@router.post("/{id}/cancel", summary="Cancel a backtest", dependencies=_CANCEL)
async def cancel(id: str, tx: OpenTx, at: Annotated[datetime, Depends(now)]) -> BacktestOut:
    """At once while it waits; a running one ends at its next block. A finished one stays as it is."""
    return BacktestOut.of(await service.cancel_backtest(tx, decode_id(PREFIX, id), now=at))
