"""Decides which database roles exist, and refuses to start under one that could see past row-level security."""

from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from app.infra.rls import ROLES

LOGIN_ROLES = ("mandi_migrate", "mandi_app", "mandi_dispatch", "mandi_reference")
OWNER_ROLES = (
    "mandi_lookup",
    "mandi_ledger",
)  # NOLOGIN: they own SECURITY DEFINER functions


class UnsafeRoleError(Exception):
    """The connected role would bypass tenant isolation; the message says which attribute to remove."""


async def ensure_roles(admin_url: str, passwords: dict[str, str], *, database: str = "mandi") -> None:
    """Create or update the roles and the database, as an administrator. Idempotent.

    `passwords` maps each of `LOGIN_ROLES` to its password. The database is owned by `mandi_migrate`.
    """
    admin = await asyncpg.connect(admin_url)
    try:
        for role in (*LOGIN_ROLES, *OWNER_ROLES):
            exists = await admin.fetchval("select 1 from pg_roles where rolname = $1", role)
            attributes = "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"
            if role in LOGIN_ROLES:
                secret = await admin.fetchval("select quote_literal($1::text)", passwords[role])
                attributes = f"LOGIN PASSWORD {secret} {attributes}"
            else:
                attributes = f"NOLOGIN {attributes}"
            await admin.execute(f"{'ALTER' if exists else 'CREATE'} ROLE {role} {attributes}")
        for owner in OWNER_ROLES:
            await admin.execute(f"GRANT {owner} TO mandi_migrate WITH INHERIT FALSE, SET TRUE")
        if not await admin.fetchval("select 1 from pg_database where datname = $1", database):
            await admin.execute("GRANT mandi_migrate TO CURRENT_USER")
            await admin.execute(f'CREATE DATABASE "{database}" OWNER mandi_migrate')
    finally:
        await admin.close()
    await _grant_schema(with_database(admin_url, database), database)


async def _grant_schema(admin_url: str, database: str) -> None:
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
        for role in LOGIN_ROLES:
            await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO {role}')
        await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        await connection.execute(f"GRANT USAGE ON SCHEMA public TO {', '.join(ROLES.values())}")
        await connection.execute(f"GRANT CREATE ON SCHEMA public TO mandi_migrate, {', '.join(OWNER_ROLES)}")
        await connection.execute(
            "ALTER DEFAULT PRIVILEGES FOR ROLE mandi_migrate REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
        )
    finally:
        await connection.close()


def with_database(url: str, database: str) -> str:
    """`url` with its database replaced."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def role_url(admin_url: str, role: str, password: str, *, database: str = "mandi") -> str:
    """The URL of `role` on the server that `admin_url` names."""
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{host}", path=f"/{database}"))


async def refuse_unsafe_role(connection: asyncpg.Connection) -> None:
    """Raise `UnsafeRoleError` for a superuser, a role with BYPASSRLS, or an owner of any table or of the database.

    Membership counts: a role that may `SET ROLE` to such a one is one.
    """
    found = await connection.fetchrow(
        """
        select current_user::text as name,
               bool_or(r.rolsuper) as superuser,
               bool_or(r.rolbypassrls) as bypassrls,
               (select count(*) from pg_class c
                where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
                  and pg_has_role(current_user, c.relowner, 'MEMBER')) as owned
        from pg_roles r where pg_has_role(current_user, r.oid, 'MEMBER')
        """
    )
    assert found is not None
    wrong = [name for name in ("superuser", "bypassrls") if found[name]]
    if found["owned"]:
        wrong.append(f"owner of {found['owned']} tables")
    if wrong:
        raise UnsafeRoleError(
            f"the database role {found['name']!r} is {' and '.join(wrong)}: it would see past row-level security. "
            "Connect as mandi_app, mandi_dispatch or mandi_reference (`mandi doctor` checks them)."
        )
