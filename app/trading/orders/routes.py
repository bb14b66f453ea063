"""`/v1/orders`, `/v1/fills` and `/v1/risk/what_if`."""

from datetime import datetime
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, Query, Request, Response

from app.infra.database import Tx
from app.infra.idempotency.keys import Claim
from app.infra.telemetry import count_order
from app.kernel.errors import DomainError
from app.kernel.ids import decode_id
from app.kernel.orders import OrderStatus
from app.market.instruments.service import scale_of, scales_of
from app.trading.orders import service
from app.trading.orders.domain import PlaceOrder
from app.trading.orders.schemas import (
    BulkCancel,
    BulkOrders,
    CancelAll,
    CreateOrder,
    ExitAll,
    LeavingOut,
    OrderOut,
    OrderPreviewOut,
    WhatIf,
    WhatIfOut,
)
from app.trading.orders.service.fill_terms import FillOut
from app.trading.orders.service.terms import ModifyOrder
from app.trading.orders.tables import Order
from app.web.auth import charge_more, requires
from app.web.bulk import Bulk, BulkResult, refused
from app.web.conditional import Expected
from app.web.context import gateway_of, now
from app.web.idempotency import REPLAYED, RequestClaim, idempotent
from app.web.limits import costs
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import DryRun, OpenTx

router = ApiRouter(tags=["Orders"])
_CANCEL = [Depends(requires("orders:write", exits=True))]
_ORDER = costs("orders")
_PLACE = [*_CANCEL, Depends(_ORDER)]  # whether an order enters is decided with the order itself
_Now = Annotated[datetime, Depends(now)]
_Filter = Annotated[str | None, Query(max_length=64)]


async def _shown(tx: Tx, order: Order) -> OrderOut:
    scale = (await scales_of(tx, [order.instrument_id]))[order.instrument_id]
    children = [] if order.leg is None else await service.children_of(tx, order.id)
    return OrderOut.of(order, scale, await service.order_findings(tx, order.id), children)


@router.post(
    "/v1/orders",
    summary="Place an order",
    status_code=201,
    response_model=OrderOut,
    responses={200: {"model": OrderOut | OrderPreviewOut, "description": "Placed before, or a dry run."}},
    dependencies=_PLACE,
)
async def place(
    body: CreateOrder,
    tx: OpenTx,
    at: _Now,
    response: Response,
    claim: RequestClaim,
    request: Request,
    dry_run: DryRun = False,
) -> OrderOut | Response:
    """Decide on an order and store it: `accepted`, or `denied` with what each rule said. 200 with `Idempotent-Replayed`
    and the order as it is now when the same `Idempotency-Key` or `client_order_id` had placed the same order before.
    A dry run answers 200 with the decision and the cost."""
    command = await _command(tx, body, f"idk_{claim.id.hex}" if claim else uuid4().hex)
    if dry_run:
        preview = OrderPreviewOut.of(await service.preview_order(tx, command))
        return Response(preview.model_dump_json(), media_type="application/json")
    shown, replayed = await _place(tx, command, at, claim, request)
    if replayed:
        response.status_code = 200
        response.headers[REPLAYED] = "true"
    return shown


async def _command(tx: Tx, body: CreateOrder, client_order_id: str) -> PlaceOrder:
    scale = await scale_of(tx, decode_id("ins", body.instrument_id, param="instrument_id"))
    return body.command(scale, body.client_order_id or client_order_id)


async def _place(
    tx: Tx, command: PlaceOrder, at: datetime, claim: Claim | None, request: Request
) -> tuple[OrderOut, bool]:
    """The order, and whether it had been placed before."""
    placed = await service.place_order(tx, command, now=at, claim=claim, backlog=gateway_of(request).backlog)
    if placed.order is None or placed.scale is None:
        return await _shown(tx, await service.get_order(tx, placed.id)), True
    count_order(placed.status)
    children = [] if placed.order.leg is None else await service.children_of(tx, placed.id)
    findings = [finding.as_dict() for finding in placed.findings]
    return OrderOut.of(placed.order, placed.scale, findings, children), False


@router.post("/v1/orders/bulk", summary="Place several orders", dependencies=[*_PLACE, idempotent])
async def place_bulk(body: BulkOrders, tx: OpenTx, at: _Now, request: Request, claim: RequestClaim) -> Bulk[OrderOut]:
    """Place up to 20 orders, one after the other; each is decided by itself, so that one that is refused or denied
    stops no other. They are charged as so many calls. Send an `Idempotency-Key`: the same request then repeats the
    answer, and even after a failure in the middle no order is placed twice."""
    await charge_more(request, _ORDER, len(body.orders) - 1)
    results = []
    for index, one in enumerate(body.orders):
        name = f"idk_{claim.id.hex}_{index}" if claim else uuid4().hex
        try:
            shown, replayed = await _place(tx, await _command(tx, one, name), at, None, request)
        except DomainError as error:
            results.append(refused(request, index, error))
        else:
            results.append(BulkResult[OrderOut](index=index, status=200 if replayed else 201, result=shown, error=None))
    return Bulk[OrderOut](data=results)


