"""Flaws made from the catalogue: one for each policy, table, view and foreign key there is, and will be.

A flaw is SQL that the superuser runs at the beginning of a transaction that is undone.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import asyncpg
from sqlmodel import SQLModel

from app.infra.rls import ROLES
from tests.integration.isolation.attacks import sees_all
from tests.integration.isolation.pair import Pair

_POLICIES = "select polname::text as name, polrelid::regclass::text as table from pg_policy order by 2, 1"
_OPEN = ROLES["dispatch"]


@dataclass(frozen=True, slots=True)
class Flaw:
    """`plant` concerns `table` alone, or is to be noticed in it."""

    table: str
    plant: str


Flaws = Callable[[asyncpg.Connection, Pair], AsyncIterator[Flaw]]


async def _dropped_policies(admin: asyncpg.Connection, _: Pair) -> AsyncIterator[Flaw]:
    """Without its policy a table shows nothing to those whom it was for."""
    for policy in await admin.fetch(_POLICIES):
        yield Flaw(policy["table"], f"DROP POLICY {policy['name']} ON {policy['table']}")


async def _open_policies(_: asyncpg.Connection, pair: Pair) -> AsyncIterator[Flaw]:
    for table in pair.guarded:
        name = "tenant" if table.owned else "person"
        yield Flaw(table.name, f"ALTER POLICY {name} ON {table.name} USING (true) WITH CHECK (true)")


async def _disabled(_: asyncpg.Connection, pair: Pair) -> AsyncIterator[Flaw]:
    for table in pair.guarded:
        yield Flaw(table.name, f"ALTER TABLE {table.name} DISABLE ROW LEVEL SECURITY")


async def _not_forced(_: asyncpg.Connection, pair: Pair) -> AsyncIterator[Flaw]:
    for table in pair.guarded:
        yield Flaw(table.name, f"ALTER TABLE {table.name} NO FORCE ROW LEVEL SECURITY")


async def _bypassing(_: asyncpg.Connection, pair: Pair) -> AsyncIterator[Flaw]:
    """Of the app role where it has any privilege: elsewhere bypassing gains it nothing."""
    for table in pair.guarded:
        yield Flaw(table.name, f"ALTER ROLE {ROLES['migrate']} BYPASSRLS")
        if "app" in SQLModel.metadata.tables[table.name].info:
            yield Flaw(table.name, f"ALTER ROLE {ROLES['app']} BYPASSRLS")


async def _keys_without_tenant(_: asyncpg.Connection, pair: Pair) -> AsyncIterator[Flaw]:
    for table in pair.tables:
        for key in table.keys:
            named = zip(key["columns"], key["targets"], strict=True)
            rest = [(column, target) for column, target in named if column != "tenant_id"]
            if "tenant_id" not in key["columns"] or not rest:
                continue
            columns, targets = (", ".join(names) for names in zip(*rest, strict=True))
            yield Flaw(
                table.name,
                f"ALTER TABLE {key['target']} ADD CONSTRAINT planted UNIQUE ({targets});"
                f"ALTER TABLE {table.name} DROP CONSTRAINT {key['name']};"
                f"ALTER TABLE {table.name} ADD CONSTRAINT planted_key"
                f" FOREIGN KEY ({columns}) REFERENCES {key['target']} ({targets})",
            )


async def _unique_for_all(_: asyncpg.Connection, pair: Pair) -> AsyncIterator[Flaw]:
    """On a column that neither names the tenant nor another row: two tenants may well have the same value."""
    for table in pair.tables:
        pointing = {column for key in table.keys for column in key["columns"]} | {"tenant_id", *table.made}
        row = pair.victim.rows[table.name]
        plain = [column for column in table.types if column not in pointing and row.get(column) is not None]
        plain = [column for column in plain if (table.name, column) != ("tenants", "id")]
        partitioned = table.name == "events"  # its unique indexes cannot leave the tenant out
        if table.owned and plain and not partitioned:
            other = pair.attacker.rows[table.name]
            chosen = next((column for column in plain if row[column] != other[column]), None)
            if chosen is not None:
                both = f"tenant_id IN ('{pair.victim.own_id}', '{pair.attacker.own_id}')"
                yield Flaw(table.name, f"CREATE UNIQUE INDEX planted ON {table.name} ({chosen}) WHERE {both}")


async def _views_of_others(admin: asyncpg.Connection, pair: Pair) -> AsyncIterator[Flaw]:
    """Every view without `security_invoker`; and over each table that a role sees all of, a view of that role's."""
    for view in await admin.fetch(
        "select relname::text as name from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace"
    ):
        yield Flaw(
            "tenants", f"ALTER VIEW {view['name']} RESET (security_invoker); ALTER VIEW {view['name']} OWNER TO {_OPEN}"
        )
    for table in pair.tables:
        if table.owned and sees_all(_OPEN, table):
            yield Flaw(table.name, view_over(table.name, invoker=False))


def view_over(table: str, *, invoker: bool) -> str:
    """SQL that makes a view of the role `dispatch` over `table`, which tenants may read."""
    return (
        f"CREATE VIEW planted WITH (security_invoker = {str(invoker).lower()}) AS SELECT tenant_id FROM {table};"
        f"GRANT SELECT ON {table} TO {_OPEN}; ALTER VIEW planted OWNER TO {_OPEN};"
        f"GRANT SELECT ON planted TO {ROLES['app']}"
    )


KINDS: dict[str, Flaws] = {
    "policies dropped": _dropped_policies,
    "policies open to all": _open_policies,
    "row-level security disabled": _disabled,
    "row-level security not forced": _not_forced,
    "roles that bypass it": _bypassing,
    "foreign keys without a tenant": _keys_without_tenant,
    "unique indexes without a tenant": _unique_for_all,
    "views with their owner's rights": _views_of_others,
}
