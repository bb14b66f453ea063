"""Makes one valid row for any table, from the catalogue alone: types, keys, checks. Values are text, cast on use.

All ids of one tenant are one: every `uuid` of its rows, in every table, is the tenant's own id unless a check forbids.
A request or statement that names this id names a row of every table at once, so one attempt does the work of fifty.
"""

import itertools
import json
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from app.engine.terms import Terms
from app.insight.backtest.domain import Plan
from app.kernel.ids import uuid7
from app.kernel.orders import Product
from tests.factories.plans import TERMS
from tests.integration.isolation.catalogue import PERSON_TABLES

Row = dict[str, str | None]
_PLAN = Plan({}, {}, (), "1d", None, None, 0, "us_equity", Product.DELIVERY, 0, Terms()).to_json()
_EMPTY = "\\x" + zlib.compress(b"{}").hex()
EXAMPLES: dict[tuple[str, str], str] = {
    ("accounts", "currency"): "USD",
    ("act_as_grants", "expires_at"): "2026-01-05T09:45:00Z",
    ("approvals", "action"): "risk_limit.clear",
    ("backtest_results", "document"): _EMPTY,
    ("backtests", "currency"): "USD",
    ("backtests", "plan"): json.dumps(_PLAN),
    ("fills", "side"): "buy",
    ("instruments", "currency"): "USD",
    ("instruments", "price_exp"): "4",
    ("ledger_accounts", "book"): "client",
    ("ledger_accounts", "currency"): "USD",
    ("ledger_accounts", "financed"): "0",
    ("ledger_accounts", "flows"): "0",
    ("ledger_accounts", "head"): "",
    ("ledger_accounts", "kind"): "client_securities",
    ("ledger_accounts", "margin"): "0",
    ("ledger_accounts", "overdrawn"): "0",
    ("ledger_accounts", "payable"): "0",
    ("ledger_accounts", "pending_out"): "0",
    ("ledger_accounts", "receivable"): "0",
    ("ledger_accounts", "shard"): "0",
    ("ledger_breaks", "currency"): "USD",
    ("orders", "filled_quantity"): "0",
    ("orders", "order_class"): "single",
    ("orders", "order_type"): "market",
    ("orders", "product"): "delivery",
    ("orders", "side"): "buy",
    ("orders", "status"): "accepted",
    ("orders", "validity"): "day",
    ("payments", "currency"): "USD",
    ("plans", "terms"): json.dumps(TERMS),
    ("mail_requests", "available_at"): "2099-01-05T09:15:00Z",  # or a gateway of these tests would take and delete it
    ("sweep_results", "document"): _EMPTY,
    ("sweeps", "currency"): "USD",
    ("sweeps", "search"): json.dumps({"plan": _PLAN, "grid": [], "draws": None, "seed": 0, "metric": "sharpe"}),
}
"""(table, column) → a value: for a check that the search below cannot satisfy, or for a word that readers insist on."""

WHOLE_ROW = {"ledger_accounts": {"currency": "XXX"}}
"""What else satisfies a check that is a function of the whole row: there is nothing to search."""

