"""`/v1/balances`, `/v1/ledger_transactions`, `/v1/segregation` and `/v1/breaks`."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query

from app.custody.accounts.service import PREFIX
from app.custody.ledger import service
from app.custody.ledger.schemas import (
    BalanceList,
    BalanceOut,
    BreakOut,
    BreakStatus,
    ResolveBreak,
    ReverseTransaction,
    SegregationList,
    SegregationOut,
    TransactionOut,
)
from app.kernel.ids import decode_id
from app.web.auth import requires
from app.web.context import now
from app.web.idempotency import idempotent
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx

router = ApiRouter(prefix="/v1/balances", tags=["Accounts"])
Now = Annotated[datetime, Depends(now)]


@router.get("", summary="Retrieve an account's balances", dependencies=[Depends(requires("accounts:read"))])
async def retrieve(
    tx: OpenTx, account_id: Annotated[str, Query(max_length=64, description="The account whose cash to show.")]
) -> BalanceList:
    """Posted, held and available cash, as exact decimal strings."""
    found = await service.balances(tx, decode_id(PREFIX, account_id, param="account_id"))
    return BalanceList(data=[BalanceOut.of(balance) for balance in found])


def books_routes() -> list[ApiRouter]:
    """The routes of whoever keeps the books."""
    return [_transactions(), _segregation(), _breaks()]


def _transactions() -> ApiRouter:
    routes = ApiRouter(prefix="/v1/ledger_transactions", tags=["Custody"])
    read = [Depends(requires("accounts:read"))]

    @routes.get("", summary="List ledger transactions", dependencies=read)
    async def list_all(
        tx: OpenTx,
        page: Paged,
        account_id: Annotated[str | None, Query(max_length=64, description="Only this account's.")] = None,
    ) -> Page[TransactionOut]:
        """Everything that was posted, with its entries, newest first."""
        account = None if account_id is None else decode_id(PREFIX, account_id, param="account_id")
        found = await service.list_transactions(tx, page.cursor(service.TRANSACTION), account_id=account)
        return Page.of(found.map(TransactionOut.of))

    @routes.get("/{id}", summary="Retrieve a ledger transaction", dependencies=read)
    async def retrieve(id: str, tx: OpenTx) -> TransactionOut:
        """One transaction with its entries."""
        return TransactionOut.of(await service.get_transaction(tx, decode_id(service.TRANSACTION, id)))

    @routes.post(
        "/{id}/reverse",
        summary="Reverse a ledger transaction",
        status_code=201,
        dependencies=[Depends(requires("custody:write")), idempotent],
    )
    async def reverse(id: str, body: ReverseTransaction, tx: OpenTx, at: Now) -> TransactionOut:
        """Undo it with another transaction, once. It takes two people: an approval of `ledger_transaction.reverse`.

        When it gave an account what waited in suspense for a break, that break opens again.
        """
        approval = None if body.approval_id is None else decode_id("apr", body.approval_id, param="approval_id")
        transaction_id = decode_id(service.TRANSACTION, id)
        return TransactionOut.of(
            await service.reverse(tx, transaction_id, reason=body.reason, approval_id=approval, now=at)
        )

    return routes


def _segregation() -> ApiRouter:
    routes = ApiRouter(prefix="/v1/segregation", tags=["Custody"])

    @routes.get("", summary="Retrieve segregation", dependencies=[Depends(requires("custody:read"))])
    async def retrieve(tx: OpenTx) -> SegregationList:
        """Whether the clients' money is there, at this moment, by currency."""
        return SegregationList(data=[SegregationOut.of(row) for row in await service.segregation(tx)])

    return routes


def _breaks() -> ApiRouter:
    routes = ApiRouter(prefix="/v1/breaks", tags=["Custody"])
    write = [Depends(requires("custody:write")), idempotent]

    @routes.get("", summary="List breaks", dependencies=[Depends(requires("custody:read"))])
    async def list_all(
        tx: OpenTx,
        page: Paged,
        at: Now,
        status: Annotated[BreakStatus | None, Query(description="Only these.")] = None,
    ) -> Page[BreakOut]:
        """Differences between the ledger and what others say, newest first."""
        found = await service.list_breaks(tx, page.cursor(service.BREAK), status=status)
        return Page.of(found.map(lambda row: BreakOut.of(row, at)))

    @routes.post("/{id}/take", summary="Take a break", dependencies=write)
    async def take(id: str, tx: OpenTx, at: Now) -> BreakOut:
        """You look into it from now on."""
        return BreakOut.of(await service.take_break(tx, decode_id(service.BREAK, id)), at)

    @routes.post("/{id}/resolve", summary="Resolve a break", dependencies=write)
    async def resolve(id: str, body: ResolveBreak, tx: OpenTx, at: Now) -> BreakOut:
        """End it with a reason; what waits in suspense for it may become an account's."""
        account = None if body.account_id is None else decode_id(PREFIX, body.account_id, param="account_id")
        row = await service.resolve_break(
            tx, decode_id(service.BREAK, id), reason=body.reason, account_id=account, now=at
        )
        return BreakOut.of(row, at)

    return routes
