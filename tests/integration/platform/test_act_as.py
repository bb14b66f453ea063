"""Acting for a tenant below: a reason, an hour at most, both identities in what happens, and either side may end it."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text

from app.infra.database import Database
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id, uuid7
from app.kernel.orders import Mode
from app.platform.plans.service import TenantQuotas
from app.platform.tenancy.domain import NOT_DELEGABLE, PERMISSIONS, Role, TenantStatus
from app.platform.tenancy.service import Admission, create_tenant, end_grant, open_grant, set_status
from tests.factories.logins import logged_in
from tests.factories.members import Person, make_person
from tests.factories.tenants import TenantWithKey, make_key, make_tenant
from tests.integration.platform.conftest import now

pytestmark = pytest.mark.asyncio
WHY = "ticket 4711: their order does not fill"


@dataclass(frozen=True, slots=True)
class Tree:
    """A parent with a person, one of its children with a key, and a stranger's child."""

    boss: Person
    child: TenantWithKey
    stranger: UUID

    def body(self, **changed: Any) -> dict[str, Any]:
        return {"tenant_id": encode_id("ten", self.child.tenant_id), "reason": WHY, "minutes": 30} | changed


@pytest_asyncio.fixture
async def tree(database: Database) -> Tree:
    parent, other = await make_tenant(database), await make_tenant(database)
    child_id = await create_tenant(database, slug="below", name="Below", parent_id=parent.tenant_id)
    stranger = await create_tenant(database, slug="theirs", name="Theirs", parent_id=other.tenant_id)
    return Tree(await make_person(database, parent.tenant_id), await make_key(database, child_id), stranger)


async def _open(client: httpx.AsyncClient, tree: Tree) -> str:
    answer = await client.post("/v1/act_as_grants", headers=tree.boss.headers, json=tree.body())
    assert answer.status_code == 201, answer.text
    grant: str = answer.json()["id"]
    return grant


def _acting(who: Person, grant: str) -> dict[str, str]:
    return who.headers | {"Mandi-Act-As": grant}


async def _events(database: Database, tenant_id: UUID, kind: str) -> list[Any]:
    async with database.tx(tenant_id) as tx:
        found = await tx.execute(text("select * from events where type = :kind order by id"), {"kind": kind})
        return list(found)


async def test_requests_under_a_grant_are_the_childs_and_name_both(
    client: httpx.AsyncClient, database: Database, tree: Tree
) -> None:
    grant = await _open(client, tree)
    acting = _acting(tree.boss, grant)
    shown = (await client.get("/v1/tenant", headers=acting)).json()
    assert shown["id"] == encode_id("ten", tree.child.tenant_id)
    assert shown["parent_id"] == encode_id("ten", tree.boss.tenant_id)
    made = await client.post("/v1/clients", headers=acting, json={"external_ref": "C-1", "name": "Asha"})
    assert made.status_code == 201, made.text
    (event,) = await _events(database, tree.child.tenant_id, "client.created")
    assert event.actor_user_id == tree.boss.user_id
    assert event.actor_tenant_id == tree.boss.tenant_id
    assert (event.actor_key_id, encode_id("act", event.grant_id)) == (tree.boss.key_id, grant)
    assert await _events(database, tree.boss.tenant_id, "client.created") == []
    without = (await client.get("/v1/clients", headers=tree.boss.headers)).json()
    assert without["data"] == []


async def test_both_sides_see_the_grant_and_its_reason(
    client: httpx.AsyncClient, database: Database, tree: Tree
) -> None:
    grant = await _open(client, tree)
    for headers, side in ((tree.boss.headers, "parent"), (tree.child.headers, "child")):
        (row,) = (await client.get("/v1/act_as_grants", headers=headers)).json()["data"]
        assert (row["id"], row["side"], row["reason"], row["ended_at"]) == (grant, side, WHY, None)
    for tenant_id in (tree.boss.tenant_id, tree.child.tenant_id):
        (event,) = await _events(database, tenant_id, "act_as.opened")
        assert event.actor_user_id == tree.boss.user_id
        assert event.data["reason"] == WHY
    children = (await client.get("/v1/tenants", headers=tree.boss.headers)).json()["data"]
    assert [child["slug"] for child in children] == ["below"]


