"""What PostgreSQL's catalogue must say for tenants to be isolated, of tables and functions to come as well."""

import re
from collections.abc import Iterable
from typing import Any

import asyncpg
from sqlalchemy import MetaData

from app.infra.rls import ROLES
from app.infra.roles import LOGIN_ROLES, OWNER_ROLES

GLOBAL_TABLES = frozenset(
    {
        "alembic_version",
        "bar_series",
        "calendar_jobs",
        "corporate_actions",
        "feed_state",
        "instrument_bands",
        "instrument_rules",
        "instruments",
        "last_prices",
        "oauth_signing_keys",
        "paper_checkpoints",
        "plans",
        "risk_platform_halts",
        "risk_platform_limits",
        "trading_sessions",
    }
)
"""Tables without a tenant, each reviewed: market reference data, how far each feed was matched, the jobs of
its calendar, signing keys, what the platform allows at most and has halted."""

PERSON_TABLES = {
    "login_sessions": "user_id",
    "mail_requests": "user_id",
    "mail_tokens": "user_id",
    "recovery_codes": "user_id",
    "sign_ups": "id",
    "users": "id",
}
"""Tables without a tenant whose rows belong to a person: the column that names whom. A person works for several tenants
(decision 0007), so no tenant can own these; forced row-level security compares the column with `app.user_id`."""

CROSS_TENANT_INDEXES = {
    "api_keys_key_id_key": "unique over random key ids: tells nothing about another tenant",
    "deployments_due_idx": "the relay's: deployments that a closed bar waits for, of all tenants",
    "oauth_clients_origins_idx": "the lookup's: whether anybody has registered an origin, which a preflight asks",
    "oauth_clients_client_id_key": "unique over random client ids: tells nothing about another tenant",
    "events_unstamped_idx": "the follower's: events without a position, of all tenants",
    "idempotency_keys_expiry_idx": "the scheduler's: answers that have expired, of all tenants",
    "invitations_token_hash_key": "unique over random tokens: tells nothing about another tenant",
    "waiting_orders_book_idx": "the matcher's: the orders that wait for a price of an instrument, of all tenants",
    "paper_ended_at_idx": "the scheduler's: orders that left the paper venue and are cleared, of all tenants",
    "paper_orders_book_idx": "the matcher's: the orders of an instrument that rest, of all tenants",
    "settlements_due_idx": "the scheduler's: what is due on a feed's clock, of all tenants",
    "webhook_deliveries_finished_idx": "the scheduler's: deliveries that ended and are cleared, of all tenants",
    "work_items_finished_idx": "the scheduler's: what is done and is pruned, of all tenants",
    "work_items_ready_idx": "the relay's: what waits, of all tenants",
}
"""Indexes that do not lead with tenant_id, each with its reason."""

DEFINER_FUNCTIONS = {
    "identity_api_key": "mandi_lookup",
    "tenancy_invitation": "mandi_lookup",
    "people_by_email": "mandi_lookup",
    "people_by_mail_token": "mandi_lookup",
    "people_by_session": "mandi_lookup",
    "oauth_tenant_of_client": "mandi_lookup",
    "oauth_origin_registered": "mandi_lookup",
}
"""SECURITY DEFINER functions, each reviewed, and who owns them. Those of `mandi_ledger` are named by prefix below."""

DEFINER_PREFIXES = {"ledger_": "mandi_ledger"}
POLICY = "(tenant_id=(SELECT(NULLIF(current_setting('app.tenant_id'::text,true),''::text))::uuidAS\"nullif\"))"
PERSON_POLICY = POLICY.replace("tenant_id=", "{column}=").replace("app.tenant_id", "app.user_id")
_PRIVILEGE = re.compile(r"(\w+)(?:\s*\(([^)]*)\))?")

_TABLES = """
select c.oid, c.relname as name, c.relkind::text as kind, c.relispartition as part, c.relrowsecurity as rls,
       c.relforcerowsecurity as forced, coalesce(c.reloptions, '{}') as options,
       exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
           as tenant
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""
_POLICIES = """
select p.polname as name, c.relname as table, p.polcmd::text as command, p.polpermissive as permissive,
       case when p.polroles = '{0}' then '{public}'
            else array(select rolname::text from pg_roles where oid = any (p.polroles)) end as roles,
       pg_get_expr(p.polqual, p.polrelid) as using, pg_get_expr(p.polwithcheck, p.polrelid) as check