_MAX_TRIES = 5_000
_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(?<![\w'.])-?\d+")

_COLUMNS = """
select c.relname as table, a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
       a.attidentity <> '' or a.attgenerated <> '' as made, a.atthasdef as has_default
from pg_attribute a join pg_class c on c.oid = a.attrelid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  and a.attnum > 0 and not a.attisdropped and c.relname <> 'alembic_version'
order by c.relname, a.attnum
"""
_CHECKS = """
select c.relname as table, k.conname as name, pg_get_expr(k.conbin, k.conrelid) as expression,
       array(select attname::text from pg_attribute where attrelid = k.conrelid and attnum = any (k.conkey)) as columns
from pg_constraint k join pg_class c on c.oid = k.conrelid
where k.contype = 'c' and k.connamespace = 'public'::regnamespace and not c.relispartition
"""
_KEYS = """
select k.conname as name, c.relname as table, f.relname as target,
       array(select a.attname::text from unnest(k.conkey) with ordinality u(n, place)
             join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.n order by u.place) as columns,
       array(select a.attname::text from unnest(k.confkey) with ordinality u(n, place)
             join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.n order by u.place) as targets
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class f on f.oid = k.confrelid
where k.contype = 'f' and k.connamespace = 'public'::regnamespace and not c.relispartition and k.conparentid = 0
"""
_UNIQUE = """
select c.relname as table, i.indexrelid::regclass::text as name, a.attname as column
from pg_index i join pg_class c on c.oid = i.indrelid
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::int[])
where i.indisunique and c.relnamespace = 'public'::regnamespace and not c.relispartition
"""


@dataclass(slots=True)
class Table:
    """What the catalogue knows of one table."""

    name: str
    types: dict[str, str] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    unique: dict[str, set[str]] = field(default_factory=dict)
    checks: list[Any] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)

    @property
    def owned(self) -> bool:
        """It belongs to tenants."""
        return "tenant_id" in self.types

    @property
    def owner_column(self) -> str | None:
        """The column that says whose a row is: a tenant's or a person's. None: the table is everyone's."""
        return "tenant_id" if self.owned else PERSON_TABLES.get(self.name)

    @property
    def setting(self) -> str:
        """The setting that row-level security compares that column with."""
        return "app.tenant_id" if self.owned else "app.user_id"


async def read_tables(connection: asyncpg.Connection) -> list[Table]:
    """Every table, those that others point at first."""
    tables: dict[str, Table] = {}
    for row in await connection.fetch(_COLUMNS):
        table = tables.setdefault(row["table"], Table(row["table"]))
        table.types[row["name"]] = row["type"]
        if row["required"]:
            table.required.add(row["name"])
        if row["made"]:
            table.made.add(row["name"])
    for row in await connection.fetch(_CHECKS):
        if row["table"] in tables:
            tables[row["table"]].checks.append(row)
    for row in await connection.fetch(_KEYS):
        tables[row["table"]].keys.append(row)
    for row in await connection.fetch(_UNIQUE):
        if row["table"] in tables:
            tables[row["table"]].unique.setdefault(row["name"], set()).add(row["column"])
    ordered: list[Table] = []
    waiting = dict(tables)
    while waiting:
        free = [
            table
            for table in waiting.values()
            if not any(key["target"] in waiting and key["target"] != table.name for key in table.keys)
        ]
        assert free, f"foreign keys go in circles among {sorted(waiting)}"
        for table in free:
            ordered.append(waiting.pop(table.name))
    return ordered


def _value(kind: str, own_id: UUID | None = None) -> str:
    if kind == "uuid":
        return str(own_id or uuid7())
    if kind.endswith("[]"):
        return "{}"
    if kind == "bytea":
        return "\\x" + secrets.token_hex(32)
    if kind in ("json", "jsonb"):
        return "{}"
    if kind == "boolean":
        return "false"
    if kind == "date":
        return "2026-01-05"
    if kind.startswith(("timestamp", "time")):
        return "2026-01-05T09:15:00Z"
    if kind in ("bigint", "integer", "smallint", "numeric", "double precision", "real"):
        return str(secrets.randbelow(9_000) + 1_000)
    return "x" + secrets.token_hex(8)


async def make_row(connection: asyncpg.Connection, table: Table, own_id: UUID, parents: dict[str, Row]) -> Row:
    """A row that satisfies the table's keys (from `parents`, by table) and checks; not inserted yet. It belongs to the
    tenant, or the person, `own_id`."""
    row: Row = {}
    pointing = {column for key in table.keys for column in key["columns"] if key["target"] != table.name}
    for column, kind in table.types.items():
        if column in table.made:
            continue
        wanted = column in table.required.union(pointing, *table.unique.values())
        row[column] = EXAMPLES.get((table.name, column), _value(kind, own_id) if wanted else None)
    for key in table.keys:
        parent = parents.get(key["target"])
        if parent is not None:
            for column, target in zip(key["columns"], key["targets"], strict=True):
                row[column] = parent[target]
    await _satisfy(connection, table, row, fixed=pointing | {table.owner_column or ""})
    return row


async def _passes(connection: asyncpg.Connection, table: Table, row: Row, expressions: list[str]) -> bool:
    columns = [column for column in table.types if column not in table.made]
    casts = ", ".join(
        f"CAST(${place}::text AS {table.types[column]}) AS {column}" for place, column in enumerate(columns, 1)
    )
    together = " AND ".join(f"(({expression}) IS NOT FALSE)" for expression in expressions)
    try:
        async with connection.transaction():
            return bool(
                await connection.fetchval(  # of the table's own type: a check may be a function of the whole row
                    f"SELECT {together} FROM jsonb_populate_record(NULL::{table.name}, "
                    f"(SELECT to_jsonb(candidate) FROM (SELECT {casts}) AS candidate)) AS {table.name}",
                    *[row[column] for column in columns],
                )
            )
    except asyncpg.DataError:
        return False


async def _satisfy(connection: asyncpg.Connection, table: Table, row: Row, *, fixed: set[str]) -> None:
    settled: list[str] = []
    for check in sorted(table.checks, key=lambda one: len(one["columns"])):
        settled.append(check["expression"])
        if await _passes(connection, table, row, settled):
            continue
        if not check["columns"]:
            row.update(WHOLE_ROW.get(table.name, {}))
            assert await _passes(connection, table, row, settled), f"no row of {table.name} is sound: see WHOLE_ROW"
            continue
        free = [column for column in check["columns"] if column not in fixed or column == "id"]
        choices = [_candidates(table, row, column, check["expression"]) for column in free]
        for values in itertools.islice(itertools.product(*choices), _MAX_TRIES):
            candidate = row | dict(zip(free, values, strict=True))
            if await _passes(connection, table, candidate, settled):
                row.update(candidate)
                break
        else:
            raise AssertionError(
                f"no row found for the check {check['name']} of {table.name}: {check['expression']}; "
                "add a value to EXAMPLES in tests/integration/isolation/rows.py"
            )


def _candidates(table: Table, row: Row, column: str, expression: str) -> list[str | None]:
    kind = table.types[column]
    found: list[str | None] = [row[column], _value(kind)]
    if kind == "uuid":
        found += [value for other, value in row.items() if table.types[other] == "uuid"]
    elif kind == "text" or kind.startswith("character"):
        found += [text.replace("''", "'") for text in _QUOTED.findall(expression)]
    elif kind in ("bigint", "integer", "smallint"):
        numbers = [int(text) for text in _NUMBER.findall(expression)]
        found += [str(number) for number in dict.fromkeys([0, 1, -1, 2, *numbers, *(one + 1 for one in numbers)])]
    elif kind == "boolean":
        found += ["true", "false"]
    elif kind.startswith("timestamp"):
        found += ["2026-01-06T09:15:00Z", "2026-01-04T09:15:00Z"]
    if column not in table.required:
        found.append(None)
    return list(dict.fromkeys(found))


def literal(value: str, kind: str) -> str:
    """`value` as an SQL literal of the type `kind`."""
    return f"CAST('{value.replace(chr(39), chr(39) * 2)}' AS {kind})"


def insertion(table: Table, row: Row) -> str:
    """The statement that inserts `row`; columns that are None take their default."""
    given = {column: value for column, value in row.items() if value is not None}
    values = ", ".join(literal(value, table.types[column]) for column, value in given.items())
    return f"INSERT INTO {table.name} ({', '.join(given)}) VALUES ({values})"