@router.post("/v1/orders/bulk_cancel", summary="Cancel several orders", dependencies=[*_CANCEL, idempotent])
async def cancel_bulk(body: BulkCancel, tx: OpenTx, at: _Now, request: Request) -> Bulk[OrderOut]:
    """Ask for up to 20 orders to be taken back. One that has ended or does not exist stops no other."""
    results = []
    for index, order_id in enumerate(body.order_ids):
        try:
            order = await service.request_cancel(tx, decode_id("ord", order_id, param="order_ids"), now=at)
            results.append(BulkResult[OrderOut](index=index, status=202, result=await _shown(tx, order), error=None))
        except DomainError as error:
            results.append(refused(request, index, error))
    return Bulk[OrderOut](data=results)


@router.get("/v1/orders", summary="List orders", dependencies=[Depends(requires("orders:read"))])
async def list_orders(
    tx: OpenTx,
    page: Paged,
    account_id: _Filter = None,
    deployment_id: _Filter = None,
    parent_id: _Filter = None,
    status: OrderStatus | None = None,
) -> Page[OrderOut]:
    """Orders of your key's mode, newest first."""
    found = await service.list_orders(
        tx,
        page.cursor("ord"),
        account_id=None if account_id is None else decode_id("acc", account_id, param="account_id"),
        deployment_id=None if deployment_id is None else decode_id("dep", deployment_id, param="deployment_id"),
        parent_id=None if parent_id is None else decode_id("ord", parent_id, param="parent_id"),
        status=status,
    )
    scales = await scales_of(tx, [order.instrument_id for order in found.rows])
    return Page.of(found.map(lambda order: OrderOut.of(order, scales[order.instrument_id])))


@router.get("/v1/orders/{id}", summary="Retrieve an order", dependencies=[Depends(requires("orders:read"))])
async def retrieve(id: str, tx: OpenTx) -> OrderOut:
    """One order, with what the rules said of it."""
    return await _shown(tx, await service.get_order(tx, decode_id("ord", id)))


@router.patch(
    "/v1/orders/{id}",
    summary="Change an order",
    status_code=202,
    responses={200: {"model": OrderOut, "description": "Changed: no broker knew of it yet."}},
    dependencies=_PLACE,
)
async def modify(id: str, body: ModifyOrder, tx: OpenTx, expected: Expected, response: Response) -> OrderOut:
    """Change an order that works: at once while it waits here or was not sent yet, else by asking its broker. What asks
    for more is decided like a new order and reserved first; what asks for less gives back once it is done. Until the
    broker has answered, `pending_change` says what it was asked. What trades at the market cannot be changed there. The
    slices of an order that is sent in slices are changed with it, and each says what its broker answered; less quantity
    is taken from the last of them, more is sent in new ones (not of a group), and the order's own follows what they
    come to."""
    order = await service.order_to_change(tx, decode_id("ord", id))
    if expected.given:
        expected.check(await _shown(tx, order))
    scale = (await scales_of(tx, [order.instrument_id]))[order.instrument_id]
    change = service.ChangeOrder(**body.scaled(scale))
    changed = await service.request_change(tx, order, change)
    shown = await _shown(tx, changed)
    pending = any(one.pending_change is not None for one in (shown, *(shown.children or ())))
    if not pending and change.quantity in (None, changed.quantity):
        response.status_code = 200
    return shown


@router.post(
    "/v1/orders/{id}/cancel",
    summary="Cancel an order",
    status_code=202,
    dependencies=[*_CANCEL, idempotent],
)
async def cancel(id: str, tx: OpenTx, at: _Now) -> OrderOut:
    """Ask for it to be taken back, ahead of everything else that waits in the account. A fill may still come first."""
    return await _shown(tx, await service.request_cancel(tx, decode_id("ord", id), now=at))


@router.post("/v1/orders/cancel_all", summary="Cancel all orders", status_code=202, dependencies=[*_CANCEL, idempotent])
async def cancel_all(body: CancelAll, tx: OpenTx) -> LeavingOut:
    """Ask for every such working order to be taken back, ahead of everything else that waits in the accounts."""
    return LeavingOut.of(await service.cancel_all(tx, body.which()), [])


@router.post(
    "/v1/positions/exit_all", summary="Exit all positions", status_code=202, dependencies=[*_CANCEL, idempotent]
)
async def exit_all(body: ExitAll, tx: OpenTx, at: Annotated[datetime, Depends(now)]) -> LeavingOut:
    """Take back the account's orders, then close its positions at the market, each sized when its turn comes to what is
    held and not being sold already. Pause deployments first: one that runs may enter again."""
    return LeavingOut.of(*await service.exit_all(tx, body.which(), now=at))


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


@router.post(
    "/v1/risk/what_if",
    summary="Suppose orders",
    tags=["Risk"],
    dependencies=[Depends(requires("orders:read", "risk:read")), idempotent],
)
async def what_if(body: WhatIf, tx: OpenTx) -> WhatIfOut:
    """What would be decided on each of the orders, in turn, if those before it that pass were working already: what
    every rule says, the funds, the position after. Writes nothing."""
    ids = [decode_id("ins", one.instrument_id, param="instrument_id") for one in body.orders]
    scales = [await scale_of(tx, instrument_id) for instrument_id in ids]
    commands = [one.command(scale, uuid4().hex) for one, scale in zip(body.orders, scales, strict=True)]
    return WhatIfOut.of(await service.suppose_orders(tx, commands))
