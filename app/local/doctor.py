"""Decides what `mandi doctor` looks at, what is wrong with it, and what to do about it."""

import asyncio
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.local import binaries
from app.local.environment import read_dotenv
from app.local.home import PROJECT, Home
from app.local.ports import StartError, is_free
from app.local.stack import GATEWAY_PORT, POSTGRES_PORT, VALKEY_PORT, supervisor_of

_NEEDED_BYTES = 1_000_000_000
_CLOCK_TOLERANCE_S = 2.0
ROLE_SETTINGS = ("APP_DATABASE_URL", "DISPATCH_DATABASE_URL", "REFERENCE_DATABASE_URL")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and the remedy when it is not `ok`."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


def examine(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Every check, in the order in which a start would need them."""
    settings = {**read_dotenv(PROJECT / ".env"), **environ}
    state = home.state()
    running = supervisor_of(state) is not None
    if running and state is not None:
        settings |= state["settings"]
    yield check_python(sys.version_info[:3], sys.platform)
    yield _binary("PostgreSQL", lambda: binaries.postgres_bin() / "postgres", settings, "DATABASE_URL")
    yield _binary("Valkey", binaries.valkey_server, settings, "REDIS_URL")
    yield check_home(home)
    yield check_disk(shutil.disk_usage(_existing(home.root)).free)
    yield check_clock(datetime.now(UTC), _newest_source())
    if not running:
        for what, port in (("API", GATEWAY_PORT), ("PostgreSQL", POSTGRES_PORT), ("Valkey", VALKEY_PORT)):
            yield check_port(what, port, is_free(port))
    named = {name: settings[name] for name in ROLE_SETTINGS if name in settings}
    if not named:
        yield Finding("database roles", True, "not checked: no stack runs and no APP_DATABASE_URL is set")
    for name, url in named.items():
        yield asyncio.run(check_role(name, url))


def check_python(version: tuple[int, ...], system: str) -> Finding:
    """Python 3.11 or later on Linux or macOS."""
    found = f"Python {'.'.join(map(str, version))} on {platform.platform(terse=True)}"
    ok = version >= (3, 11) and not system.startswith("win")
    return Finding("Python", ok, found, "" if ok else "use Python 3.11 or later on Linux, macOS or WSL2")


def check_port(what: str, port: int, free: bool) -> Finding:
    """A busy port is no error: the next one is taken."""
    return Finding(
        f"port for {what}", True, f"{port} is free" if free else f"{port} is busy: the next free one is used"
    )


def check_disk(free_bytes: int) -> Finding:
    """At least 1 GB for the database and the bars."""
    ok = free_bytes >= _NEEDED_BYTES
    remedy = "" if ok else "free at least 1 GB, or point MANDI_HOME to a larger disk"
    return Finding("disk", ok, f"{free_bytes / 1e9:.1f} GB free", remedy)


def check_clock(now: datetime, newest: datetime) -> Finding:
    """The clock cannot be before the program's own files."""
    ok = now >= newest
    remedy = "" if ok else "set the clock (`timedatectl set-ntp true`): tokens, leases and sessions depend on it"
    return Finding("clock", ok, now.isoformat(timespec="seconds"), remedy)


def check_home(home: Home) -> Finding:
    """The data folder is ours, and its secrets are readable by nobody else."""
    if not home.root.exists():
        return Finding("data folder", True, f"{home.root} (made by the first start)")
    if not os.access(home.root, os.W_OK):
        return Finding("data folder", False, f"{home.root} is not writable", "chown it, or set MANDI_HOME to another")
    secret = [home.root / name for name in ("roles.json", "demo.json", "state.json")]
    opened = [path.name for path in secret if path.exists() and path.stat().st_mode & 0o077]
    if opened:
        return Finding("data folder", False, f"others can read {', '.join(opened)}", f"chmod 600 {home.root}/*.json")
    return Finding("data folder", True, str(home.root))


async def check_role(name: str, url: str) -> Finding:
    """The role behind `url` answers, cannot see past row-level security, and its server's clock agrees with ours."""
    import asyncpg

    from app.infra.roles import UnsafeRoleError, refuse_unsafe_role

    what = f"database role of {name}"
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.PostgresError, TimeoutError, ValueError) as error:
        return Finding(what, False, f"no connection: {error}", f"is the server up, and {name} right? Try `mandi up`")
    try:
        await refuse_unsafe_role(connection)
        before = time.time()
        theirs = (await connection.fetchval("select extract(epoch from clock_timestamp())::float8")) - before
        role = await connection.fetchval("select current_user")
    except UnsafeRoleError as error:
        return Finding(
            what, False, str(error), f"let {name} name the role that `mandi up` and the README create for it"
        )
    finally:
        await connection.close()
    ok = abs(theirs) < _CLOCK_TOLERANCE_S
    remedy = "" if ok else "synchronise the clocks of this machine and of the database server (NTP)"
    return Finding(what, ok, f"{role}, clock differs by {theirs * 1000:.0f} ms", remedy)


def _binary(what: str, find: Callable[[], Path], settings: Mapping[str, str], instead: str) -> Finding:
    if settings.get(instead):
        return Finding(what, True, f"{instead} is set: that server is used")
    try:
        path = find()
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=10)
    except (StartError, OSError, subprocess.SubprocessError) as error:
        return Finding(what, False, str(error), f"run `python3 start_trading.py setup`, or set {instead}")
    return Finding(what, True, told.stdout.strip().splitlines()[0])


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _newest_source() -> datetime:
    return datetime.fromtimestamp(max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py")), UTC)
