"""No process starts under a role that sees past row-level security, whichever of its pools has it."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from app.bootstrap import bootstrap
from app.infra.roles import UnsafeRoleError, role_url
from app.infra.settings import Settings
from tests.integration.isolation.conftest import Server

pytestmark = pytest.mark.asyncio
POOLS = ("app_database_url", "dispatch_database_url", "reference_database_url")
UNSAFE = {
    "superuser": ("SUPERUSER", ""),
    "bypassrls": ("BYPASSRLS", ""),
    "a member of one that bypasses": ("", "CREATE ROLE {role}_boss BYPASSRLS; GRANT {role}_boss TO {role}"),
    "owner of": ("", "GRANT mandi_migrate TO {role}"),
    "owner of 1 tables": ("", "CREATE TABLE {role}_own (id uuid); ALTER TABLE {role}_own OWNER TO {role}"),
}
"""What makes a role unsafe: its attribute, and what else is done."""


@pytest_asyncio.fixture
async def unsafe(
    request: pytest.FixtureRequest, admin: asyncpg.Connection, scratch_server: Server
) -> AsyncIterator[tuple[str, str]]:
    """The URL of a new role that is unsafe in the way that the parameter names, and what its refusal says."""
    attribute, then = UNSAFE[request.param]
    role, password = f"sly_{secrets.token_hex(4)}", secrets.token_urlsafe(8)
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}' {attribute}")
    try:
        await admin.execute(f"GRANT CONNECT ON DATABASE mandi TO {role}; GRANT USAGE ON SCHEMA public TO {role}")
        if then:
            await admin.execute(then.format(role=role))
        said = "bypassrls" if "bypasses" in request.param else request.param
        yield role_url(scratch_server.admin_url, role, password), said
    finally:
        await admin.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}; DROP ROLE IF EXISTS {role}_boss")


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("unsafe", UNSAFE, indirect=True)
async def test_a_process_refuses_to_start(scratch_settings: Settings, pool: str, unsafe: tuple[str, str]) -> None:
    url, said = unsafe
    with pytest.raises(UnsafeRoleError, match=said):
        async with bootstrap(scratch_settings.model_copy(update={pool: SecretStr(url)})):
            pass


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("role", ["mandi_migrate", "postgres"])
async def test_neither_the_schemas_owner_nor_the_administrator_serves(
    scratch_settings: Settings, scratch_server: Server, pool: str, role: str
) -> None:
    url = scratch_server.admin_url if role == "postgres" else scratch_server.urls[role]
    with pytest.raises(UnsafeRoleError, match=role):
        async with bootstrap(scratch_settings.model_copy(update={pool: SecretStr(url)})):
            pass


async def test_a_process_starts_under_its_own_roles(scratch_settings: Settings) -> None:
    async with bootstrap(scratch_settings) as process:
        assert await process.database.pool.fetchval("select current_user") == "mandi_app"
