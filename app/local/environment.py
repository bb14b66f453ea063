"""Decides the environment of the stack's processes: the user's own, below it `.env`, above it what the stack knows."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from app.infra.roles import role_url
from app.local.home import Home

HIDDEN = ("DATABASE_URL", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")


def read_dotenv(path: Path) -> dict[str, str]:
    """`KEY=value` lines of `path`; empty when there is no such file."""
    from dotenv import dotenv_values

    return {key: value for key, value in dotenv_values(path).items() if value is not None} if path.exists() else {}


def stack_settings(
    home: Home, *, admin_url: str, redis_url: str, passwords: Mapping[str, str], speed: float | None
) -> dict[str, str]:
    """The settings that the stack itself decides, as environment variables."""
    settings = {
        "APP_DATABASE_URL": role_url(admin_url, "mandi_app", passwords["mandi_app"]),
        "DISPATCH_DATABASE_URL": role_url(admin_url, "mandi_dispatch", passwords["mandi_dispatch"]),
        "REFERENCE_DATABASE_URL": role_url(admin_url, "mandi_reference", passwords["mandi_reference"]),
        "MIGRATE_DATABASE_URL": role_url(admin_url, "mandi_migrate", passwords["mandi_migrate"]),
        "REDIS_URL": redis_url,
        "MANDI_DATA_DIR": str(home.data),
        "MANDI_ENVIRONMENT": "local",
    }
    if speed is not None:
        settings["REPLAY_BARS_PER_SECOND"] = f"{speed:g}"
    return settings


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
