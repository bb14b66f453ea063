"""`/v1/deposits` and `/v1/withdrawals`."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query

from app.custody.funding import service
from app.custody.funding.domain import Direction
from app.custody.funding.schemas import CreateDeposit, CreateWithdrawal, PaymentOut
from app.kernel.ids import decode_id
from app.web.auth import requires
from app.web.context import now
from app.web.idempotency import idempotent
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

Now = Annotated[datetime, Depends(now)]
_READ = [Depends(requires("funding:read"))]
_WRITE = [Depends(requires("funding:write")), idempotent]
_Account = Annotated[str | None, Query(max_length=64, description="Only this account's.")]


def payment_routes() -> list[ApiRouter]:
    """Deposits, then withdrawals."""
    return [_deposits(), _withdrawals()]


def _deposits() -> ApiRouter:
    router = ApiRouter(prefix="/v1/deposits", tags=["Payments"])

    @router.post("", summary="Create a deposit", status_code=201, dependencies=_WRITE)
    async def create(body: CreateDeposit, tx: OpenTx, at: Now) -> PaymentOut:
        """Ask for money into an account; it is there once the payment provider has it."""
        account_id = decode_id("acc", body.account_id, param="account_id")
        return PaymentOut.of(await service.request_deposit(tx, account_id, body.amount, now=at))

    @router.get("", summary="List deposits", dependencies=_READ)
    async def list_all(tx: OpenTx, page: Paged, account_id: _Account = None) -> Page[PaymentOut]:
        """Newest first."""
        account = None if account_id is None else decode_id("acc", account_id, param="account_id")
        cursor = page.cursor(service.DEPOSIT)
        found = await service.list_payments(tx, Direction.DEPOSIT, cursor, account_id=account)
        return Page.of(found.map(PaymentOut.of))

    @router.get("/{id}", summary="Retrieve a deposit", dependencies=_READ)
    async def retrieve(id: str, tx: OpenTx) -> PaymentOut:
        """One deposit."""
        return PaymentOut.of(await service.get_payment(tx, Direction.DEPOSIT, decode_id(service.DEPOSIT, id)))

    return router


def _withdrawals() -> ApiRouter:
    router = ApiRouter(prefix="/v1/withdrawals", tags=["Payments"])

    @router.post("", summary="Create a withdrawal", status_code=201, dependencies=_WRITE)
    async def create(body: CreateWithdrawal, tx: OpenTx, at: Now) -> PaymentOut:
        """Pay settled cash out; it is held until the payment provider has paid or refused. Large ones take two people:
        an approval of `withdrawal.create`."""
        account_id = decode_id("acc", body.account_id, param="account_id")
        approval = None if body.approval_id is None else decode_id("apr", body.approval_id, param="approval_id")
        row = await service.request_withdrawal(tx, account_id, body.amount, approval_id=approval, now=at)
        return PaymentOut.of(row)

    @router.get("", summary="List withdrawals", dependencies=_READ)
    async def list_all(tx: OpenTx, page: Paged, account_id: _Account = None) -> Page[PaymentOut]:
        """Newest first."""
        account = None if account_id is None else decode_id("acc", account_id, param="account_id")
        cursor = page.cursor(service.WITHDRAWAL)
        found = await service.list_payments(tx, Direction.WITHDRAWAL, cursor, account_id=account)
        return Page.of(found.map(PaymentOut.of))

    @router.get("/{id}", summary="Retrieve a withdrawal", dependencies=_READ)
    async def retrieve(id: str, tx: OpenTx) -> PaymentOut:
        """One withdrawal."""
        return PaymentOut.of(await service.get_payment(tx, Direction.WITHDRAWAL, decode_id(service.WITHDRAWAL, id)))

    return router
