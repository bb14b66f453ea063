"""The catalogue is sound, and each planted flaw in it is found."""

import asyncpg
import pytest
from sqlmodel import SQLModel

from app.infra.rls import ROLES
from tests.integration.isolation.catalogue import findings, role_findings

pytestmark = pytest.mark.asyncio

FLAWS = {
    "row-level security switched off": (
        "ALTER TABLE members DISABLE ROW LEVEL SECURITY",
        "members has no row-level security",
    ),
    "the owner not held": ("ALTER TABLE members NO FORCE ROW LEVEL SECURITY", "members does not force"),
    "a policy that lets all in": (
        "ALTER POLICY tenant ON members USING (true)",
        "tenant of members has another using clause",
    ),
    "a policy that lets all be written": (
        "ALTER POLICY tenant ON members WITH CHECK (true)",
        "tenant of members has another check clause",
    ),
    "a person's policy that lets all in": (
        "ALTER POLICY person ON users USING (true)",
        "person of users has another using clause",
    ),
    "a person's table that does not hold its owner": (
        "ALTER TABLE login_sessions NO FORCE ROW LEVEL SECURITY",
        "login_sessions does not force",
    ),
    "a person's rows for the relay": (
        "CREATE POLICY dispatch ON users TO mandi_dispatch USING (true) WITH CHECK (true)",
        "users has the policy dispatch, which no model declares",
    ),
    "a second policy": (
        "CREATE POLICY friendly ON members FOR SELECT USING (true)",
        "the policy friendly, which no model declares",
    ),
    "a policy for one role only": ("ALTER POLICY tenant ON members TO mandi_app", "applies to ['mandi_app']"),
    "a global unique index": (
        "CREATE UNIQUE INDEX planted ON members (email)",
        "unique index planted of members does not lead with tenant_id",
    ),
    "an index for all tenants": ("CREATE INDEX planted ON members (role)", "index planted of members does not lead"),
    "a unique index on an expression": (
        "CREATE UNIQUE INDEX planted ON members ((lower(email)))",
        "planted of members does not lead",
    ),
    "a single-column foreign key": (
        (
            "CREATE TABLE planted (tenant_id uuid, id uuid, PRIMARY KEY (tenant_id, id), member uuid);"
            "ALTER TABLE members ADD CONSTRAINT m UNIQUE (id);"
            "ALTER TABLE planted ADD CONSTRAINT crossing FOREIGN KEY (member) REFERENCES members (id)"
        ),
        "the foreign key crossing of planted crosses tenants",
    ),
    "a table without its policy": (
        "CREATE TABLE planted (tenant_id uuid, id uuid, PRIMARY KEY (tenant_id, id))",
        "planted lacks the policy tenant",
    ),
    "a table without a tenant": ("CREATE TABLE planted (id uuid PRIMARY KEY)", "planted has no tenant_id"),
    "a table without a model": ("CREATE TABLE planted (id uuid PRIMARY KEY)", "planted has no model"),
    "a view that runs as its owner": ("CREATE VIEW planted AS SELECT * FROM members", "view planted runs as its owner"),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW planted AS SELECT * FROM members",
        "planted is a materialized view",
    ),
    "a privilege too many": ("GRANT TRUNCATE ON members TO mandi_app", "mandi_app has TRUNCATE on members"),
    "a column privilege too many": (
        "GRANT UPDATE (tenant_id) ON members TO mandi_app",
        "mandi_app has UPDATE (tenant_id) on members",
    ),
    "a privilege for everyone": ("GRANT SELECT ON members TO PUBLIC", "public has SELECT on members"),
    "a privilege on a partition": ("GRANT SELECT ON events_p0 TO mandi_app", "mandi_app has SELECT on events_p0"),
    "a privilege missing": ("REVOKE INSERT ON members FROM mandi_app", "mandi_app lacks INSERT on members"),
    "an unreviewed definer function": (
        (
            "CREATE FUNCTION planted() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp"
            " AS 'select 1'"
        ),
        "planted is SECURITY DEFINER and not on the reviewed list",
    ),
    "a definer function with an open search path": (
        "SET LOCAL ROLE mandi_lookup; ALTER FUNCTION identity_api_key(text) RESET search_path; RESET ROLE",
        "identity_api_key is SECURITY DEFINER without a search_path",
    ),
    "a definer function of the wrong owner": (
        (
            "DROP FUNCTION identity_api_key(text); CREATE FUNCTION identity_api_key(text) RETURNS int LANGUAGE sql"
            " SECURITY DEFINER SET search_path = public, pg_temp AS 'select 1'"
        ),
        "identity_api_key is SECURITY DEFINER and belongs to mandi_migrate",
    ),
    "a function for everyone": (
        (
            "CREATE FUNCTION planted() RETURNS int LANGUAGE sql AS 'select 1';"
            "GRANT EXECUTE ON FUNCTION planted() TO PUBLIC"
        ),
        "everyone may execute planted",
    ),
}


async def test_the_catalogue_is_sound(owner: asyncpg.Connection) -> None:
    assert await findings(owner, SQLModel.metadata) == []


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_planted_flaw_is_found(owner: asyncpg.Connection, flaw: str) -> None:
    plant, said = FLAWS[flaw]
    transaction = owner.transaction()
    await transaction.start()
    try:
        await owner.execute(plant)
        found = await findings(owner, SQLModel.metadata)
    finally:
        await transaction.rollback()
    assert [one for one in found if said in one], found


async def test_every_policy_that_is_dropped_is_missed(owner: asyncpg.Connection) -> None:
    policies = await owner.fetch("select polname as name, polrelid::regclass::text as table from pg_policy")
    assert len(policies) >= 9
    for policy in policies:
        transaction = owner.transaction()
        await transaction.start()
        try:
            await owner.execute(f"DROP POLICY {policy['name']} ON {policy['table']}")
            found = await findings(owner, SQLModel.metadata)
        finally:
            await transaction.rollback()
        assert found == [f"{policy['table']} lacks the policy {policy['name']}"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"superuser": True}, "has superuser"),
        ({"bypassrls": True}, "has bypassrls"),
        ({"createrole": True}, "has createrole"),
        ({"login": False}, "cannot log in"),
        ({"member_of": ["mandi_migrate"]}, "member of mandi_migrate"),
        ({"creates": True}, "may create objects"),
        ({"name": "other"}, "mandi_app does not exist"),
    ],
)
async def test_a_role_with_a_planted_power_is_found(change: dict[str, object], said: str) -> None:
    sound = {
        "superuser": False,
        "bypassrls": False,
        "createrole": False,
        "createdb": False,
        "member_of": [],
        "creates": False,
    }
    rows = [sound | {"name": name, "login": name not in ("mandi_lookup", "mandi_ledger")} for name in ROLES.values()]
    assert not list(role_findings(rows))
    changed = [row | change if row["name"] == "mandi_app" else row for row in rows]
    assert [one for one in role_findings(changed) if said in one]
