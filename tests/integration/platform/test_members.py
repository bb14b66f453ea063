"""Members and roles: nobody gives what he lacks, one owner stays, and a change counts at the next request."""

import asyncio

import httpx
import pytest

from app.infra.database import Database
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id, uuid7
from app.platform.tenancy.domain import BUILT_IN, Role
from app.platform.tenancy.service import change_role, remove_member, suspend_member
from tests.factories.endings import Heard
from tests.factories.members import Person, make_person
from tests.factories.tenants import make_tenant
from tests.integration.platform.conftest import now

pytestmark = pytest.mark.asyncio


async def _owner_and(database: Database, role: Role) -> tuple[Person, Person]:
    tenant = await make_tenant(database)
    return await make_person(database, tenant.tenant_id), await make_person(database, tenant.tenant_id, role)


async def _patch(client: httpx.AsyncClient, who: Person, member: str, role: str) -> httpx.Response:
    return await client.patch(f"/v1/members/{member}", headers=who.headers, json={"role": role})


async def test_a_role_counts_from_the_next_request_on(client: httpx.AsyncClient, database: Database) -> None:
    owner, other = await _owner_and(database, Role.ANALYST)
    refused = await client.get("/v1/roles", headers=other.headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "role_lacks_permission")
    changed = await _patch(client, owner, other.member, "admin")
    assert (changed.status_code, changed.json()["role"]) == (200, "admin")
    assert (await client.get("/v1/roles", headers=other.headers)).status_code == 200
    async with database.tx(owner.tenant_id) as tx:
        from sqlalchemy import text

        row = (
            await tx.execute(text("select data, actor_user_id from events where type = 'member.role_changed'"))
        ).one()
    assert row.data == {"from": "analyst", "to": "admin"}
    assert row.actor_user_id == owner.user_id


async def test_a_key_never_exceeds_who_made_it(client: httpx.AsyncClient, database: Database) -> None:
    owner, other = await _owner_and(database, Role.ADMIN)
    made = await client.post(
        "/v1/api_keys", headers=other.headers, json={"name": "robot", "scopes": ["members:read", "accounts:write"]}
    )
    assert made.status_code == 201, made.text
    robot = {"Authorization": f"Bearer {made.json()['secret']}"}
    assert (await client.get("/v1/members", headers=robot)).status_code == 200
    beyond = await client.post("/v1/api_keys", headers=other.headers, json={"name": "x", "scopes": ["tenant:delete"]})
    assert (beyond.status_code, beyond.json()["code"]) == (403, "scope_not_held")
    await _patch(client, owner, other.member, "trader")
    assert (await client.get("/v1/members", headers=robot)).json()["code"] == "role_lacks_permission"
    await client.post(f"/v1/members/{other.member}/suspend", headers=owner.headers)
    assert (await client.get("/v1/orders", headers=other.headers)).json()["code"] == "role_lacks_permission"
    await client.post(f"/v1/members/{other.member}/reactivate", headers=owner.headers)
    assert (await client.get("/v1/orders", headers=other.headers)).status_code == 200
    gone = await client.delete(f"/v1/members/{other.member}", headers=owner.headers)
    assert gone.status_code == 204
    assert (await client.get("/v1/orders", headers=other.headers)).status_code == 403
    assert (await client.get(f"/v1/members/{other.member}", headers=owner.headers)).status_code == 404
    shown = (await client.get("/v1/members", headers=owner.headers)).json()["data"]
    assert [member["id"] for member in shown] == [owner.member]


