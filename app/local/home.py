"""Decides where the local stack keeps what: one data folder, secrets for their owner only, one stack at a time."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.local.ports import StartError

PROJECT = Path(__file__).parents[2]


class BusyError(StartError):
    """Another `mandi up` uses this data folder."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the demo tenant is reached with. The key is known only here: the database holds its hash."""

    tenant_id: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Home:
    """The data folder: `.mandi` in the project, or `MANDI_HOME`."""

    root: Path

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> "Home":
        """The folder that `environ` names; else `.mandi` beside `start_trading.py`, or in the current folder."""
        named = environ.get("MANDI_HOME")
        if named:
            return cls(Path(named).expanduser().absolute())
        return cls((PROJECT if (PROJECT / "start_trading.py").exists() else Path.cwd()) / ".mandi")

    @property
    def data(self) -> Path:
        """`MANDI_DATA_DIR`: bars and whatever else the application stores as files."""
        return self.root / "data"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    def create(self) -> None:
        """Make the folder. Raises `StartError` when it belongs to somebody else."""
        try:
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)  # root's PostgreSQL must pass through it
            self.data.mkdir(exist_ok=True)
            (self.root / ".writable").touch()
        except OSError as error:
            owner = f"it belongs to user {self.root.stat().st_uid}; " if self.root.exists() else ""
            raise StartError(
                f"cannot write to {self.root}: {owner}run as that user, or set MANDI_HOME to your own folder ({error})"
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder. Raises `BusyError` while another stack does; a killed one holds it no longer."""
        with (self.root / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BusyError(
                    f"a stack already runs in {self.root} (`mandi status`); end it with `mandi down`"
                ) from None
            yield

    def locked(self) -> bool:
        """Whether a stack runs in this folder."""
        if not (self.root / "lock").exists():
            return False
        try:
            with self.lock():
                return False
        except BusyError:
            return True

    def passwords(self, roles: Sequence[str]) -> dict[str, str]:
        """A random password per database role, made once and kept."""
        path = self.root / "roles.json"
        kept: dict[str, str] = _read(path) or {}
        missing = [role for role in roles if role not in kept]
        if missing:
            kept |= {role: secrets.token_urlsafe(24) for role in missing}
            _write(path, kept)
        return {role: kept[role] for role in roles}

    def credentials(self) -> Credentials | None:
        """The demo tenant's, None before the first seed."""
        kept = _read(self.root / "demo.json")
        return Credentials(**kept) if kept else None

    def keep_credentials(self, credentials: Credentials) -> None:
        _write(self.root / "demo.json", asdict(credentials))

    def state(self) -> dict[str, Any] | None:
        """What the running (or last) stack wrote about itself."""
        kept: dict[str, Any] | None = _read(self.root / "state.json")
        return kept

    def keep_state(self, state: Mapping[str, Any]) -> None:
        _write(self.root / "state.json", state)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write(path: Path, value: object) -> None:
    """Write JSON atomically, mode 0600."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(value, file)
    part.replace(path)
