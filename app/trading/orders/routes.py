"""`/v1/orders` and `/v1/fills`."""

from datetime import datetime
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, Header, Query, Response

from app.infra.database import Tx
from app.infra.telemetry import count_order
from app.kernel.ids import decode_id
from app.kernel.orders import OrderStatus
from app.market.instruments.service import scale_of, scales_of
from app.trading.orders import service
from app.trading.orders.schemas import CreateOrder, FillOut, OrderOut
from app.trading.orders.tables import Order
from app.web.auth import requires
from app.web.context import now
from app.web.limits import costs
from app.web.pagination import Page, Paged
from app.web.transaction import OpenTx

router = APIRouter(tags=["Orders"])
_CANCEL = [Depends(requires("orders:write", exits=True))]
_PLACE = [*_CANCEL, Depends(costs("orders"))]  # whether an order enters is decided with the order itself
_Filter = Annotated[str | None, Query(max_length=64)]
_IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=64, description="Used as `client_order_id` by default.")
]


async def _shown(tx: Tx, order: Order) -> OrderOut:
    scale = (await scales_of(tx, [order.instrument_id]))[order.instrument_id]
    return OrderOut.of(order, scale, await service.order_findings(tx, order.id))


@router.post("/v1/orders", summary="Place an order", status_code=201, dependencies=_PLACE)
async def place(
    body: CreateOrder,
    tx: OpenTx,
    at: Annotated[datetime, Depends(now)],
    response: Response,
    idempotency_key: _IdempotencyKey = None,
) -> OrderOut:
    """Decide on an order and store it: `accepted`, or `denied` with what each rule said. 200 with `Idempotent-Replayed`
    when the same `client_order_id` had placed the same order before."""
    scale = await scale_of(tx, decode_id("ins", body.instrument_id, param="instrument_id"))
    placed = await service.place_order(
        tx, body.command(scale, body.client_order_id or idempotency_key or uuid4().hex), now=at
    )
    if placed.order is None or placed.scale is None:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
        return await _shown(tx, await service.get_order(tx, placed.id))
    count_order(placed.status)
    return OrderOut.of(placed.order, placed.scale, [finding.as_dict() for finding in placed.findings])


@router.get("/v1/orders", summary="List orders", dependencies=[Depends(requires("orders:read"))])
async def list_orders(
    tx: OpenTx,
    page: Paged,
    account_id: _Filter = None,
    deployment_id: _Filter = None,
    status: OrderStatus | None = None,
) -> Page[OrderOut]:
    """Orders of your key's mode, newest first."""
    found = await service.list_orders(
        tx,
        page.cursor("ord"),
        account_id=None if account_id is None else decode_id("acc", account_id, param="account_id"),
        deployment_id=None if deployment_id is None else decode_id("dep", deployment_id, param="deployment_id"),
        status=status,
    )
    scales = await scales_of(tx, [order.instrument_id for order in found.rows])
    return Page.of(found.map(lambda order: OrderOut.of(order, scales[order.instrument_id])))


@router.get("/v1/orders/{id}", summary="Retrieve an order", dependencies=[Depends(requires("orders:read"))])
async def retrieve(id: str, tx: OpenTx) -> OrderOut:
    """One order, with what the rules said of it."""
    return await _shown(tx, await service.get_order(tx, decode_id("ord", id)))


@router.post(
    "/v1/orders/{id}/cancel",
    summary="Cancel an order",
    status_code=202,
    dependencies=_CANCEL,
)
async def cancel(id: str, tx: OpenTx, at: Annotated[datetime, Depends(now)]) -> OrderOut:
    """Ask for it to be taken back, ahead of everything else that waits in the account. A fill may still come first."""
    return await _shown(tx, await service.request_cancel(tx, decode_id("ord", id), now=at))


@router.get("/v1/fills", summary="List fills", dependencies=[Depends(requires("orders:read"))])
async def list_fills(tx: OpenTx, page: Paged, account_id: _Filter = None, order_id: _Filter = None) -> Page[FillOut]:
    """Executions, newest first."""
    found = await service.list_fills(
        tx,
        page.cursor("fil"),
        account_id=None if account_id is None else decode_id("acc", account_id, param="account_id"),
        order_id=None if order_id is None else decode_id("ord", order_id, param="order_id"),
    )
    scales = await scales_of(tx, [fill.instrument_id for fill in found.rows])
    return Page.of(found.map(lambda fill: FillOut.of(fill, scales[fill.instrument_id])))
