"""Tenants and members: their own row, their status for the order path, members once each."""

import httpx
import pytest

from app.infra.database import Database
from app.kernel.errors import DomainError
from app.kernel.ids import encode_id, uuid7
from app.platform.tenancy.domain import Role, TenantStatus
from app.platform.tenancy.service import add_member, create_tenant, set_status
from app.platform.tenancy.tables import Tenant
from tests.factories.tenants import make_tenant

pytestmark = pytest.mark.asyncio


async def test_the_tenant_is_the_keys_own(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    body = (await client.get("/v1/tenant", headers=tenant.headers)).json()
    assert body["id"] == encode_id("ten", tenant.tenant_id)
    assert body["status"] == "active"


async def test_two_tenants_may_share_a_slug(database: Database) -> None:
    first = await create_tenant(database, slug="acme", name="One")
    second = await create_tenant(database, slug="acme", name="Two")
    assert first != second


@pytest.mark.parametrize("slug", ["", "Acme", "-acme", "a" * 41, "a b", "\u0430cme"])
async def test_a_slug_must_be_a_host_label(database: Database, slug: str) -> None:
    with pytest.raises(DomainError) as refused:
        await create_tenant(database, slug=slug, name="x")
    assert refused.value.code == "invalid_slug"


async def test_sql_tells_the_status_of_the_own_tenant_alone(database: Database) -> None:
    tenant, other = await make_tenant(database), await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        await set_status(tx, TenantStatus.SUSPENDED)
    async with database.pool.acquire() as connection, connection.transaction():
        assert await connection.fetchval("select tenancy_status()") is None
        await connection.execute("select set_config('app.tenant_id', $1, true)", str(tenant.tenant_id))
        assert await connection.fetchval("select tenancy_status()") == "suspended"
        assert await connection.fetchval("select tenancy_status_of($1)", other.tenant_id) is None


async def test_a_suspended_tenant_can_still_read(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        await set_status(tx, TenantStatus.SUSPENDED)
    answer = await client.get("/v1/tenant", headers=tenant.headers)
    assert answer.json()["status"] == "suspended"


async def test_a_daemon_can_list_tenants(database: Database) -> None:
    tenant = await make_tenant(database)
    assert await database.dispatch.fetchval("select count(*) from tenants where id = $1", tenant.tenant_id) == 1


async def test_members_are_listed_and_unique_by_address(client: httpx.AsyncClient, database: Database) -> None:
    tenant = await make_tenant(database)
    async with database.tx(tenant.tenant_id) as tx:
        await add_member(tx, email=" Asha@Example.com ", role=Role.OWNER)
    async with database.tx(tenant.tenant_id) as tx:
        with pytest.raises(DomainError) as refused:
            await add_member(tx, email="asha@example.com", role=Role.TRADER)
    assert refused.value.code == "member_exists"
    body = (await client.get("/v1/members", headers=tenant.headers)).json()
    assert [(member["email"], member["role"]) for member in body["data"]] == [("asha@example.com", "owner")]


async def test_the_same_address_may_belong_to_two_tenants(database: Database) -> None:
    for tenant in (await make_tenant(database), await make_tenant(database)):
        async with database.tx(tenant.tenant_id) as tx:
            await add_member(tx, email="a@example.com", role=Role.ANALYST)


async def test_a_tenants_row_is_always_its_own(database: Database) -> None:
    from sqlalchemy.exc import IntegrityError

    tenant_id = uuid7()
    with pytest.raises(IntegrityError, match="tenants_own_check"):
        async with database.tx(tenant_id) as tx:
            tx.add(Tenant(tenant_id=tenant_id, id=uuid7(), slug="x", name="x"))
