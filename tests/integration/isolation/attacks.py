"""The attacks of one tenant on another's rows. A finding is a way across, or a row that its own tenant cannot reach."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from uuid import UUID

import asyncpg
from sqlmodel import SQLModel

from app.infra.rls import ROLES
from app.kernel.ids import uuid7
from tests.integration.isolation.catalogue import CROSS_TENANT_INDEXES
from tests.integration.isolation.pair import REFUSED, Hands, Pair
from tests.integration.isolation.rows import Row, Table, insertion, literal

APP, OWNER = ROLES["app"], ROLES["migrate"]
OTHERS = tuple(role for role in ROLES.values() if role not in (APP, OWNER))
_AS_OWNER = f"SET LOCAL session_replication_role = replica; SET LOCAL ROLE {OWNER};"
"""The owner without triggers: append-only tables would refuse before row-level security could."""


def sees_all(role: str, table: Table) -> bool:
    """The model declares that `role` works before or across tenants in this table: reviewed there."""
    short = next(short for short, name in ROLES.items() if name == role)
    model = SQLModel.metadata.tables.get(table.name)
    return short in ("dispatch", "lookup") and model is not None and short in model.info


async def all_found(hands: Hands, pair: Pair, *names: str) -> list[str]:
    """Every finding on the tables `names`, by default all."""
    return [found async for found in attack(hands, pair, *names)]


async def first_found(hands: Hands, pair: Pair, *names: str) -> str | None:
    """The first finding: whether the suite is red."""
    async with aclosing(attack(hands, pair, *names)) as findings:
        return await anext(findings, None)


async def attack(hands: Hands, pair: Pair, *names: str) -> AsyncGenerator[str, None]:
    """Every attack on the tables `names`, by default all; yields findings as they are made."""
    for table in pair.guarded:
        if names and table.name not in names:
            continue
        hands.tables.add(table.name)
        async for found in _attack_rows(hands, table, pair):
            yield found
        if hands.login is None:
            async for found in _attack_as_others(hands, table, pair):
                yield found
            if table.owned:
                async for found in _attack_uniqueness(hands, table, pair):
                    yield found
                async for found in _attack_keys(hands, table, pair):
                    yield found
    async for found in _attack_views(hands, pair):
        yield found


async def _attack_rows(hands: Hands, table: Table, pair: Pair) -> AsyncIterator[str]:
    """As `mandi_app`, the role that every request has."""
    own = pair.attacker.own_id
    for what, as_tenant, statement in _statements(table, pair):
        found = await _crosses(hands, APP, table, own if as_tenant else None, statement)
        if found is not None:
            yield f"{table.name}: {what}{found}"
    async for finding in _reaches_own(hands, APP, table, pair):
        yield finding


def _statements(table: Table, pair: Pair) -> Iterator[tuple[str, bool, str]]:
    """What is tried, whether as the attacker (or as nobody), and how. A row that comes back is the victim's."""
    name, owner = table.name, table.owner_column
    theirs = f"{owner} = '{pair.victim.own_id}'"
    row, own = pair.victim.rows[name], pair.attacker.rows[name]
    columns = [column for column in table.types if column not in table.made]
    column = next(column for column in columns if column not in {owner, "id"})
    yield "sees rows", True, f"SELECT 1 FROM {name} WHERE {theirs}"
    yield "sees among all", True, f"SELECT 1 FROM (SELECT * FROM {name}) t WHERE t.{theirs}"
    yield "counts rows", True, f"SELECT 1 FROM {name} HAVING bool_or({theirs})"
    yield "sees rows without a tenant", False, f"SELECT 1 FROM {name}"
    yield "updates without a tenant", False, f"UPDATE {name} SET {column} = {column} RETURNING 1"
    yield "deletes without a tenant", False, f"DELETE FROM {name} RETURNING 1"
    yield "inserts without a tenant", False, insertion(table, _fresh(table, own))
    for target in (column, *(one for one in columns if one != column)):
        update = f"UPDATE {name} SET {target} = {target}"
        yield f"updates {target}", True, f"{update} WHERE {theirs} RETURNING 1"
        yield (
            f"blindly updates {target}",
            True,
            f"WITH t AS ({update} RETURNING {owner}) SELECT 1 FROM t WHERE t.{theirs}",
        )
    yield "blindly deletes", True, f"WITH t AS (DELETE FROM {name} RETURNING {owner}) SELECT 1 FROM t WHERE t.{theirs}"
    yield "deletes", True, f"DELETE FROM {name} WHERE {theirs} RETURNING 1"
    yield "moves its own row", True, f"UPDATE {name} SET {owner} = '{pair.victim.own_id}' RETURNING 1"
    yield "truncates", True, f"TRUNCATE {name} CASCADE"
    yield "inserts as another", True, insertion(table, _fresh(table, row))
    if "id" in table.types:
        yield "sees by id", True, f"SELECT 1 FROM {name} WHERE id = '{row['id']}' AND {theirs}"
        yield "locks by id", True, f"SELECT 1 FROM {name} WHERE id = '{row['id']}' FOR UPDATE"


def _fresh(table: Table, row: Row) -> Row:
    """`row` with an id of its own, where that is not the owner's."""
    ours = "id" in row and table.owner_column != "id" and table.name != "tenants"
    return row | {"id": str(uuid7())} if ours else row


