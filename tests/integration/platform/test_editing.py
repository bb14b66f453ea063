"""Members, roles, clients, webhook endpoints, applications are changed only as whoever changes them knows them."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.infra.database import Database
from app.platform.tenancy.domain import Role
from tests.factories.members import make_person
from tests.factories.tenants import TenantWithKey, make_tenant

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True, slots=True)
class Editing:
    """Something to edit: where it is, a first change, and other requests that must meet the present state."""

    path: str
    first: dict[str, Any]
    others: tuple[tuple[str, str, dict[str, Any] | None], ...]


async def _member(client: httpx.AsyncClient, database: Database, tenant: TenantWithKey) -> Editing:
    person = await make_person(database, tenant.tenant_id, Role.TRADER)
    others = (("PATCH", "", {"role": "read_only"}), ("DELETE", "", None), ("POST", "/suspend", None))
    return Editing(f"/v1/members/{person.member}", {"role": "analyst"}, (*others, ("POST", "/reactivate", None)))


async def _role(client: httpx.AsyncClient, database: Database, tenant: TenantWithKey) -> Editing:
    body = {"name": "desk", "permissions": ["orders:read"]}
    made = await client.post("/v1/roles", headers=tenant.headers, json=body)
    others = (("PATCH", "", {"name": "other"}), ("DELETE", "", None))
    return Editing(f"/v1/roles/{made.json()['id']}", {"permissions": ["orders:read", "positions:read"]}, others)


async def _client(client: httpx.AsyncClient, database: Database, tenant: TenantWithKey) -> Editing:
    made = await client.post("/v1/clients", headers=tenant.headers, json={"external_ref": "C-1", "name": "Asha"})
    return Editing(f"/v1/clients/{made.json()['id']}", {"name": "Ravi"}, (("PATCH", "", {"name": "Mira"}),))


async def _endpoint(client: httpx.AsyncClient, database: Database, tenant: TenantWithKey) -> Editing:
    body = {"url": "https://hooks.example.com/a", "event_types": ["*"]}
    made = await client.post("/v1/webhook_endpoints", headers=tenant.headers, json=body)
    others = (("PATCH", "", {"status": "disabled"}), ("DELETE", "", None), ("POST", "/rotate_secret", None))
    return Editing(f"/v1/webhook_endpoints/{made.json()['id']}", {"event_types": ["order.*"]}, others)


async def _application(client: httpx.AsyncClient, database: Database, tenant: TenantWithKey) -> Editing:
    made = await client.post("/v1/oauth_clients", headers=tenant.headers, json=SECRETS[0][1])
    others = (("PATCH", "", {"name": "other"}), ("DELETE", "", None), ("POST", "/secret", None))
    return Editing(f"/v1/oauth_clients/{made.json()['id']}", {"scopes": ["positions:read"]}, others)


KINDS = pytest.mark.parametrize("make", [_member, _role, _client, _endpoint, _application])


async def _count(database: Database, tenant: TenantWithKey) -> int:
    async with database.tx(tenant.tenant_id) as tx:
        return int((await tx.execute(text("select count(*) from events"))).scalar_one())


@KINDS
async def test_a_change_of_the_present_state_goes_through_and_a_stale_one_does_nothing(
    client: httpx.AsyncClient, database: Database, make: Any
) -> None:
    tenant = await make_tenant(database)
    editing = await make(client, database, tenant)
    before = await client.get(editing.path, headers=tenant.headers)
    knows = tenant.headers | {"If-Match": before.headers["ETag"]}
    changed = await client.patch(editing.path, headers=knows, json=editing.first)
    assert changed.status_code == 200, changed.text
    present = await client.get(editing.path, headers=tenant.headers)
    assert present.json() == changed.json()
    told = await _count(database, tenant)
    for method, under, body in editing.others:
        stale = await client.request(method, editing.path + under, headers=knows, json=body)
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed"), (method, under)
    assert (await client.get(editing.path, headers=tenant.headers)).content == present.content
    assert await _count(database, tenant) == told


@KINDS
async def test_of_many_who_know_the_same_state_one_changes_it(
    client: httpx.AsyncClient, database: Database, make: Any
) -> None:
    tenant = await make_tenant(database)
    editing = await make(client, database, tenant)
    tag = (await client.get(editing.path, headers=tenant.headers)).headers["ETag"]
    knows = tenant.headers | {"If-Match": tag}
    answers = await asyncio.gather(*(client.patch(editing.path, headers=knows, json=editing.first) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5


@KINDS
async def test_another_tenants_object_is_a_404_whatever_is_said_of_its_state(
    client: httpx.AsyncClient, database: Database, make: Any
) -> None:
    tenant, stranger = await make_tenant(database), await make_tenant(database)
    editing = await make(client, database, tenant)
    knows = stranger.headers | {"If-Match": "*"}
    assert (await client.patch(editing.path, headers=knows, json=editing.first)).status_code == 404


@pytest.mark.parametrize("make", [_member, _role, _endpoint])
async def test_what_is_deleted_is_a_404_at_every_door(client: httpx.AsyncClient, database: Database, make: Any) -> None:
    tenant = await make_tenant(database)
    editing = await make(client, database, tenant)
    assert (await client.delete(editing.path, headers=tenant.headers)).status_code == 204
    assert (await client.get(editing.path, headers=tenant.headers)).status_code == 404
    assert (await client.patch(editing.path, headers=tenant.headers, json=editing.first)).status_code == 404
    for method, under, body in editing.others:
        again = await client.request(method, editing.path + under, headers=tenant.headers, json=body)
        assert again.status_code == 404, (method, under)


async def test_a_built_in_role_is_read_by_its_name(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    listed = (await client.get("/v1/roles", headers=tenant.headers)).json()["data"]
    trader = next(role for role in listed if role["id"] == "trader")
    assert (await client.get("/v1/roles/trader", headers=tenant.headers)).json() == trader


SECRETS = [
    (
        "/v1/oauth_clients",
        {
            "name": "r",
            "auth_method": "client_secret_basic",
            "grant_types": ["client_credentials"],
            "scopes": ["orders:read"],
        },
        "client_secret",
        "/secret",
    ),
    ("/v1/webhook_endpoints", {"url": "https://hooks.example.com/a", "event_types": ["*"]}, "secret", "/rotate_secret"),
]


@pytest.mark.parametrize(("path", "body", "field", "rotate"), SECRETS)
async def test_a_repeated_request_neither_keeps_nor_repeats_a_secret(
    client: httpx.AsyncClient, database: Database, path: str, body: dict[str, Any], field: str, rotate: str
) -> None:
    tenant = await make_tenant(database)
    made = await client.post(path, headers=tenant.headers | {"Idempotency-Key": "make"}, json=body)
    assert made.status_code == 201, made.text
    again = await client.post(path, headers=tenant.headers | {"Idempotency-Key": "make"}, json=body)
    one = made.json()
    assert (again.status_code, again.json()["code"]) == (409, "secret_already_shown")
    assert f"{path}/{one['id']}" in again.json()["detail"]
    turn = f"{path}/{one['id']}{rotate}"
    turned, turned_again = [
        await client.post(turn, headers=tenant.headers | {"Idempotency-Key": "turn"}) for _ in range(2)
    ]
    assert (turned.status_code, turned_again.status_code) == (200, 409)
    assert len((await client.get(path, headers=tenant.headers)).json()["data"]) == 1
    async with database.tx(tenant.tenant_id) as tx:
        kept = str((await tx.execute(text("select k::text from idempotency_keys k"))).scalars().all())
    for answer in (made, turned):
        secret = answer.json()[field].rpartition("_")[2]
        assert secret not in kept
        assert secret.encode().hex() not in kept


async def test_an_invitation_that_is_asked_for_twice_is_mailed_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    tenant = await make_tenant(database)
    headers = tenant.headers | {"Idempotency-Key": "one"}
    body = {"email": "ravi@example.com", "role": "trader"}
    first, again = [await client.post("/v1/invitations", headers=headers, json=body) for _ in range(2)]
    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await _count(database, tenant) == 1 + len(["tenant.created"]) + len(["api_key.created"])
