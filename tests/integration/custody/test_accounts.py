"""Opening and reading accounts: the services, the order path's functions, and the routes over HTTP."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.middleware.base import RequestResponseEndpoint

from app.custody.accounts import service
from app.custody.accounts.domain import NewAccount
from app.custody.accounts.routes import account_routes
from app.custody.ledger.routes import router as balance_router
from app.custody.ledger.service import Books as LedgerBooks
from app.infra.database import Database, open_pool
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id, uuid7
from app.kernel.money import Money
from app.kernel.orders import Mode
from app.kernel.principal import Principal
from app.market.data.service import market_time
from app.web.transaction import open_tx
from tests.integration.custody.conftest import NOW, Books, Urls, make_tenant

pytestmark = pytest.mark.asyncio


def principal_of(books: Books, mode: Mode = Mode.TEST) -> Principal:
    return Principal(books.tenant_id, uuid7(), mode, frozenset({"accounts:read", "accounts:write"}))


class _Everybody:
    """Admits: who may what is tested with tenancy."""

    async def check(self, *_: object, **__: object) -> None: ...


@pytest_asyncio.fixture
async def client(books: Books) -> AsyncIterator[httpx.AsyncClient]:
    caller = principal_of(books)

    async def tx() -> AsyncIterator[object]:
        async with books.database.tx(books.tenant_id, caller) as opened:
            yield opened

    async def problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, DomainError)
        status = {"invalid": 422, "not_found": 404, "forbidden": 403, "conflict": 409}[error.kind]
        return JSONResponse({"code": error.code, "param": error.param, "detail": error.message}, status_code=status)

    api = FastAPI()
    api.include_router(account_routes(LedgerBooks(), market_time))
    api.include_router(balance_router)
    api.add_exception_handler(DomainError, problem)
    api.state.gateway = SimpleNamespace(admission=_Everybody(), clock=lambda: NOW)
    api.dependency_overrides = {open_tx: tx}

    @api.middleware("http")
    async def known(request: Request, call_next: RequestResponseEndpoint) -> Response:
        request.state.principal = caller
        return await call_next(request)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://test") as http:
        yield http


BODY = {"name": "momentum", "currency": "USD", "opening_balance": "100000.00"}


async def test_an_opened_account_is_shown_with_its_money(client: httpx.AsyncClient, books: Books) -> None:
    made = await client.post("/v1/accounts", json=BODY)
    shown = made.json()
    assert made.status_code == 201
    assert (shown["mode"], shown["charge_schedule"], shown["status"]) == ("test", "us_equity", "active")
    assert (await client.get(f"/v1/accounts/{shown['id']}")).json() == shown
    balance = (await client.get("/v1/balances", params={"account_id": shown["id"]})).json()
    there = dict.fromkeys(("posted", "settled", "available", "withdrawable"), "100000.00")
    nothing = dict.fromkeys(("receivable", "payable", "held", "margin", "financed"), "0.00")
    expected = there | nothing | {"currency": "USD"}
    assert balance == {"data": [{"account_id": shown["id"], **expected}], "has_more": False}
    assert await books.value("select count(*) from events where type = 'account.opened'") == 1


async def test_a_refused_account_leaves_nothing_behind(client: httpx.AsyncClient, books: Books) -> None:
    answers = {
        "live_accounts_unavailable": BODY | {"mode": "live"},
        "charge_schedule_not_found": BODY | {"charge_schedule": "free"},
        "currency_mismatch": BODY | {"charge_schedule": "nse_equity"},
        "unknown_currency": BODY | {"currency": "EUR"},
        "invalid_amount": BODY | {"opening_balance": "1000000000.01"},
        "too_precise": BODY | {"opening_balance": "0.001"},
    }
    for code, body in answers.items():
        answer = await client.post("/v1/accounts", json=body)
        assert (answer.json()["code"], answer.status_code in (403, 404, 422)) == (code, True)
    for table in ("accounts", "ledger_accounts", "ledger_transactions", "events"):
        assert await books.value(f"select count(*) from {table}") == 0


async def test_accounts_are_listed_newest_first_in_pages(client: httpx.AsyncClient) -> None:
    made = [(await client.post("/v1/accounts", json=BODY)).json()["id"] for _ in range(3)]
    first = (await client.get("/v1/accounts", params={"limit": 2})).json()
    assert ([row["id"] for row in first["data"]], first["has_more"]) == (made[:0:-1], True)
    rest = (await client.get("/v1/accounts", params={"limit": 2, "starting_after": made[1]})).json()
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == (made[:1], False)


async def test_another_tenants_account_is_not_found(client: httpx.AsyncClient, database: Database) -> None:
    stranger = encode_id("acc", await (await make_tenant(database)).open())
    for path in (f"/v1/accounts/{stranger}", f"/v1/balances?account_id={stranger}"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")
    wrong = await client.get("/v1/balances?account_id=ord_1")
    assert (wrong.status_code, wrong.json()["param"]) == (422, "account_id")


async def test_a_live_key_sees_no_paper_account(books: Books) -> None:
    account = await books.open()
    async with books.database.tx(books.tenant_id, principal_of(books, Mode.LIVE)) as tx:
        with pytest.raises(DomainError, match="No account"):
            await service.get_account(tx, account)


async def test_an_account_can_belong_to_a_client_of_the_tenant(books: Books, database: Database) -> None:
    asked = NewAccount(name="a", currency="INR", opening_balance=Money(500, "INR"))
    async with books.tx() as tx:
        client = await service.create_client(tx, external_ref="C-1", name="Asha")
        account = await service.create_account(tx, asked, books=LedgerBooks(), now=NOW, client_id=client.id)
    assert account.client_id == client.id
    with pytest.raises(DomainError, match="'C-1' exists already"):
        async with books.tx() as tx:
            await service.create_client(tx, external_ref="C-1", name="Asha")
    stranger = await make_tenant(database)
    with pytest.raises(DomainError) as caught:
        async with stranger.tx() as tx:
            await service.create_account(tx, asked, books=LedgerBooks(), now=NOW, client_id=client.id)
    assert caught.value.code == "client_not_found"


async def test_the_order_path_reads_and_advances_an_account(books: Books) -> None:
    account = await books.open()
    row = (await books.call("select * from accounts_for_order($1)", account))[0]
    assert (row["id"], row["mode"], row["broker"], row["slippage_bps"], row["version"]) == (
        account,
        "test",
        "paper",
        5,
        0,
    )
    advance = "select accounts_advance($1, $2)"
    assert [await books.value(advance, account, expected) for expected in (0, 0, 1, None)] == [1, None, 2, 3]
    assert await books.value("select accounts_lock($1)", account) == 3
    assert await books.value("select accounts_lock($1)", uuid7()) is None


async def test_another_tenant_can_neither_read_nor_advance_it(books: Books, database: Database) -> None:
    account: UUID = await books.open()
    stranger = await make_tenant(database)
    assert await stranger.call("select * from accounts_for_order($1)", account) == []
    assert await stranger.value("select accounts_advance($1, null)", account) is None


async def test_the_application_role_passes_the_boot_check(custody_urls: Urls) -> None:
    pool = await open_pool(custody_urls["mandi_app"], size=1)
    await pool.close()
