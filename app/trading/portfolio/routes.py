"""`/v1/positions`, `/v1/accounts/{id}/statement` and `/v1/reconciliations`."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, Query, Response

from app.kernel.ids import decode_id
from app.trading.portfolio import service
from app.trading.portfolio.schemas import CreateReconciliation, PositionOut, ReconciliationOut, StatementOut
from app.web.auth import requires
from app.web.context import now
from app.web.idempotency import idempotent
from app.web.models import Day
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1/positions", tags=["Portfolio"])
reconciliations = ApiRouter(prefix="/v1/reconciliations", tags=["Custody"])
statements = ApiRouter(prefix="/v1/accounts/{id}/statement", tags=["Accounts"])


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


@statements.get(
    "",
    summary="Retrieve a statement of account",
    dependencies=[Depends(requires("accounts:read"))],
    response_model=StatementOut,
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/pdf": {"schema": {"type": "string", "format": "binary"}},
            }
        }
    },
)
async def retrieve_statement(
    id: str,
    tx: OpenTx,
    at: Annotated[datetime, Depends(now)],
    first: Annotated[Day, Query(alias="from", examples=["2026-04-01"], description="The first day.")],
    last: Annotated[Day, Query(alias="to", examples=["2026-04-30"], description="The last day; a year at most.")],
    form: Annotated[
        Literal["json", "csv", "pdf"], Query(alias="format", description="`pdf` is one to send to a client.")
    ] = "json",
) -> StatementOut | Response:
    """Opening, every movement, closing and holdings, proven against the ledger."""
    found = await service.statement_of(tx, decode_id("acc", id), first=first, last=last, now=at)
    name = f'attachment; filename="statement-{first}-{last}.{form}"'
    if form == "csv":
        csv = service.statement_csv(found)
        return Response(csv, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": name})
    if form == "pdf":
        pdf = await asyncio.to_thread(service.statement_pdf, found)
        return Response(pdf, media_type="application/pdf", headers={"Content-Disposition": name})
    return StatementOut.of(found)


@reconciliations.post(
    "",
    summary="Reconcile a file",
    status_code=201,
    dependencies=[Depends(requires("custody:write")), idempotent],
)
async def reconcile(body: CreateReconciliation, tx: OpenTx, at: Annotated[datetime, Depends(now)]) -> ReconciliationOut:
    """Compare a file of a bank, a broker or a depository with the books of the key's mode, as its day ended.

    Each figure that differs is a break (`GET /v1/breaks`), as old as the difference; what agrees now is closed. The
    same file again answers the same and changes nothing. A file with a line that cannot be read changes nothing.
    """
    assert tx.principal is not None  # a route that requires a permission has one
    return ReconciliationOut.of(
        await service.reconcile(tx, body.source, body.csv, as_of=body.as_of, mode=tx.principal.mode, now=at)
    )


@reconciliations.get("", summary="List reconciliations", dependencies=[Depends(requires("custody:read"))])
async def list_reconciliations(tx: OpenTx, page: Paged) -> Page[ReconciliationOut]:
    """Every file that was compared, newest first."""
    found = await service.list_reconciliations(tx, page.cursor(service.RECONCILIATION))
    return Page.of(found.map(ReconciliationOut.of))


@reconciliations.get("/{id}", summary="Retrieve a reconciliation", dependencies=[Depends(requires("custody:read"))])
async def retrieve_reconciliation(id: str, tx: OpenTx) -> ReconciliationOut:
    """One file that was compared, with its counts."""
    return ReconciliationOut.of(await service.get_reconciliation(tx, decode_id(service.RECONCILIATION, id)))