async def test_one_grant_is_shown_to_its_two_sides_and_to_nobody_else(
    client: httpx.AsyncClient, database: Database, tree: Tree
) -> None:
    path = f"/v1/act_as_grants/{await _open(client, tree)}"
    for headers in (tree.boss.headers, tree.child.headers):
        (listed,) = (await client.get("/v1/act_as_grants", headers=headers)).json()["data"]
        assert (await client.get(path, headers=headers)).json() == listed
    blind = await make_key(database, tree.child.tenant_id, scopes=["act_as_grants:write"])
    stranger = await make_key(database, tree.stranger)
    for headers, said in ((blind.headers, (403, "missing_scope")), (stranger.headers, (404, "grant_not_found"))):
        refused = await client.get(path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == said


@pytest.mark.parametrize("side", ["parent", "child"])
async def test_either_side_ends_it_at_once(
    client: httpx.AsyncClient, database: Database, tree: Tree, side: str
) -> None:
    grant = await _open(client, tree)
    headers = tree.boss.headers if side == "parent" else tree.child.headers
    first, second = [await client.delete(f"/v1/act_as_grants/{grant}", headers=headers) for _ in range(2)]
    assert first.status_code == second.status_code == 200, first.text
    assert (first.json()["ended_by"], first.json()["ended_at"]) == (side, second.json()["ended_at"])
    refused = await client.get("/v1/tenant", headers=_acting(tree.boss, grant))
    assert (refused.status_code, refused.json()["code"]) == (403, "grant_not_in_force")
    for tenant_id in (tree.boss.tenant_id, tree.child.tenant_id):
        (event,) = await _events(database, tenant_id, "act_as.ended")
        assert event.data == {"ended_by": side}


async def test_both_sides_may_end_it_in_the_same_moment(database: Database, tree: Tree) -> None:
    for _ in range(5):
        async with database.tx(tree.boss.tenant_id, tree.boss.principal) as tx:
            grant_id = (await open_grant(tx, tree.child.tenant_id, reason=WHY, minutes=5, now=now())).id

        async def end(tenant_id: UUID, grant: UUID = grant_id) -> str | None:
            async with database.tx(tenant_id) as tx:
                return (await end_grant(tx, grant, now=now())).ended_by

        ends = await asyncio.gather(end(tree.boss.tenant_id), end(tree.child.tenant_id))
        assert ends[0] == ends[1] and ends[0] in ("parent", "child")


async def test_a_grant_ends_with_its_time_and_works_for_its_opener_alone(database: Database, tree: Tree) -> None:
    admission = Admission(database, TenantQuotas(database))
    began = now()
    async with database.tx(tree.boss.tenant_id, tree.boss.principal) as tx:
        grant = await open_grant(tx, tree.child.tenant_id, reason=WHY, minutes=30, now=began)

    async def tried(who: Person, minutes: int, grant_id: UUID = grant.id) -> str:
        try:
            at = began + timedelta(minutes=minutes)
            acting = await admission.act_as(who.principal, grant_id, now=at)
        except DomainError as error:
            return error.code
        assert (acting.tenant_id, acting.home_tenant_id) == (tree.child.tenant_id, tree.boss.tenant_id)
        assert acting.scopes == PERMISSIONS.keys() - NOT_DELEGABLE
        return "acts"

    assert await tried(tree.boss, 29) == "acts"
    assert await tried(tree.boss, 30) == "grant_not_in_force"
    assert await tried(await make_person(database, tree.boss.tenant_id), 1) == "grant_not_in_force"
    assert await tried(tree.boss, 1, uuid7()) == "grant_not_in_force"
    live = await make_person(database, tree.boss.tenant_id, mode=Mode.LIVE)
    assert await tried(live, 1) == "grant_not_in_force"


async def test_only_a_person_acts_and_only_for_a_child_with_a_reason(
    client: httpx.AsyncClient, database: Database, tree: Tree
) -> None:
    async def code(headers: dict[str, str], **changed: Any) -> str:
        answer = await client.post("/v1/act_as_grants", headers=headers, json=tree.body(**changed))
        return str(answer.json().get("code", answer.status_code))

    keyed = await make_key(database, tree.boss.tenant_id)
    assert await code(keyed.headers) == "person_needed"
    assert await code(tree.boss.headers, tenant_id=encode_id("ten", tree.stranger)) == "tenant_not_found"
    assert await code(tree.child.headers, tenant_id=encode_id("ten", tree.boss.tenant_id)) == "tenant_not_found"
    assert await code(tree.boss.headers, reason="because") == "reason_required"
    assert await code(tree.boss.headers, minutes=61) == "invalid_request"
    trader = await make_person(database, tree.boss.tenant_id, Role.TRADER)
    assert await code(trader.headers) == "role_lacks_permission"


async def test_a_row_in_the_parents_list_alone_opens_nothing(
    client: httpx.AsyncClient, database: Database, tree: Tree
) -> None:
    """The child's own `parent_id` is what counts: a forged list entry leads nowhere and writes nothing."""
    from app.platform.tenancy.tables import ChildTenant

    async with database.tx(tree.boss.tenant_id) as tx:
        tx.add(ChildTenant(tenant_id=tree.boss.tenant_id, id=tree.stranger, slug="forged", name="x"))
    body = tree.body(tenant_id=encode_id("ten", tree.stranger))
    answer = await client.post("/v1/act_as_grants", headers=tree.boss.headers, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")
    for tenant_id in (tree.stranger, tree.boss.tenant_id):
        assert await _events(database, tenant_id, "act_as.opened") == []


async def test_what_outlives_the_grant_cannot_be_made_under_it(
    client: httpx.AsyncClient, database: Database, tree: Tree
) -> None:
    acting = _acting(tree.boss, await _open(client, tree))
    for path, body in (
        ("/v1/api_keys", {"name": "x", "scopes": ["orders:read"]}),
        ("/v1/roles", {"name": "x", "permissions": ["orders:read"]}),
        ("/v1/invitations", {"email": "x@example.com", "role": "trader"}),
        ("/v1/act_as_grants", tree.body()),
        ("/v1/approvals", {"action": "risk_limit.clear", "payload": {"account_id": "a", "rule": "b"}}),
    ):
        answer = await client.post(path, headers=acting, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope"), path
    assert (await client.delete("/v1/tenant", headers=acting)).json()["code"] == "missing_scope"


async def test_the_role_at_home_is_the_limit_and_counts_at_once(
    client: httpx.AsyncClient, database: Database, tree: Tree
) -> None:
    helper = await make_person(database, tree.boss.tenant_id, Role.SUPPORT)
    opened = await client.post("/v1/act_as_grants", headers=helper.headers, json=tree.body())
    acting = _acting(helper, opened.json()["id"])
    assert (await client.get("/v1/orders", headers=acting)).status_code == 200
    refused = await client.post("/v1/clients", headers=acting, json={"external_ref": "C", "name": "x"})
    assert refused.json()["code"] == "role_lacks_permission"
    await client.post(f"/v1/members/{helper.member}/suspend", headers=tree.boss.headers)
    assert (await client.get("/v1/orders", headers=acting)).json()["code"] == "role_lacks_permission"


async def test_neither_a_suspended_parent_nor_a_suspended_child_is_a_way_round(
    client: httpx.AsyncClient, database: Database, tree: Tree
) -> None:
    acting = _acting(tree.boss, await _open(client, tree))
    body = {"external_ref": "C", "name": "x"}
    async with database.tx(tree.child.tenant_id) as tx:
        await set_status(tx, TenantStatus.SUSPENDED)
    assert (await client.post("/v1/clients", headers=acting, json=body)).json()["code"] == "tenant_suspended"
    assert (await client.get("/v1/clients", headers=acting)).status_code == 200
    async with database.tx(tree.boss.tenant_id) as tx:
        await set_status(tx, TenantStatus.SUSPENDED)
    assert (await client.get("/v1/clients", headers=acting)).json()["code"] == "grant_not_in_force"


async def test_acting_live_takes_a_recent_login_and_a_second_person(
    client: httpx.AsyncClient, gateway_app: FastAPI, database: Database
) -> None:
    parent = await make_tenant(database)
    child_id = await create_tenant(database, slug="below", name="Below", parent_id=parent.tenant_id)
    maker = await make_person(database, parent.tenant_id, mode=Mode.LIVE)
    checker = await make_person(database, parent.tenant_id, mode=Mode.LIVE)
    tenant = encode_id("ten", child_id)
    body: dict[str, Any] = {"tenant_id": tenant, "reason": WHY, "minutes": 5}
    by_key = await client.post("/v1/act_as_grants", headers=maker.headers, json=body)
    assert (by_key.status_code, by_key.json()["code"]) == (403, "login_needed")
    stale = await logged_in(gateway_app, database, maker, ago=timedelta(minutes=11))
    late = await client.post("/v1/act_as_grants", headers=stale, json=body)
    assert (late.status_code, late.json()["code"]) == (401, "insufficient_user_authentication")
    here = await logged_in(gateway_app, database, maker)
    alone = await client.post("/v1/act_as_grants", headers=here, json=body)
    assert (alone.status_code, alone.json()["code"]) == (409, "approval_needed")
    proposal = {"action": "tenant.act_as_live", "payload": {"tenant_id": tenant, "reason": WHY}}
    approval = (await client.post("/v1/approvals", headers=maker.headers, json=proposal)).json()["id"]
    await client.post(f"/v1/approvals/{approval}/approve", headers=await logged_in(gateway_app, database, checker))
    other = body | {"approval_id": approval, "reason": "another reason"}
    mismatch = await client.post("/v1/act_as_grants", headers=here, json=other)
    assert mismatch.json()["code"] == "approval_mismatch"
    opened = await client.post("/v1/act_as_grants", headers=here, json=body | {"approval_id": approval})
    assert (opened.status_code, opened.json()["mode"]) == (201, "live"), opened.text
    again = await client.post("/v1/act_as_grants", headers=here, json=body | {"approval_id": approval})
    assert again.json()["code"] == "approval_not_granted"


@pytest.mark.parametrize("value", ["nonsense", "act_nonsense", "ten_01kpx4t8yhe6rb2y6x3v1m9d0c", ""])
async def test_a_malformed_grant_is_refused(client: httpx.AsyncClient, tree: Tree, value: str) -> None:
    answer = await client.get("/v1/tenant", headers=_acting(tree.boss, value))
    assert (answer.status_code, answer.json()["param"]) == (422, "Mandi-Act-As")
