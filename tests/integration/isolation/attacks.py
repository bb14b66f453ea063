"""The attacks of one tenant on another's rows, as the role that every request has. A finding is a way across."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from app.kernel.ids import uuid7
from tests.integration.isolation.catalogue import CROSS_TENANT_INDEXES, PERSON_TABLES
from tests.integration.isolation.rows import Row, Table, insert, make_row, read_tables

_SET = "select set_config('app.tenant_id', $1, true)"
Rows = dict[str, Row]


@dataclass(slots=True)
class Report:
    """What was tried, and which ways across were found."""

    attempts: int = 0
    tables: int = 0
    found: list[str] = field(default_factory=list)


async def _act_as(connection: asyncpg.Connection, tenant_id: UUID | None) -> None:
    await connection.execute(_SET, str(tenant_id) if tenant_id else "")


async def _seed(
    owner: asyncpg.Connection, table: Table, tenant_id: UUID | None, rows: Rows, *, copy_of: Row | None, report: Report
) -> None:
    """Insert the tenant's own row. `copy_of` is another tenant's: inserting its values here must be possible."""
    await _act_as(owner, tenant_id)
    row = await make_row(owner, table, tenant_id, rows)
    if copy_of is not None:
        pointing = {column for key in table.keys for column in key["columns"]} | {"tenant_id"}
        same = copy_of | {column: row[column] for column in pointing if column in row}
        if table.name == "tenants":
            same["id"] = row["id"]
        report.attempts += 1
        try:
            async with owner.transaction():
                await insert(owner, table, same)
                raise _Undo
        except _Undo:
            pass
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name not in CROSS_TENANT_INDEXES:
                report.found.append(f"{table.name}: {error.constraint_name} tells of another tenant's values")
    if table.name in PERSON_TABLES:
        await owner.execute("select set_config('app.user_id', $1, true)", row[PERSON_TABLES[table.name]])
    await insert(owner, table, row)
    rows[table.name] = row


class _Undo(Exception):
    """Rolls an attempt back."""


async def seed(owner: asyncpg.Connection, report: Report) -> tuple[list[Table], UUID, Rows, UUID, Rows]:
    """One row in every table for each of two tenants, committed; the tables, and each tenant with its rows."""
    tables = await read_tables(owner)
    victim, attacker = uuid7(), uuid7()
    theirs: Rows = {}
    own: Rows = {}
    async with owner.transaction():
        for table in tables:
            await owner.execute(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")
        for table in tables:
            if table.owned:
                await _seed(owner, table, victim, theirs, copy_of=None, report=report)
                await _seed(owner, table, attacker, own, copy_of=theirs[table.name], report=report)
            else:
                await _seed(owner, table, None, theirs, copy_of=None, report=report)
                own[table.name] = theirs[table.name]
        for table in tables:
            await owner.execute(f"ALTER TABLE {table.name} ENABLE TRIGGER USER")
    return tables, victim, theirs, attacker, own


async def attack(owner: asyncpg.Connection, connection: asyncpg.Connection) -> Report:
    """Seed two tenants, then try every table as one of them. `connection` is `mandi_app`'s."""
    report = Report()
    tables, victim, theirs, attacker, own = await seed(owner, report)
    for table in tables:
        if table.owned:
            report.tables += 1
            sides = _Sides(victim, theirs[table.name], attacker, own[table.name])
            await _attack_table(connection, table, sides, report)
            await _attack_keys(owner, table, sides, theirs, own, report)
    return report


@dataclass(frozen=True, slots=True)
class _Sides:
    victim: UUID
    theirs: Row
    attacker: UUID
    own: Row