from pg_policy p join pg_class c on c.oid = p.polrelid
"""
_INDEXES = """
select i.indexrelid::regclass::text as name, c.relname as table, i.indisunique as unique, i.indisprimary as primary,
       array(select coalesce(a.attname::text, '(expression)') from unnest(i.indkey::int[]) with ordinality k(n, place)
             left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n and k.n > 0
             where k.place <= i.indnkeyatts order by k.place) as columns
from pg_index i join pg_class c on c.oid = i.indrelid
where c.relnamespace = 'public'::regnamespace and not c.relispartition
"""
_KEYS = """
select k.conname as name, c.relname as table, f.relname as target,
       array(select a.attname::text from unnest(k.conkey) with ordinality u(n, place)
             join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.n order by u.place) as columns,
       array(select a.attname::text from unnest(k.confkey) with ordinality u(n, place)
             join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.n order by u.place) as targets
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class f on f.oid = k.confrelid
where k.contype = 'f' and k.connamespace = 'public'::regnamespace and not c.relispartition
"""
_GRANTS = """
select c.relname as table, case when g.grantee = 0 then 'public' else pg_get_userbyid(g.grantee)::text end as role,
       g.privilege_type as privilege, null::text as column
from pg_class c, aclexplode(c.relacl) g
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and g.grantee <> c.relowner
union all
select c.relname, case when g.grantee = 0 then 'public' else pg_get_userbyid(g.grantee)::text end,
       g.privilege_type, a.attname::text
from pg_class c join pg_attribute a on a.attrelid = c.oid, aclexplode(a.attacl) g
where c.relnamespace = 'public'::regnamespace and g.grantee <> c.relowner
"""
_FUNCTIONS = """
select p.proname as name, p.prosecdef as definer, pg_get_userbyid(p.proowner)::text as owner,
       coalesce(p.proconfig, '{}') as config,
       exists (select 1 from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
               where g.grantee = 0) as public
from pg_proc p where p.pronamespace = 'public'::regnamespace
"""
_ROLES = """
select r.rolname::text as name, r.rolsuper as superuser, r.rolbypassrls as bypassrls, r.rolcreaterole as createrole,
       r.rolcreatedb as createdb, r.rolcanlogin as login,
       array(select m.rolname::text from pg_auth_members a join pg_roles m on m.oid = a.roleid where a.member = r.oid)
           as member_of,
       has_schema_privilege(r.oid, 'public', 'CREATE') as creates
