"""Decides how the embedded PostgreSQL is created, started, adopted and stopped.

Loopback TCP with SCRAM only: no unix socket, so no path length limit and no folder to leave behind.
"""

import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.local import binaries
from app.local.ports import LOOPBACK, Say, StartError, keep_port, pick_port, silent
from app.local.process import Running, command_of, die_with_parent, tail

_START_S = 60.0
_CRASH_RETRY_S = 20.0  # orphaned backends of a killed postmaster hold its shared memory for 2-4 s
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "max_wal_size": "1GB",
    "max_locks_per_transaction": "256",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %u@%d ",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_SHARED_MEMORY_HELD = ("pre-existing shared memory block", "another server might be running", "is in use by")


class PostgresError(StartError):
    """The server could not be created or started; the message carries the log's last lines and what to do."""


class EmbeddedPostgres:
    """One PostgreSQL server whose files lie in `data_dir`.

    `port` is the preferred one (the next free one is taken when it is busy, and `say` told); None takes any.
    `durable=False` is for tests: no fsync. `data_dir` keeps the superuser's password (0600), the log and, in
    `cluster`, the data; as root, where `nobody` cannot reach `data_dir`, the cluster lies in /var/lib/mandi.
    """

    name = "postgres"

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        ends_with_parent: bool = False,
        say: Say = silent,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log = self.data_dir / "postgres.log"
        self.port: int | None = None
        self._served: int | None = None  # the port that others were told
        self._preferred = port
        self._durable = durable
        self._ends_with_parent = ends_with_parent
        self._say = say
        self._running: Running | None = None

    @property
    def cluster(self) -> Path:
        """PGDATA."""
        return cluster_dir(self.data_dir)

    @property
    def pid(self) -> int | None:
        """The postmaster's pid, None when it does not run."""
        return self._running.pid if self._running is not None and self._running.alive() else None

    @property
    def dsn(self) -> str:
        """The superuser's URL, database `postgres`. Valid once started."""
        return f"postgresql://postgres:{self._password()}@{LOOPBACK}:{self.port}/postgres"

    def start(self) -> str:
        """Start (or adopt) the server and return the superuser's URL once it accepts connections. Idempotent.

        Raises `PostgresError` or `BinaryError`.
        """
        if self.pid is not None:
            return self.dsn
        self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self._adopt():
            self._served = self.port
            return self.dsn
        account = binaries.server_account(self.cluster)
        found = binaries.postgres_bin()
        bin_dir = found if account.uid is None else binaries.reachable(found)
        if not (self.cluster / "PG_VERSION").exists():
            self._create(bin_dir, account)
        self._check_version(bin_dir)
        self._launch(bin_dir, account)
        return self.dsn

    def alive(self) -> bool:
        """Whether the postmaster runs."""
        return self.pid is not None

    def stop(self, *, grace_s: float = 20.0) -> None:
        """End it: fast shutdown (sessions are cut, data is flushed), then immediate, then SIGKILL."""
        running = self._running or self._postmaster()
        if running is not None and running.alive():
            os.kill(running.pid, signal.SIGINT)
            if not running.wait(grace_s):
                running.stop(signal.SIGQUIT, grace_s=5.0)
        self._running = None

    def destroy(self) -> None:
        """Stop it and delete its data."""
        self.stop(grace_s=5.0)
        shutil.rmtree(self.cluster, ignore_errors=True)
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _password(self) -> str:
        path = self.data_dir / "superuser"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
        return path.read_text()

    def _environment(self) -> dict[str, str]:
        return {"LC_ALL": "C" if sys.platform == "darwin" else "C.UTF-8", "PATH": "/usr/bin:/bin", "TZ": "UTC"}

    def _create(self, bin_dir: Path, account: binaries.Account) -> None:
        # a half-made cluster is never seen: initdb works beside it and is renamed
        _require_named_user()
        outside = "" if self.cluster.parent == self.data_dir else f" in {self.cluster.parent}, where `nobody` may enter"
        self._say(f"creating the PostgreSQL cluster{outside}")
        self.cluster.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="cluster-", dir=self.cluster.parent))
        account.own(made)
        secret = made.with_suffix(".password")
        try:
            with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(self._password())
            account.own(secret)
            locale = self._environment()["LC_ALL"]
            done = subprocess.run(
                [
                    bin_dir / "initdb",
                    "-D",
                    made,
                    "-U",
                    "postgres",
                    "-E",
                    "UTF8",
                    f"--locale={locale}",
                    "-A",
                    "scram-sha-256",
                    f"--pwfile={secret}",
                    "--no-sync",
                ],
                cwd="/",
                env=self._environment(),
                capture_output=True,
                text=True,
                check=False,
                **account.popen(),
            )
            if done.returncode != 0:
                raise PostgresError(f"initdb failed in {made}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
            made.rename(self.cluster)
        finally:
            secret.unlink(missing_ok=True)
            shutil.rmtree(made, ignore_errors=True)

    def _check_version(self, bin_dir: Path) -> None:
        made_by = (self.cluster / "PG_VERSION").read_text().strip()
        told = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True, cwd="/")
        major = re.findall(r"\d+", told.stdout)[0]
        if major != made_by:
            raise PostgresError(
                f"{self.cluster} was made by PostgreSQL {made_by}, the binaries in {bin_dir} are {major}: set PG_BIN "
                f"to PostgreSQL {made_by}, or start again from an empty folder (--fresh)"
            )

    def _launch(self, bin_dir: Path, account: binaries.Account) -> None:
        deadline = time.monotonic() + _CRASH_RETRY_S
        while True:
            self.port = (
                pick_port(self.port or self._preferred, "PostgreSQL", self._say)
                if self._served is None
                else keep_port(self._served, "PostgreSQL")
            )
            settings = _SETTINGS | ({} if self._durable else _NOT_DURABLE) | {"port": str(self.port)}
            options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
            offset = self.log.stat().st_size if self.log.exists() else 0
            with self.log.open("ab") as log:
                self._running = Running.of(
                    subprocess.Popen(
                        [bin_dir / "postgres", "-D", self.cluster, *options],
                        cwd="/",
                        env=self._environment(),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        **account.popen(),
                        preexec_fn=die_with_parent(signal.SIGINT) if self._ends_with_parent else None,  # noqa: PLW1509
                    )
                )
            if self._wait_ready():
                self._served = self.port
                return
            with self.log.open("rb") as log:
                log.seek(offset)
                said = log.read().decode(errors="replace")
            held = any(text in said for text in _SHARED_MEMORY_HELD)
            lost_port = "could not bind" in said
            if not (held or lost_port) or time.monotonic() >= deadline:
                raise PostgresError(f"PostgreSQL did not start; {self.log} ends with:\n{tail(self.log)}")
            time.sleep(0.25 if held else 0)

    def _wait_ready(self) -> bool:
        assert self._running is not None
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if not self._running.alive():
                return False
            lines = self._pid_file()
            if len(lines) >= 8 and lines[0].strip() == str(self._running.pid) and lines[7].strip() == "ready":
                return True
            time.sleep(0.01)
        self._running.stop(signal.SIGQUIT, grace_s=5.0)
        return False

    def _pid_file(self) -> list[str]:
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _postmaster(self) -> Running | None:
        """The live postmaster of this cluster, whoever started it."""
        lines = self._pid_file()
        if not lines or not lines[0].strip().isdigit():
            return None
        found = Running.find(int(lines[0]))
        ours = found is not None and "postgres" in (said := command_of(found.pid)) and str(self.cluster) in said
        return found if ours else None

    def _adopt(self) -> bool:
        """Take over a postmaster that outlived its supervisor when it is ready; end it otherwise."""
        found = self._postmaster()
        if found is None:
            return False
        lines = self._pid_file()
        if len(lines) >= 8 and lines[7].strip() == "ready" and (self.data_dir / "superuser").exists():
            self.port = int(lines[3])
            self._running = found
            self._say(f"found PostgreSQL running on port {self.port}: using it")
            return True
        self._running = found
        self.stop()
        return False


def _require_named_user() -> None:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise PostgresError(
            f"user {os.geteuid()} has no entry in /etc/passwd, and PostgreSQL refuses to create a cluster for it: "
            "run as a user that has one, or set DATABASE_URL to a running server"
        ) from None


def cluster_dir(data_dir: Path, shelter: Path = binaries.ROOT_SHELTER) -> Path:
    """PGDATA for `data_dir`: inside it, or for root in a place that `nobody` can reach."""
    inside = data_dir / "cluster"
    outside = shelter / f"data-{hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]}" / "cluster"
    if os.geteuid() != 0 or inside.exists():
        return inside
    return outside if outside.exists() or not binaries.others_may(data_dir, 0o001) else inside


@contextmanager
def temporary_postgres(*, durable: bool = False) -> Iterator[EmbeddedPostgres]:
    """A started server in a temporary folder, for tests: gone at exit, and when the process that made it dies."""
    folder = Path(tempfile.mkdtemp(prefix="mandi-pg-"))
    folder.chmod(0o711)  # root's server runs as nobody
    server = EmbeddedPostgres(folder, durable=durable, ends_with_parent=True)
    try:
        server.start()
        yield server
    finally:
        server.destroy()
