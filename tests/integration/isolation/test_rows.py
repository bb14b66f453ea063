"""No statement of one tenant reaches another's rows, in any table; and each planted way across is found."""

from collections.abc import Callable

import asyncpg
import pytest
from sqlmodel import SQLModel

from app.infra.rls import ROLES
from app.kernel.ids import uuid7
from tests.integration.isolation.attacks import APP, all_found, first_found
from tests.integration.isolation.catalogue import PERSON_TABLES
from tests.integration.isolation.flaws import KINDS, view_over
from tests.integration.isolation.pair import Pair, open_hands

pytestmark = pytest.mark.asyncio

FLAWS = {
    "a policy that lets all be read": (
        "CREATE POLICY planted ON members FOR SELECT USING (true)",
        "members: sees by id",
    ),
    "a policy that lets all be written": (
        "CREATE POLICY planted ON members FOR INSERT WITH CHECK (true)",
        "members: inserts as another",
    ),
    "a policy that lets rows be moved": (
        (
            "GRANT UPDATE ON members TO mandi_app;"
            "CREATE POLICY planted ON members FOR UPDATE USING (true) WITH CHECK (true)"
        ),
        "members: moves its own row",
    ),
    "a policy that admits an empty setting": (
        "CREATE POLICY planted ON members USING (nullif(current_setting('app.tenant_id', true), '') IS NULL)",
        "members: sees rows without a tenant",
    ),
    "a policy with a setting that fails when it is empty": (
        "ALTER POLICY tenant ON members USING (tenant_id = current_setting('app.tenant_id', true)::uuid)",
        "members: sees rows without a tenant: InvalidTextRepresentationError",
    ),
    "a policy that shows another tenant's rows to one role": (
        "GRANT SELECT ON members TO mandi_reference;CREATE POLICY planted ON members TO mandi_reference USING (true)",
        "members: mandi_reference sees rows",
    ),
}
"""What only some of the attacks can find: each must, by itself."""


async def test_no_statement_reaches_another_tenants_rows(
    admin: asyncpg.Connection, attacker: asyncpg.Connection, pair: Pair, record_property: Callable[[str, object], None]
) -> None:
    """As each role, and once more as `mandi_app` by its own login, which is what a request has."""
    async with open_hands(admin) as hands:
        assert await all_found(hands, pair) == []
    async with open_hands(attacker, login=APP) as by_login:
        assert await all_found(by_login, pair) == []
    tables = {name for name, table in SQLModel.metadata.tables.items() if "tenant_id" in table.columns}
    assert hands.tables == by_login.tables == tables | PERSON_TABLES.keys()
    assert hands.roles == set(ROLES.values())
    assert by_login.attempts > 20 * len(tables)
    record_property("tables", len(hands.tables))
    record_property("roles", len(hands.roles))
    record_property("attempts", hands.attempts + by_login.attempts)


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_planted_way_across_is_found(admin: asyncpg.Connection, pair: Pair, flaw: str) -> None:
    plant, said = FLAWS[flaw]
    async with open_hands(admin, plant=plant) as hands:
        found = await all_found(hands, pair, "members")
    assert said in " | ".join(found), found


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flaw_in_any_one_table_is_found(
    admin: asyncpg.Connection, pair: Pair, kind: str, record_property: Callable[[str, object], None]
) -> None:
    """The suite itself is tested: planted one by one, every flaw turns it red; each is undone with its transaction."""
    missed, planted = [], 0
    async for flaw in KINDS[kind](admin, pair):
        async with open_hands(admin, plant=flaw.plant) as hands:
            if await first_found(hands, pair, flaw.table) is None:
                missed.append(f"{flaw.table}: {flaw.plant}")
        planted += 1
    assert missed == []
    assert planted
    record_property("flaws planted", planted)
    record_property("flaws found", planted - len(missed))


async def test_a_view_with_its_callers_rights_is_no_way_across(admin: asyncpg.Connection, pair: Pair) -> None:
    """The control of the planted views: what makes them one is whose rights they have."""
    for table in ("accounts", "deployments", "events"):
        async with open_hands(admin, plant=view_over(table, invoker=True)) as hands:
            assert await all_found(hands, pair, table) == []


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