async def test_an_admin_can_neither_touch_nor_make_an_owner(client: httpx.AsyncClient, database: Database) -> None:
    owner, admin = await _owner_and(database, Role.ADMIN)
    for answer in (
        await _patch(client, admin, owner.member, "trader"),
        await _patch(client, admin, admin.member, "owner"),
        await client.post(f"/v1/members/{owner.member}/suspend", headers=admin.headers),
        await client.delete(f"/v1/members/{owner.member}", headers=admin.headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "role_beyond_caller")


async def test_the_last_owner_can_be_neither_demoted_suspended_nor_removed(
    client: httpx.AsyncClient, database: Database
) -> None:
    owner, _ = await _owner_and(database, Role.ADMIN)
    for answer in (
        await _patch(client, owner, owner.member, "trader"),
        await client.post(f"/v1/members/{owner.member}/suspend", headers=owner.headers),
        await client.delete(f"/v1/members/{owner.member}", headers=owner.headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")


@pytest.mark.parametrize("way", ["demote", "suspend", "remove"])
async def test_of_two_owners_who_end_each_other_at_once_one_stays(database: Database, way: str) -> None:
    for _ in range(4):
        first, second = await _owner_and(database, Role.OWNER)

        async def end(who: Person, target: Person) -> str:
            try:
                async with database.tx(who.tenant_id, who.principal) as tx:
                    if way == "demote":
                        await change_role(tx, target.member_id, "trader", now=now())
                    elif way == "suspend":
                        await suspend_member(tx, target.member_id, tokens=Heard(), now=now())
                    else:
                        await remove_member(tx, target.member_id, tokens=Heard(), now=now())
                    await asyncio.sleep(0.02)
            except DomainError as error:
                return error.code
            return "done"

        answers = sorted(await asyncio.gather(end(first, second), end(second, first)))
        assert answers[0] == "done"
        assert answers[1] in ("last_owner", "role_beyond_caller")
        async with database.tx(first.tenant_id) as tx:
            from app.platform.tenancy import repository

            assert len(await repository.active_owners(tx)) == 1


async def test_all_roles_are_listed_with_what_they_permit(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    made = await client.post(
        "/v1/roles", headers=tenant.headers, json={"name": "night desk", "permissions": ["orders:read", "orders:read"]}
    )
    assert made.status_code == 201, made.text
    listed = (await client.get("/v1/roles", headers=tenant.headers)).json()["data"]
    assert {role["name"]: role["permissions"] for role in listed if role["built_in"]} == {
        role.value: sorted(permissions) for role, permissions in BUILT_IN.items()
    }
    assert [role for role in listed if not role["built_in"]] == [made.json()]
    assert made.json()["permissions"] == ["orders:read"]


async def test_a_role_of_ones_own_is_given_changed_and_kept_while_in_use(
    client: httpx.AsyncClient, database: Database
) -> None:
    owner, other = await _owner_and(database, Role.ANALYST)
    made = await client.post(
        "/v1/roles", headers=owner.headers, json={"name": "desk", "permissions": ["orders:read", "roles:read"]}
    )
    role = made.json()["id"]
    assert (await _patch(client, owner, other.member, role)).json()["role"] == role
    assert (await client.get("/v1/roles", headers=other.headers)).status_code == 200
    path = f"/v1/roles/{role}"
    changed = await client.patch(path, headers=owner.headers, json={"permissions": ["orders:read"]})
    assert changed.json()["permissions"] == ["orders:read"]
    assert (await client.get("/v1/roles", headers=other.headers)).status_code == 403
    kept = await client.delete(path, headers=owner.headers)
    assert (kept.status_code, kept.json()["code"]) == (409, "role_in_use")
    await _patch(client, owner, other.member, "trader")
    assert (await client.delete(path, headers=owner.headers)).status_code == 204
    assert (await client.patch(path, headers=owner.headers, json={})).status_code == 404


async def test_a_role_cannot_lift_its_maker(client: httpx.AsyncClient, database: Database) -> None:
    owner, admin = await _owner_and(database, Role.ADMIN)
    beyond = await client.post(
        "/v1/roles", headers=admin.headers, json={"name": "more", "permissions": ["tenant:delete"]}
    )
    assert (beyond.status_code, beyond.json()["code"]) == (403, "role_beyond_caller")
    made = await client.post(
        "/v1/roles", headers=owner.headers, json={"name": "closer", "permissions": ["tenant:delete"]}
    )
    path = f"/v1/roles/{made.json()['id']}"
    for answer in (
        await client.patch(path, headers=admin.headers, json={"permissions": ["orders:read"]}),
        await client.delete(path, headers=admin.headers),
        await _patch(client, admin, admin.member, made.json()["id"]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "role_beyond_caller")


@pytest.mark.parametrize(
    ("name", "code"), [("owner", "reserved_name"), ("custom", "reserved_name"), ("taken", "role_exists")]
)
async def test_a_roles_name_is_its_own(client: httpx.AsyncClient, database: Database, name: str, code: str) -> None:
    tenant = await make_tenant(database)
    body = {"name": "taken", "permissions": ["orders:read"]}
    await client.post("/v1/roles", headers=tenant.headers, json=body)
    answer = await client.post("/v1/roles", headers=tenant.headers, json=body | {"name": name})
    assert answer.json()["code"] == code


@pytest.mark.parametrize("role", ["custom", "root", "Owner", "rol_nonsense"])
async def test_an_unknown_role_is_refused(client: httpx.AsyncClient, database: Database, role: str) -> None:
    owner, other = await _owner_and(database, Role.ANALYST)
    answer = await _patch(client, owner, other.member, role)
    assert answer.status_code == 422
    assert answer.json()["param"] == "role"
    missing = await _patch(client, owner, other.member, encode_id("rol", uuid7()))
    assert (missing.status_code, missing.json()["code"]) == (404, "role_not_found")
