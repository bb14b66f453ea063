"""`/v1/sweeps`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response

from app.insight.research import service
from app.insight.research.schemas import CreateSweep, SweepOut
from app.kernel.ids import decode_id
from app.web.auth import requires
from app.web.context import gateway_of, now
from app.web.idempotency import idempotent
from app.web.limits import costs
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

PREFIX = "swp"
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's own style and nothing else: no script, no address outside it."""

_RESULT: dict[str, Any] = {
    "schema": {"type": "object"},
    "example": {"trials": {"combinations": 200, "run": 200, "refused": 0, "earlier": 0}, "ranking": []},
}

router = ApiRouter(prefix="/v1/sweeps", tags=["Sweeps"])
_READ = [Depends(requires("sweeps:read"))]
_WRITE = [Depends(requires("sweeps:write")), Depends(costs("backtests")), idempotent]
_CANCEL = [Depends(requires("sweeps:write", exits=True)), idempotent]
_Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


def data_dir(request: Request) -> Path:
    """Where the bars lie."""
    folder: Path = request.app.state.app.settings.data_dir
    return folder


@router.post("", summary="Run a sweep", status_code=202, dependencies=_WRITE)
async def create(
    body: CreateSweep, request: Request, tx: OpenTx, response: Response, folder: Annotated[Path, Depends(data_dir)]
) -> SweepOut:
    """Check it and queue it, in chunks for many workers, on the bars as stored now; `Location` tells how it goes."""
    gateway_of(request).backlog.refuse("backtests", tx.tenant_id)
    made = SweepOut.of(await service.create_sweep(tx, body.asked(), folder))
    response.headers["Location"] = f"/v1/sweeps/{made.id}"
    return made


@router.get("", summary="List sweeps", dependencies=_READ)
async def list_sweeps(
    tx: OpenTx, page: Paged, status: Annotated[_Status | None, Query(description="Only these.")] = None
) -> Page[SweepOut]:
    """Newest first."""
    return Page.of((await service.list_sweeps(tx, page.cursor(PREFIX), status=status)).map(SweepOut.of))


@router.get("/{id}", summary="Retrieve a sweep", dependencies=_READ)
async def retrieve(id: str, tx: OpenTx) -> SweepOut:
    """Its status, progress and, once it has succeeded, the figures one looks at first."""
    return SweepOut.of(await service.get_sweep(tx, decode_id(PREFIX, id)))


@router.get(
    "/{id}/result",
    summary="Retrieve a sweep's result",
    dependencies=_READ,
    response_class=Response,
    responses={
        200: {"content": {"application/json": _RESULT}},
        409: {"$ref": "#/components/responses/Conflict"},
    },
)
async def retrieve_result(id: str, tx: OpenTx) -> Response:
    """The whole document: ranking, heat map, stability and deflated Sharpe ratio; of a walk-forward its folds and the
    chained out-of-sample curve. `ETag` is the SHA-256 of the bytes.
    """
    found = await service.read_result(tx, decode_id(PREFIX, id))
    return Response(found.document, media_type="application/json", headers={"ETag": f'"{found.sha256}"'})


@router.get(
    "/{id}/report",
    summary="Retrieve a sweep's report",
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


@router.post("/{id}/cancel", summary="Cancel a sweep", dependencies=_CANCEL)
async def cancel(id: str, tx: OpenTx, at: Annotated[datetime, Depends(now)]) -> SweepOut:
    """At once, with all that runs of it. A finished one stays as it is."""
    return SweepOut.of(await service.cancel_sweep(tx, decode_id(PREFIX, id), now=at))