async def _attack_table(connection: asyncpg.Connection, table: Table, sides: _Sides, report: Report) -> None:
    name, victim = table.name, str(sides.victim)
    theirs = "tenant_id = $1::text::uuid"
    column = next(c for c in table.types if c not in {"tenant_id", "id", *table.made})

    async def run(what: str, tenant: UUID | None, sql: str, *arguments: str) -> None:
        """Rows that come back are the victim's, changed or seen: none may."""

        async def attempt() -> bool:
            return bool(await connection.fetch(sql, *arguments))

        await _try(connection, tenant, f"{name}: {what}", attempt, report)

    own = sides.attacker
    await run("sees rows", own, f"SELECT 1 FROM {name} WHERE {theirs}", victim)
    await run("sees among all", own, f"SELECT 1 FROM (SELECT * FROM {name}) t WHERE t.{theirs}", victim)
    await run("counts rows", own, f"SELECT 1 FROM {name} HAVING bool_or({theirs})", victim)
    await run("sees rows without a tenant", None, f"SELECT 1 FROM {name}")
    await run("updates without a tenant", None, f"UPDATE {name} SET {column} = {column} RETURNING 1")
    await run("deletes without a tenant", None, f"DELETE FROM {name} RETURNING 1")
    await _try_insert(connection, table, None, sides.own, f"{name}: inserts without a tenant", report)
    for target in dict.fromkeys((column, *table.types)):
        if target in table.made:
            continue
        update = f"UPDATE {name} SET {target} = {target}"
        await run(f"updates {target}", own, f"{update} WHERE {theirs} RETURNING 1", victim)
        blind = f"WITH t AS ({update} RETURNING tenant_id) SELECT 1 FROM t WHERE {theirs}"
        await run(f"blindly updates {target}", own, blind, victim)
    blind = f"WITH t AS (DELETE FROM {name} RETURNING tenant_id) SELECT 1 FROM t WHERE {theirs}"
    await run("blindly deletes", own, blind, victim)
    await run("deletes", own, f"DELETE FROM {name} WHERE {theirs} RETURNING 1", victim)
    await run("moves its own row", own, f"UPDATE {name} SET tenant_id = $1::text::uuid RETURNING 1", victim)
    await run("truncates", own, f"TRUNCATE {name} CASCADE")
    if "id" in table.types:
        forged = sides.theirs | {"id": sides.theirs["id"] if name == "tenants" else str(uuid7())}
        await _try_insert(connection, table, own, forged, f"{name}: inserts as another", report)
        by_id = f"SELECT 1 FROM {name} WHERE id = $1::text::uuid AND {theirs.replace('$1', '$2')}"
        await run("sees by id", own, by_id, str(sides.theirs["id"]), victim)
        locked = f"SELECT 1 FROM {name} WHERE id = $1::text::uuid FOR UPDATE"
        await run("locks by id", own, locked, str(sides.theirs["id"]))


async def _try_insert(
    connection: asyncpg.Connection, table: Table, tenant: UUID | None, row: Row, what: str, report: Report
) -> None:
    async def attempt() -> bool:
        await insert(connection, table, row)
        return True

    await _try(connection, tenant, what, attempt, report)


async def _try(
    connection: asyncpg.Connection,
    tenant: UUID | None,
    what: str,
    attempt: Callable[[], Awaitable[bool]],
    report: Report,
) -> None:
    """Run one attack in a transaction that is undone. Only "no rows" and "permission denied" are good ends."""
    report.attempts += 1
    try:
        async with connection.transaction():
            await _act_as(connection, tenant)
            if await attempt():
                report.found.append(what)
            raise _Undo
    except (_Undo, asyncpg.InsufficientPrivilegeError):
        pass
    except asyncpg.PostgresError as error:
        report.found.append(f"{what}: {type(error).__name__} {error}")


async def _attack_keys(
    owner: asyncpg.Connection, table: Table, sides: _Sides, theirs: Rows, own: Rows, report: Report
) -> None:
    """Point a row at another tenant's: key checks bypass row-level security, so only composite keys refuse it."""
    for key in table.keys:
        crossing = [
            (column, target)
            for column, target in zip(key["columns"], key["targets"], strict=True)
            if column != "tenant_id"
        ]
        parent = theirs[key["target"]]
        if "tenant_id" not in parent or not crossing or key["target"] == table.name:
            continue
        report.attempts += 1
        row = sides.own | {column: parent[target] for column, target in crossing}
        for column in ("id",):
            if column in row and column not in dict(crossing):
                row[column] = str(uuid7())
        try:
            async with owner.transaction():
                await _act_as(owner, sides.attacker)
                await owner.execute(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")
                await insert(owner, table, row)
                report.found.append(f"{table.name}: {key['name']} points at another tenant's row")
                raise _Undo
        except (_Undo, asyncpg.ForeignKeyViolationError):
            pass
        except asyncpg.UniqueViolationError:
            await _point_existing(owner, table, sides, key, dict(crossing), parent, report)


async def _point_existing(
    owner: asyncpg.Connection,
    table: Table,
    sides: _Sides,
    key: asyncpg.Record,
    crossing: dict[str, str],
    parent: Row,
    report: Report,
) -> None:
    """As above, by changing the attacker's own row: for tables that allow one row per tenant and other columns."""
    changes = ", ".join(
        f"{column} = CAST(${place}::text AS {table.types[column]})" for place, column in enumerate(crossing, 1)
    )
    try:
        async with owner.transaction():
            await _act_as(owner, sides.attacker)
            await owner.execute(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")
            await owner.execute(
                f"UPDATE {table.name} SET {changes}",
                *[parent[target] for target in crossing.values()],
            )
            report.found.append(f"{table.name}: {key['name']} points at another tenant's row")
            raise _Undo
    except (_Undo, asyncpg.ForeignKeyViolationError):
        pass