from pg_roles r where r.rolname = any ($1)
"""


async def findings(connection: asyncpg.Connection, metadata: MetaData) -> list[str]:
    """Everything wrong with isolation in this database, one sentence each. Empty when it is sound."""
    tables = await connection.fetch(_TABLES)
    owned = {row["name"] for row in tables if row["tenant"] and row["kind"] in "rp" and not row["part"]}
    return [
        *_table_findings(tables),
        *_policy_findings(await connection.fetch(_POLICIES), owned, metadata),
        *_index_findings(await connection.fetch(_INDEXES), owned),
        *_key_findings(await connection.fetch(_KEYS), owned),
        *_grant_findings(await connection.fetch(_GRANTS), tables, metadata),
        *_function_findings(await connection.fetch(_FUNCTIONS)),
        *role_findings([dict(row) for row in await connection.fetch(_ROLES, list(ROLES.values()))]),
    ]


def _table_findings(tables: Iterable[Any]) -> Iterable[str]:
    for row in tables:
        name, kind = row["name"], row["kind"]
        if kind == "m":
            yield f"{name} is a materialized view: it cannot have row-level security"
        elif kind == "v":
            if "security_invoker=true" not in row["options"]:
                yield f"the view {name} runs as its owner: make it WITH (security_invoker=true)"
        elif not row["tenant"] and name not in PERSON_TABLES:
            if name not in GLOBAL_TABLES:
                yield f"{name} has no tenant_id and is not on the reviewed list of global tables"
        elif not row["part"]:
            if not row["rls"]:
                yield f"{name} has no row-level security"
            if not row["forced"]:
                yield f"{name} does not force row-level security on its owner"


def _policy_findings(policies: Iterable[Any], owned: set[str], metadata: MetaData) -> Iterable[str]:
    expected = {(table, "tenant"): "public" for table in owned}
    expected |= {(table, "person"): "public" for table in PERSON_TABLES}
    for table in (owned | PERSON_TABLES.keys()) & set(metadata.tables):
        for short in ("dispatch", "lookup"):
            if short in metadata.tables[table].info:
                expected[(table, short)] = ROLES[short]
    seen = set()
    for row in policies:
        key = (row["table"], row["name"])
        seen.add(key)
        if key not in expected:
            yield f"{row['table']} has the policy {row['name']}, which no model declares"
            continue
        if list(row["roles"]) != [expected[key]] or row["command"] != "*" or not row["permissive"]:
            yield f"the policy {row['name']} of {row['table']} applies to {row['roles']}, command {row['command']}"
        person = PERSON_POLICY.format(column=PERSON_TABLES.get(row["table"]))
        wanted = {"tenant": POLICY, "person": person}.get(row["name"], "true")
        for clause in ("using", "check"):
            if re.sub(r"\s", "", row[clause] or "") != wanted:
                yield f"the policy {row['name']} of {row['table']} has another {clause} clause: {row[clause]}"
    for table, name in expected.keys() - seen:
        yield f"{table} lacks the policy {name}"


def _index_findings(indexes: Iterable[Any], owned: set[str]) -> Iterable[str]:
    for row in indexes:
        if row["table"] not in owned or row["name"] in CROSS_TENANT_INDEXES:
            continue
        if row["columns"][0] != "tenant_id":
            kind = "primary key" if row["primary"] else "unique index" if row["unique"] else "index"
            yield f"the {kind} {row['name']} of {row['table']} does not lead with tenant_id: {row['columns']}"


def _key_findings(keys: Iterable[Any], owned: set[str]) -> Iterable[str]:
    for row in keys:
        if row["table"] in owned and row["target"] in owned:
            pairs = list(zip(row["columns"], row["targets"], strict=True))
            if ("tenant_id", "tenant_id") not in pairs:
                yield f"the foreign key {row['name']} of {row['table']} crosses tenants: {pairs}"


def _declared(metadata: MetaData) -> set[tuple[str, str, str, str | None]]:
    found: set[tuple[str, str, str, str | None]] = set()
    for table in metadata.tables.values():
        for short, privileges in table.info.items():
            for privilege, columns in _PRIVILEGE.findall(privileges):
                for column in columns.split(",") if columns else [None]:
                    found.add((table.name, ROLES[short], privilege, column.strip() if column else None))
    return found


def _grant_findings(grants: Iterable[Any], tables: Iterable[Any], metadata: MetaData) -> Iterable[str]:
    declared = _declared(metadata)
    found = {(row["table"], row["role"], row["privilege"], row["column"]) for row in grants}
    for table, role, privilege, column in sorted(found - declared, key=str):
        yield f"{role} has {privilege}{f' ({column})' if column else ''} on {table}, which no model declares"
    for table, role, privilege, column in sorted(declared - found, key=str):
        yield f"{role} lacks {privilege}{f' ({column})' if column else ''} on {table}, which its model declares"
    for row in tables:
        if row["kind"] in "rp" and not row["part"] and row["name"] not in {*metadata.tables, "alembic_version"}:
            yield f"{row['name']} has no model"


def _function_findings(functions: Iterable[Any]) -> Iterable[str]:
    for row in functions:
        name = row["name"]
        if row["public"] and row["owner"] in ROLES.values():
            yield f"everyone may execute {name}"
        if not row["definer"]:
            continue
        prefixed = next((owner for prefix, owner in DEFINER_PREFIXES.items() if name.startswith(prefix)), None)
        owner = DEFINER_FUNCTIONS.get(name, prefixed)
        if owner is None:
            yield f"{name} is SECURITY DEFINER and not on the reviewed list"
        elif row["owner"] != owner:
            yield f"{name} is SECURITY DEFINER and belongs to {row['owner']}, not {owner}"
        paths = [setting for setting in row["config"] if setting.startswith("search_path=")]
        if not paths or not paths[0].endswith("pg_temp"):
            yield f"{name} is SECURITY DEFINER without a search_path that ends with pg_temp"


def role_findings(roles: list[dict[str, Any]]) -> Iterable[str]:
    """What is wrong with the roles' attributes and memberships."""
    for row in roles:
        name = row["name"]
        for attribute in ("superuser", "bypassrls", "createrole", "createdb"):
            if row[attribute]:
                yield f"the role {name} has {attribute}"
        if row["login"] != (name in LOGIN_ROLES):
            yield f"the role {name} {'can' if row['login'] else 'cannot'} log in"
        allowed = set(OWNER_ROLES) if name == "mandi_migrate" else set()
        for other in set(row["member_of"]) - allowed:
            yield f"the role {name} is a member of {other}"
        if row["creates"] and name not in ("mandi_migrate", *OWNER_ROLES):
            yield f"the role {name} may create objects in the schema"
    for missing in set(ROLES.values()) - {row["name"] for row in roles}:
        yield f"the role {missing} does not exist"