async def _crosses(hands: Hands, role: str, table: Table, own_id: UUID | None, statement: str) -> str | None:
    """None when the statement reached nothing, else what to add to the finding. Only "no rows" and "permission denied"
    are good ends."""
    before = _AS_OWNER if role == OWNER else ""
    try:
        reached = await hands.run(role, table.setting, own_id, statement, before=before)
    except REFUSED:
        return None
    except asyncpg.PostgresError as error:
        return f": {type(error).__name__} {error}"
    return "" if reached else None


async def _reaches_own(hands: Hands, role: str, table: Table, pair: Pair) -> AsyncIterator[str]:
    """The control: silence above means refusal only if the same statement finds the row that may be seen."""
    owner, own = table.owner_column, pair.attacker.own_id
    where, as_tenant = ("", None) if sees_all(role, table) else (f" WHERE {owner} = '{own}'", own)
    try:
        seen = await hands.run(role, table.setting, as_tenant, f"SELECT 1 FROM {table.name}{where}")
    except REFUSED:
        return  # which privileges a role must have is what the catalogue tests
    if not seen:
        yield f"{table.name}: {role} does not reach the row that it may see"


async def _attack_as_others(hands: Hands, table: Table, pair: Pair) -> AsyncIterator[str]:
    """As the owner, who is held by FORCE, and as each role whose work is not a tenant's."""
    name, theirs = table.name, f"{table.owner_column} = '{pair.victim.own_id}'"
    column = next(column for column in table.types if column not in {table.owner_column, "id", *table.made})
    for role in (OWNER, *OTHERS):
        async for finding in _reaches_own(hands, role, table, pair):
            yield finding
        if sees_all(role, table):
            continue
        for what, own_id, statement in (
            ("sees rows", pair.attacker.own_id, f"SELECT 1 FROM {name} WHERE {theirs}"),
            ("sees rows without a tenant", None, f"SELECT 1 FROM {name}"),
            ("updates", pair.attacker.own_id, f"UPDATE {name} SET {column} = {column} WHERE {theirs}"),
            ("deletes", pair.attacker.own_id, f"DELETE FROM {name} WHERE {theirs}"),
            ("inserts as another", pair.attacker.own_id, insertion(table, _fresh(table, pair.victim.rows[name]))),
        ):
            found = await _crosses(hands, role, table, own_id, statement)
            if found is not None:
                yield f"{name}: {role} {what}{found}"


async def _attack_uniqueness(hands: Hands, table: Table, pair: Pair) -> AsyncIterator[str]:
    """Insert another tenant's values as one's own: a unique violation would tell that they exist."""
    own, theirs = pair.attacker.rows[table.name], pair.victim.rows[table.name]
    kept = {column for key in table.keys for column in key["columns"] if key["target"] != table.name} | {"tenant_id"}
    if table.name == "tenants":
        kept |= {"id"}
    copied = theirs | {column: own[column] for column in kept if column in own}
    before = (
        f"{_AS_OWNER} SELECT set_config('app.tenant_id', '{pair.attacker.own_id}', true); DELETE FROM {table.name};"
    )
    while True:
        try:
            await hands.run(OWNER, table.setting, pair.attacker.own_id, insertion(table, copied), before=before)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name not in CROSS_TENANT_INDEXES:
                yield f"{table.name}: {error.constraint_name} tells of another tenant's values"
                return
            reviewed = table.unique[error.constraint_name]
            copied |= {column: own[column] for column in reviewed}  # another may hide behind it
        except asyncpg.PostgresError as error:
            yield f"{table.name}: takes another tenant's values: {type(error).__name__} {error}"
            return
        else:
            return


async def _attack_keys(hands: Hands, table: Table, pair: Pair) -> AsyncIterator[str]:
    """Point a row at another tenant's: key checks bypass row-level security, so only composite keys refuse it."""
    for key in table.keys:
        pairs = zip(key["columns"], key["targets"], strict=True)
        crossing = {column: target for column, target in pairs if column != "tenant_id"}
        parent = pair.victim.rows[key["target"]]
        if not crossing or "tenant_id" not in parent:
            continue
        pointed = {column: parent[target] for column, target in crossing.items()}
        row = _fresh(table, pair.attacker.rows[table.name]) | pointed
        changes = ", ".join(f"{column} = {literal(str(pointed[column]), table.types[column])}" for column in crossing)
        disarm = f"SET LOCAL ROLE {OWNER}; ALTER TABLE {table.name} DISABLE TRIGGER USER;"
        for statement in (insertion(table, row), f"UPDATE {table.name} SET {changes}"):
            try:
                pointing = await hands.run(OWNER, table.setting, pair.attacker.own_id, statement, before=disarm)
            except (asyncpg.ForeignKeyViolationError, asyncpg.UniqueViolationError):
                continue  # some tables have one row a tenant: the update is what tells there
            except asyncpg.PostgresError as error:
                yield f"{table.name}: {key['name']}: {type(error).__name__} {error}"
                continue
            if pointing:
                yield f"{table.name}: {key['name']} points at another tenant's row"
                break


async def _attack_views(hands: Hands, pair: Pair) -> AsyncIterator[str]:
    """Views that name a tenant show the caller's alone, whoever owns them."""
    for view in await hands.views():
        statement = f"SELECT 1 FROM {view} WHERE tenant_id = '{pair.victim.own_id}'"
        try:
            seen = await hands.run(APP, "app.tenant_id", pair.attacker.own_id, statement)
        except REFUSED:
            continue
        if seen:
            yield f"{view}: shows another tenant's rows"
