"""Decides how the schema changes: Alembic versions for tables, then every slice's `sql/` functions, made anew."""

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

APP = Path(__file__).parent.parent
_LOCK = 0x6D616E6469  # advisory lock key: "mandi"

_GRANT_EXECUTE = """
DO $$
DECLARE f record;
BEGIN
    FOR f IN SELECT p.oid::regprocedure AS signature, p.prosecdef FROM pg_proc p
             WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
               AND pg_has_role(current_user, p.proowner, 'MEMBER')
               AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        CONTINUE WHEN f.prosecdef;  -- SECURITY DEFINER functions name their callers themselves
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO mandi_app, mandi_dispatch, mandi_reference, mandi_ledger, '
                       'mandi_lookup', f.signature);
    END LOOP;
END $$
"""


def sql_files() -> list[Path]:
    """Every slice's SQL files, in path order. Order is no matter: bodies are checked when they run."""
    return sorted(APP.glob("**/sql/*.sql"))


def alembic_config(url: str) -> Config:
    """Alembic set to the migrations that ship beside `app`, on `url` (role `mandi_migrate`)."""
    config = Config()
    config.set_main_option("script_location", str(APP.parent / "migrations"))
    config.attributes["url"] = url
    return config


def migrate(url: str, *, revision: str = "head") -> None:
    """Bring the database at `url` (role `mandi_migrate`) to `revision`. Blocking; safe to run twice at once."""
    command.upgrade(alembic_config(url), revision)
    asyncio.run(apply_functions(url))


async def apply_functions(url: str) -> None:
    """Create or replace every SQL function, in one transaction."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute("SET LOCAL check_function_bodies = off; SET LOCAL lock_timeout = '5s'")
            for path in sql_files():
                try:
                    await connection.execute(path.read_text())
                except asyncpg.PostgresError as error:
                    raise RuntimeError(f"{path.relative_to(APP.parent)}: {error}") from error
            await connection.execute(_GRANT_EXECUTE)
    finally:
        await connection.close()
