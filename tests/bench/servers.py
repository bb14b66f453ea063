"""The servers and processes of a benchmark: its own PostgreSQL and Valkey, ours and the limit's application."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.infra.migrate import migrate
from app.infra.roles import LOGIN_ROLES, ensure_roles
from app.local.environment import process_environment, stack_settings
from app.local.home import Home
from app.local.ports import pick_port
from app.local.postgres import temporary_postgres
from app.local.stack import is_ready
from app.local.valkey import temporary_valkey


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Migrated databases; their settings, which are put into this process's environment, too."""
    with (
        tempfile.TemporaryDirectory() as folder,
        temporary_postgres(durable=True) as postgres,
        temporary_valkey() as valkey,
    ):
        home = Home(Path(folder))
        home.create()
        passwords = home.passwords(LOGIN_ROLES)
        asyncio.run(ensure_roles(postgres.dsn, passwords))
        settings = stack_settings(home, admin_url=postgres.dsn, redis_url=valkey.url, passwords=passwords, speed=None)
        migrate(settings["MIGRATE_DATABASE_URL"])
        settings["ORDER_BACKLOG_SECONDS"] = "86400"  # some figures place orders that nobody works on yet
        os.environ.update(settings)
        yield settings


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Of our processes and of the limit's, which writes as the schema's owner."""
    return process_environment(os.environ, settings | {"LIMIT_DATABASE_URL": settings["MIGRATE_DATABASE_URL"]})


@contextmanager
def process(arguments: list[str], environ: dict[str, str]) -> Iterator[None]:
    started = subprocess.Popen([sys.executable, *arguments], env=environ, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def server(target: str, environ: dict[str, str]) -> Iterator[str]:
    port = pick_port(18_000, target, lambda text: None)
    arguments = ["-m", "uvicorn", target, "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    with process([*arguments, "--log-level", "warning"], environ):
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            if is_ready(url):
                break
            time.sleep(0.1)
        yield url
