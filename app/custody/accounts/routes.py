"""`/v1/accounts`."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends

from app.custody.accounts import service
from app.custody.accounts.ports import Books, MarketTime
from app.custody.accounts.schemas import AccountOut, CreateAccount
from app.kernel.ids import decode_id
from app.web.auth import requires
from app.web.context import now
from app.web.idempotency import idempotent
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx


def account_routes(books: Books, market_time: MarketTime) -> ApiRouter:
    """The routes. Ledger and market lie above accounts."""
    router = ApiRouter(prefix="/v1/accounts", tags=["Accounts"])

    @router.post(
        "",
        summary="Open an account",
        status_code=201,
        dependencies=[Depends(requires("accounts:write")), idempotent],
    )
    async def create(body: CreateAccount, tx: OpenTx, at: Annotated[datetime, Depends(now)]) -> AccountOut:
        """A paper account, funded with virtual money by an entry in the ledger, dated by its feed's clock."""
        dated = await market_time(tx, body.feed) or at
        return AccountOut.of(await service.create_account(tx, body.command(), books=books, now=dated))

    @router.get("", summary="List accounts", dependencies=[Depends(requires("accounts:read"))])
    async def list_all(tx: OpenTx, page: Paged) -> Page[AccountOut]:
        """The accounts of your key's mode, newest first."""
        found = await service.list_accounts(tx, page.cursor(service.PREFIX))
        return Page.of(found.map(AccountOut.of))

    @router.get("/{id}", summary="Retrieve an account", dependencies=[Depends(requires("accounts:read"))])
    async def retrieve(id: str, tx: OpenTx) -> AccountOut:
        """One account."""
        return AccountOut.of(await service.get_account(tx, decode_id(service.PREFIX, id)))

    return router
