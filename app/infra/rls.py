"""Decides how PostgreSQL isolates tenants: the policies and grants that a migration puts on each table.

The easy way is the safe way: one call per table. `tests/architecture` and the attack suite compare the catalogue
with what the models declare in `__table_args__["info"]`, so a forgotten call fails the build.
"""

from typing import Protocol

ROLES = {
    "app": "mandi_app",
    "dispatch": "mandi_dispatch",
    "reference": "mandi_reference",
    "migrate": "mandi_migrate",
    "lookup": "mandi_lookup",
    "ledger": "mandi_ledger",
}
"""What each role is for: tenant work, cross-tenant wake-ups, reference data, schema; the last two own functions."""

TENANT_POLICY = "tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid)"
"""Compares the raw column with a cast setting: the other way round was 24 to 1125 times slower (leakproofness)."""

PERSON_POLICY = "{column} = (select nullif(current_setting('app.user_id', true), '')::uuid)"
"""The same for rows that belong to a person instead of a tenant."""


class Operations(Protocol):
    """What the helpers need of Alembic's `op`."""

    def execute(self, sqltext: str) -> None: ...


def enable_tenant_rls(op: Operations, table: str, **grants: str) -> None:
    """Forced row-level security on `table`: everyone sees the tenant of the setting, no tenant means no rows.

    `grants` are privileges by short role name (`app="SELECT, INSERT"`). The roles `dispatch` and `lookup` work before
    or across tenants, so a grant to them carries a policy of its own.
    """
    _enable_rls(op, table, "tenant", TENANT_POLICY, grants)


def enable_person_rls(op: Operations, table: str, *, person: str, **grants: str) -> None:
    """Forced row-level security on a table without a tenant: everyone sees the rows of the person of the setting.

    `person` is the column that names the person. Grants as in `enable_tenant_rls`.
    """
    _enable_rls(op, table, "person", PERSON_POLICY.format(column=person), grants)


def _enable_rls(op: Operations, table: str, name: str, policy: str, grants: dict[str, str]) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {name} ON {table} USING ({policy}) WITH CHECK ({policy})")
    for short, privileges in grants.items():
        if short in ("dispatch", "lookup"):
            open_across(op, table, short, privileges)
        else:
            _grant(op, table, short, privileges)


def open_across(op: Operations, table: str, short: str, privileges: str) -> None:
    """Let `dispatch` or `lookup` see the rows of all: privileges, and a policy of its own beside the forced one."""
    _grant(op, table, short, privileges)
    op.execute(f"CREATE POLICY {short} ON {table} TO {ROLES[short]} USING (true) WITH CHECK (true)")


def global_table(op: Operations, table: str, **grants: str) -> None:
    """A table without a tenant: readable as granted, written by the role `reference` alone unless stated."""
    for short, privileges in grants.items():
        _grant(op, table, short, privileges)


def _grant(op: Operations, table: str, short: str, privileges: str) -> None:
    op.execute(f"GRANT {privileges} ON {table} TO {ROLES[short]}")
