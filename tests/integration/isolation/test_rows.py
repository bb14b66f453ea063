"""No statement of one tenant reaches another's rows, in any table; and each planted way across is found."""

from collections.abc import Callable

import asyncpg
import pytest
from sqlmodel import SQLModel

from app.kernel.ids import uuid7
from tests.integration.isolation.attacks import attack

pytestmark = pytest.mark.asyncio

FLAWS = {
    "no row-level security": (
        "ALTER TABLE members DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE members ENABLE ROW LEVEL SECURITY",
        "members: sees rows",
    ),
    "a policy that lets all be read": (
        "CREATE POLICY planted ON members FOR SELECT USING (true)",
        "DROP POLICY planted ON members",
        "members: sees by id",
    ),
    "a policy that lets all be written": (
        "CREATE POLICY planted ON members FOR INSERT WITH CHECK (true)",
        "DROP POLICY planted ON members",
        "members: inserts as another",
    ),
    "a policy that lets rows be moved": (
        (
            "GRANT UPDATE ON members TO mandi_app; CREATE POLICY planted ON members FOR UPDATE USING (true)"
            " WITH CHECK (true)"
        ),
        (
            "REVOKE UPDATE ON members FROM mandi_app; DROP POLICY planted ON members;"
            " GRANT UPDATE (role, role_id, status, user_id) ON members TO mandi_app"
        ),
        "members: moves its own row",
    ),
    "a policy that admits an empty setting": (
        "CREATE POLICY planted ON members USING (nullif(current_setting('app.tenant_id', true), '') IS NULL)",
        "DROP POLICY planted ON members",
        "members: sees rows without a tenant",
    ),
    "a global unique index": (
        "CREATE UNIQUE INDEX planted ON members (email)",
        "DROP INDEX planted",
        "members: planted tells of another tenant's values",
    ),
    "a single-column foreign key": (
        (
            "ALTER TABLE members ADD CONSTRAINT m UNIQUE (id);"
            "CREATE TABLE planted (tenant_id uuid, id uuid, note text, member_id uuid NOT NULL REFERENCES members (id),"
            " PRIMARY KEY (tenant_id, id));"
        ),
        "DROP TABLE planted; ALTER TABLE members DROP CONSTRAINT m",
        "planted: planted_member_id_fkey points at another tenant's row",
    ),
    "a policy with a setting that fails when it is empty": (
        "ALTER POLICY tenant ON members USING (tenant_id = current_setting('app.tenant_id', true)::uuid)",
        (
            "ALTER POLICY tenant ON members USING"
            " (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid))"
        ),
        "members: sees rows without a tenant: InvalidTextRepresentationError",
    ),
}


async def test_no_statement_reaches_another_tenants_rows(
    owner: asyncpg.Connection, attacker: asyncpg.Connection, record_property: Callable[[str, object], None]
) -> None:
    report = await attack(owner, attacker)
    record_property("tables", report.tables)
    record_property("attempts", report.attempts)
    assert report.found == []
    tenant_tables = [table for table in SQLModel.metadata.tables.values() if "tenant_id" in table.columns]
    assert report.tables == len(tenant_tables)
    assert report.attempts > 20 * report.tables


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_planted_way_across_is_found(
    owner: asyncpg.Connection, attacker: asyncpg.Connection, flaw: str
) -> None:
    plant, repair, said = FLAWS[flaw]
    await owner.execute(plant)
    try:
        report = await attack(owner, attacker)
    finally:
        await owner.execute(repair)
    assert said in " | ".join(report.found), report.found


async def test_the_own_row_is_within_reach(owner: asyncpg.Connection, attacker: asyncpg.Connection) -> None:
    """The control: the same connection sees and changes its own tenant's rows, so silence above means refusal."""
    tenant_id = uuid7()
    async with attacker.transaction():
        await attacker.execute("select set_config('app.tenant_id', $1, true)", str(tenant_id))
        await attacker.execute(
            "insert into tenants (tenant_id, id, slug, name, status) values ($1, $1, 'x', 'x', 'active')", tenant_id
        )
        assert await attacker.fetchval("update tenants set name = 'y' returning name") == "y"
        assert await attacker.fetchval("select count(*) from tenants") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE mandi_dispatch",
        "SET ROLE mandi_lookup",
        "SET ROLE mandi_migrate",
        "SET SESSION AUTHORIZATION mandi_migrate",
        "SET session_replication_role = replica",
        "ALTER TABLE members DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON members",
        "ALTER ROLE mandi_app BYPASSRLS",
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'select 1'",
        "COPY members TO PROGRAM 'cat'",
        "COPY (SELECT 1) TO '/nowhere'",
        "LOCK TABLE members IN ACCESS EXCLUSIVE MODE",
    ],
)
async def test_the_app_role_cannot_shed_its_limits(attacker: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with attacker.transaction():
            await attacker.execute(statement)


async def test_switching_row_security_off_is_an_error_not_a_way_round(attacker: asyncpg.Connection) -> None:
    transaction = attacker.transaction()
    await transaction.start()
    await attacker.execute("SET LOCAL row_security = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await attacker.fetch("SELECT * FROM members")
    await transaction.rollback()
