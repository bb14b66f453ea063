"""Decides the environment of the stack's processes: the user's own, below it `.env`, above it what the stack knows."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.infra.roles import role_url
from app.local.home import Home
from app.local.ports import StartError

ROLE_VARIABLES = {
    "APP_DATABASE_URL": "mandi_app",
    "DISPATCH_DATABASE_URL": "mandi_dispatch",
    "REFERENCE_DATABASE_URL": "mandi_reference",
    "MIGRATE_DATABASE_URL": "mandi_migrate",
}
HIDDEN = ("DATABASE_URL", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")


def read_dotenv(path: Path) -> dict[str, str]:
    """`KEY=value` lines of `path`; empty when there is no such file."""
    from dotenv import dotenv_values

    return {key: value for key, value in dotenv_values(path).items() if value is not None} if path.exists() else {}


def configured(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """The user's settings; without them those of the running (or last) local stack."""
    if "APP_DATABASE_URL" in environ or "MIGRATE_DATABASE_URL" in environ:
        return dict(environ)
    state = home.state() or {}
    return {str(key): str(value) for key, value in state.get("settings", {}).items()}


def stack_settings(
    home: Home, *, admin_url: str, redis_url: str, passwords: Mapping[str, str], speed: float | None
) -> dict[str, str]:
    """The settings that the stack itself decides, as environment variables."""
    settings = {
        **{name: role_url(admin_url, role, passwords[role]) for name, role in ROLE_VARIABLES.items()},
        "REDIS_URL": redis_url,
        "MANDI_DATA_DIR": str(home.data),
        "MANDI_ENVIRONMENT": "local",
    }
    if speed is not None:
        settings["REPLAY_BARS_PER_SECOND"] = f"{speed:g}"
    return settings


def passwords_of(environ: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Each login role's password and the database's name, from the four `…_DATABASE_URL`s.

    Raises `StartError` when one is missing, names another role or another database than the others.
    """
    passwords, databases = {}, set()
    for variable, role in ROLE_VARIABLES.items():
        parts = urlsplit(environ.get(variable, ""))
        if parts.username != role or not parts.password:
            raise StartError(f"{variable} must be postgresql://{role}:<password>@<host>/<database> to create the roles")
        passwords[role] = unquote(parts.password)
        databases.add(parts.path.strip("/"))
    if len(databases) != 1:
        raise StartError(f"{', '.join(ROLE_VARIABLES)} must name the same database")
    return passwords, databases.pop()


def process_environment(
    base: Mapping[str, str], settings: Mapping[str, str], *, without: tuple[str, ...] = ("MIGRATE_DATABASE_URL",)
) -> dict[str, str]:
    """The environment of one process.

    The administrator's DATABASE_URL never reaches a process of ours, the owner's MIGRATE_DATABASE_URL only the
    migration. The interpreter's folder comes first in PATH.
    """
    environ = {key: value for key, value in base.items() if key not in HIDDEN} | dict(settings)
    for name in without:
        environ.pop(name, None)
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), base.get("PATH", os.defpath)])
    environ["PYTHONUNBUFFERED"] = "1"
    return environ
