"""No SQL function that requests may call shows or changes another tenant's rows, whatever ids it is given."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from app.infra.rls import ROLES
from tests.integration.isolation.pair import Hands, Pair, open_hands
from tests.integration.isolation.scene import markers_of

pytestmark = pytest.mark.asyncio
_FUNCTIONS = """
select p.proname::text as name, coalesce(p.proargnames, '{}')::text[] as names,
       array(select format_type(t, null) from unnest(p.proargtypes::oid[]) with ordinality u(t, place) order by place)
           as types
from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
  and has_function_privilege($1, p.oid, 'EXECUTE')
order by 1, 3
"""
_CALLERS_OWN = ("p_tenant", "p_home", "p_parent")
"""Arguments that say who calls: the gateway fills them in from the credential, never from what a request says."""

_VALUES = {
    "text": "'x'",
    "text[]": "'{queued,pending,open}'",
    "jsonb": "'{}'",
    "boolean": "true",
    "bytea": "'\\x00'",
    "interval": "'1 minute'",
    "date": "'2026-01-05'",
    "timestamp with time zone": "'2026-01-05T09:15:00Z'",
}
PLANTED = {
    "shows": "CREATE FUNCTION planted(p_id uuid) RETURNS text LANGUAGE sql SECURITY DEFINER"
    " AS 'select email from members where id = p_id'",
    "changes": "CREATE FUNCTION planted(p_id uuid) RETURNS void LANGUAGE sql SECURITY DEFINER"
    " AS 'update members set created_at = now() where id = p_id'",
}


SPELLS = ("orders_public_id", "shows")
"""It reads no row (it is IMMUTABLE), and says the id that it was given as the API writes it."""


def _argument(name: str, kind: str, pair: Pair) -> str:
    own, theirs = pair.attacker.own_id, pair.victim.own_id
    if kind == "uuid":
        return f"'{own if name in _CALLERS_OWN else theirs}'::uuid"
    if kind == "uuid[]":
        return f"'{{{own if name == 'p_tenants' else theirs}}}'::uuid[]"
    if kind in ("integer", "bigint", "smallint"):
        return f"1::{kind}"
    if kind in ("bigint[]", "boolean[]"):
        return f"'{{1}}'::{kind}"
    return f"{_VALUES.get(kind, 'NULL')}::{kind}"


def _rows_of_the_victim(pair: Pair) -> str:
    rows = " UNION ALL ".join(f"SELECT t::text AS row FROM {table.name} t" for table in pair.guarded)
    return f"(SELECT md5(string_agg(row, '' ORDER BY row)) FROM ({rows}) all_rows)"


async def _attack(hands: Hands, pair: Pair) -> AsyncIterator[tuple[str, str]]:
    """Call every function as the attacker with the victim's ids; yields its name and what it did: the control first."""
    own, victim, rows = pair.attacker.own_id, pair.victim.own_id, _rows_of_the_victim(pair)
    look = (
        f"RESET ROLE; SET LOCAL ROLE {ROLES['migrate']}; SELECT set_config('app.tenant_id', '{victim}', true),"
        f" set_config('app.user_id', '{victim}', true);"
    )
    await hands.connection.execute(look)
    before = await hands.connection.fetchval(f"SELECT {rows}")
    await hands.connection.execute("ROLLBACK TO SAVEPOINT attempt")
    shown = "|".join(markers_of(victim, pair.victim.rows) - {str(victim)})
    for function in await hands.connection.fetch(_FUNCTIONS, ROLES["app"]):
        names = [*function["names"], *[""] * len(function["types"])]
        arguments = ", ".join(_argument(name, kind, pair) for name, kind in zip(names, function["types"], strict=False))
        call = f"{function['name']}({arguments})"
        for what, statement in (
            ("called", f"SELECT 1 FROM {call} AS answer"),
            ("shows", f"SELECT 1 FROM {call} AS answer WHERE answer::text ~ '{shown}'"),
            ("changes", f"SELECT {call}; {look} SELECT 1 WHERE {rows} IS DISTINCT FROM '{before}'"),
        ):
            try:
                if await hands.run(ROLES["app"], "app.tenant_id", own, statement):
                    yield function["name"], what
            except asyncpg.PostgresError:
                continue
    await hands.connection.execute("ROLLBACK TO SAVEPOINT attempt")


async def test_no_function_shows_or_changes_another_tenants_rows(
    admin: asyncpg.Connection, pair: Pair, record_property: Callable[[str, object], None]
) -> None:
    async with open_hands(admin) as hands:
        done = [one async for one in _attack(hands, pair)]
    assert [(name, what) for name, what in done if what != "called" and (name, what) != SPELLS] == []
    called = {name for name, _ in done}
    assert {"orders_context", "ledger_securities", "tenancy_standing"} <= called, "calls fail before they do anything"
    record_property("attempts", hands.attempts)
    record_property("functions", hands.attempts // 3)


@pytest.mark.parametrize("what", PLANTED)
async def test_a_planted_function_is_found(admin: asyncpg.Connection, pair: Pair, what: str) -> None:
    async with open_hands(admin, plant=PLANTED[what]) as hands:
        assert ("planted", what) in [one async for one in _attack(hands, pair)]
