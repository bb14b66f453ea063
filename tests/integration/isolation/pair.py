"""Two tenants with one row in every table, and the way to try a statement as any role for any of them.

Decides that an attempt is one round trip: the administrator's connection takes the role, sets the tenant, runs the
statement, and goes back to where it was. A flaw planted in the same transaction is undone with it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from app.kernel.ids import uuid7
from tests.integration.isolation.rows import Row, Table, insertion, make_row, read_tables

Rows = dict[str, Row]
REFUSED = asyncpg.InsufficientPrivilegeError
_VIEWS = """
select c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
where c.relkind in ('v', 'm') and c.relnamespace = 'public'::regnamespace
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A tenant, who is a person as well, with a row in every table. `own_id` is the id of them all."""

    own_id: UUID
    rows: Rows


@dataclass(frozen=True, slots=True)
class Pair:
    """Who attacks, who is attacked, and the tables, those that others point at first."""

    tables: list[Table]
    victim: Side
    attacker: Side

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    @property
    def guarded(self) -> list[Table]:
        """The tables whose rows are somebody's."""
        return [table for table in self.tables if table.owner_column is not None]


async def seed(owner: asyncpg.Connection) -> Pair:
    """Make the pair, committed. `owner` is `mandi_migrate`'s connection, which row-level security binds, too."""
    tables = await read_tables(owner)
    everyone, victim, attacker = Side(uuid7(), {}), Side(uuid7(), {}), Side(uuid7(), {})
    async with owner.transaction():
        for table in tables:
            await owner.execute(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")
        for table in tables:
            sides = (everyone,) if table.owner_column is None else (victim, attacker)
            for side in sides:
                await owner.execute(f"SELECT set_config('{table.setting}', '{side.own_id}', true)")
                row = await make_row(owner, table, side.own_id, everyone.rows | side.rows)
                if table.name == "event_heads":  # beyond the place that its event made up: others may come after it
                    row["position"] = str(int(row["position"] or 0) + 10_000)
                await owner.execute(insertion(table, row))
                side.rows[table.name] = row
        for table in tables:
            await owner.execute(f"ALTER TABLE {table.name} ENABLE TRIGGER USER")
    return Pair(tables, Side(victim.own_id, everyone.rows | victim.rows), Side(attacker.own_id, attacker.rows))


@dataclass(slots=True)
class Hands:
    """Runs statements inside one transaction that `open_hands` undoes. `attempts` counts them."""

    connection: asyncpg.Connection
    login: str | None = None
    attempts: int = 0
    tables: set[str] = field(default_factory=set)
    roles: set[str] = field(default_factory=set)

    async def run(self, role: str, setting: str, own_id: UUID | None, statement: str, *, before: str = "") -> int:
        """How many rows `statement` reached; what it did is undone. Raises what PostgreSQL says.

        `role` acts with `setting` naming `own_id` (None: naming nobody). `before` is done first, as the administrator.
        """
        self.attempts += 1
        self.roles.add(role)
        take = "" if role == self.login else f"SET LOCAL ROLE {role};"
        status = await self.connection.execute(
            f"ROLLBACK TO SAVEPOINT attempt; {before} {take}"
            f"SELECT set_config('{setting}', '{own_id or ''}', true); {statement}"
        )
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 1

    async def views(self) -> list[str]:
        """The names of the views that show a tenant's id."""
        await self.connection.execute("ROLLBACK TO SAVEPOINT attempt")
        found = await self.connection.fetch(_VIEWS)
        return [row["name"] for row in found]


@asynccontextmanager
async def open_hands(
    connection: asyncpg.Connection, *, plant: str = "", login: str | None = None
) -> AsyncIterator[Hands]:
    """Hands on `connection`: an administrator's, or that of the role `login`. `plant` is a flaw to begin with."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"{plant}; SAVEPOINT attempt")
        yield Hands(connection, login)
    finally:
        await transaction.rollback()
