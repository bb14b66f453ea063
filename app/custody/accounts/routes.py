"""`/v1/clients` and `/v1/accounts`."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query

from app.custody.accounts import service
from app.custody.accounts.ports import Books, MarketTime
from app.custody.accounts.schemas import AccountOut, ChangeClient, ClientOut, CreateAccount, CreateClient
from app.kernel.ids import decode_id
from app.web.auth import requires
from app.web.conditional import Expected
from app.web.context import now
from app.web.idempotency import idempotent
from app.web.pagination import Page, Paged
from app.web.routing import ApiRouter
from app.web.transaction import OpenTx


def client_routes() -> ApiRouter:
    """The routes of end customers."""
    router = ApiRouter(prefix="/v1/clients", tags=["Clients"])

    @router.post(
        "",
        summary="Create a client",
        status_code=201,
        dependencies=[Depends(requires("clients:write")), idempotent],
    )
    async def create_client(body: CreateClient, tx: OpenTx) -> ClientOut:
        """An end customer of yours, under your own number."""
        return ClientOut.of(await service.create_client(tx, external_ref=body.external_ref, name=body.name))

    @router.get("", summary="List clients", dependencies=[Depends(requires("clients:read"))])
    async def list_clients(
        tx: OpenTx,
        page: Paged,
        external_ref: Annotated[str | None, Query(max_length=64, description="Your own number for it.")] = None,
    ) -> Page[ClientOut]:
        """Newest first."""
        found = await service.list_clients(tx, page.cursor(service.CLIENT), external_ref=external_ref)
        return Page.of(found.map(ClientOut.of))

    @router.get("/{id}", summary="Retrieve a client", dependencies=[Depends(requires("clients:read"))])
    async def retrieve_client(id: str, tx: OpenTx) -> ClientOut:
        """One client."""
        return ClientOut.of(await service.get_client(tx, decode_id(service.CLIENT, id)))

    @router.patch("/{id}", summary="Change a client", dependencies=[Depends(requires("clients:write"))])
    async def change_client(id: str, body: ChangeClient, tx: OpenTx, expected: Expected) -> ClientOut:
        """Rename, close or reopen it."""
        client_id = decode_id(service.CLIENT, id)
        if expected.given:
            expected.check(ClientOut.of(await service.held_client(tx, client_id)))
        row = await service.change_client(tx, client_id, name=body.name, status=body.status)
        return ClientOut.of(row)

    return router


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
        client_id = None if body.client_id is None else decode_id(service.CLIENT, body.client_id, param="client_id")
        row = await service.create_account(tx, body.command(), books=books, now=dated, client_id=client_id)
        return AccountOut.of(row)

    @router.get("", summary="List accounts", dependencies=[Depends(requires("accounts:read"))])
    async def list_all(
        tx: OpenTx,
        page: Paged,
        client_id: Annotated[str | None, Query(max_length=64, description="Only this end customer's.")] = None,
    ) -> Page[AccountOut]:
        """The accounts of your key's mode, newest first."""
        client = None if client_id is None else decode_id(service.CLIENT, client_id, param="client_id")
        found = await service.list_accounts(tx, page.cursor(service.PREFIX), client_id=client)
        return Page.of(found.map(AccountOut.of))

    @router.get("/{id}", summary="Retrieve an account", dependencies=[Depends(requires("accounts:read"))])
    async def retrieve(id: str, tx: OpenTx) -> AccountOut:
        """One account."""
        return AccountOut.of(await service.get_account(tx, decode_id(service.PREFIX, id)))

    return router
