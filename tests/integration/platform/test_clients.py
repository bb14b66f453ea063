"""End customers through the API, and the accounts that belong to them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest

from app.custody.accounts.domain import ClientStatus, NewAccount
from app.custody.accounts.service import change_client, create_account, create_client
from app.custody.ledger.service import Books
from app.infra.database import Database, Tx
from app.kernel.errors import DomainError
from app.kernel.ids import decode_id, encode_id
from app.kernel.money import Money
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio
ACCOUNT = {"name": "a", "currency": "USD", "opening_balance": "100.00"}
NOW = datetime(2026, 1, 5, tzinfo=UTC)


async def _client_of(client: httpx.AsyncClient, tenant: TenantWithKey, ref: str = "C-1") -> str:
    made = await client.post("/v1/clients", headers=tenant.headers, json={"external_ref": ref, "name": "Asha"})
    assert made.status_code == 201, made.text
    client_id: str = made.json()["id"]
    return client_id


async def test_a_client_is_created_found_renamed_and_closed(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    first, second = await _client_of(client, tenant), await _client_of(client, tenant, "C-2")
    path = f"/v1/clients/{first}"
    changed = await client.patch(path, headers=tenant.headers, json={"name": "Asha K.", "status": "closed"})
    assert (changed.json()["name"], changed.json()["status"]) == ("Asha K.", "closed")
    assert (await client.get(path, headers=tenant.headers)).json() == changed.json()
    listed = (await client.get("/v1/clients", headers=tenant.headers)).json()["data"]
    assert [row["id"] for row in listed] == [second, first]
    found = await client.get("/v1/clients", headers=tenant.headers, params={"external_ref": "C-1"})
    assert [row["id"] for row in found.json()["data"]] == [first]
    async with database.tx(tenant.tenant_id) as tx:
        from sqlalchemy import text

        types = (await tx.execute(text("select type from events where type like 'client.%' order by id"))).scalars()
        assert list(types) == ["client.created", "client.created", "client.changed"]


async def test_an_account_belongs_to_its_client_and_lists_by_it(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    owner = await _client_of(client, tenant)
    await client.post("/v1/accounts", headers=tenant.headers, json=ACCOUNT)
    made = await client.post("/v1/accounts", headers=tenant.headers, json=ACCOUNT | {"client_id": owner})
    assert (made.status_code, made.json()["client_id"]) == (201, owner), made.text
    listed = await client.get("/v1/accounts", headers=tenant.headers, params={"client_id": owner})
    assert [row["id"] for row in listed.json()["data"]] == [made.json()["id"]]
    assert len((await client.get("/v1/accounts", headers=tenant.headers)).json()["data"]) == 2


async def test_another_tenants_client_is_unknown(client: httpx.AsyncClient, database: Database) -> None:
    tenant, other = await make_tenant(database), await make_tenant(database)
    theirs = await _client_of(client, other)
    opened = await client.post("/v1/accounts", headers=tenant.headers, json=ACCOUNT | {"client_id": theirs})
    assert (opened.status_code, opened.json()["code"]) == (404, "client_not_found")
    for answer in (
        await client.get(f"/v1/clients/{theirs}", headers=tenant.headers),
        await client.patch(f"/v1/clients/{theirs}", headers=tenant.headers, json={"name": "mine"}),
    ):
        assert answer.status_code == 404
    listed = await client.get("/v1/accounts", headers=tenant.headers, params={"client_id": theirs})
    assert listed.json()["data"] == []
    await _client_of(client, tenant)  # the same reference may be used by both


async def test_a_client_with_accounts_stays_and_a_closed_one_gets_none(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    busy, idle = await _client_of(client, tenant), await _client_of(client, tenant, "C-2")
    await client.post("/v1/accounts", headers=tenant.headers, json=ACCOUNT | {"client_id": busy})
    kept = await client.patch(f"/v1/clients/{busy}", headers=tenant.headers, json={"status": "closed"})
    assert (kept.status_code, kept.json()["code"]) == (409, "client_has_accounts")
    await client.patch(f"/v1/clients/{idle}", headers=tenant.headers, json={"status": "closed"})
    refused = await client.post("/v1/accounts", headers=tenant.headers, json=ACCOUNT | {"client_id": idle})
    assert (refused.status_code, refused.json()["code"]) == (409, "client_closed")
    await client.patch(f"/v1/clients/{idle}", headers=tenant.headers, json={"status": "active"})
    opened = await client.post("/v1/accounts", headers=tenant.headers, json=ACCOUNT | {"client_id": idle})
    assert opened.status_code == 201


async def test_opening_and_closing_at_once_never_leave_a_closed_client_with_an_account(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    for number in range(4):
        client_id = decode_id("cli", await _client_of(client, tenant, f"C-{number}"))

        async def opens(owner: UUID = client_id) -> str:
            return await _said(
                database,
                tenant,
                lambda tx: create_account(
                    tx,
                    NewAccount(name="a", currency="USD", opening_balance=Money(100, "USD")),
                    books=Books(),
                    now=NOW,
                    client_id=owner,
                ),
            )

        async def closes(owner: UUID = client_id) -> str:
            return await _said(database, tenant, lambda tx: change_client(tx, owner, status=ClientStatus.CLOSED))

        outcome = tuple(await asyncio.gather(opens(), closes()))
        assert outcome in (("done", "client_has_accounts"), ("client_closed", "done")), outcome


async def test_of_many_who_use_a_reference_at_once_one_gets_it(database: Database) -> None:
    tenant = await make_tenant(database)
    answers = await asyncio.gather(
        *(_said(database, tenant, lambda tx: create_client(tx, external_ref="C-1", name="Asha")) for _ in range(6))
    )
    assert sorted(answers) == ["client_exists"] * 5 + ["done"]


async def _said(database: Database, tenant: TenantWithKey, act: Callable[[Tx], Awaitable[object]]) -> str:
    try:
        async with database.tx(tenant.tenant_id) as tx:
            await act(tx)
    except DomainError as error:
        return error.code
    return "done"


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"external_ref": "", "name": "x"},
        {"external_ref": "C", "name": ""},
        {"external_ref": "C", "name": "x", "email": "x@example.com"},
    ],
)
async def test_a_client_is_a_number_and_a_name(
    client: httpx.AsyncClient, database: Database, body: dict[str, str]
) -> None:
    tenant = await make_tenant(database)
    assert (await client.post("/v1/clients", headers=tenant.headers, json=body)).status_code == 422


async def test_an_unknown_client_is_a_404(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    missing = encode_id("cli", tenant.tenant_id)
    assert (await client.get(f"/v1/clients/{missing}", headers=tenant.headers)).json()["code"] == "client_not_found"
