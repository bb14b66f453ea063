"""Decides how the embedded Valkey is started, adopted and stopped: loopback, a password, an append-only file."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.local import binaries
from app.local.ports import LOOPBACK, Say, StartError, keep_port, pick_port, silent
from app.local.process import Running, die_with_parent, tail

_START_S = 30.0


class ValkeyError(StartError):
    """The server could not be started; the message carries the log's last lines."""


class EmbeddedValkey:
    """One Valkey server whose files lie in `data_dir`; `port` as in `EmbeddedPostgres`.

    `durable=False` writes nothing to disk.
    """

    name = "valkey"

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
        self.log = self.data_dir / "valkey.log"
        self.port: int | None = None
        self._served: int | None = None  # the port that others were told
        self._preferred = port
        self._durable = durable
        self._ends_with_parent = ends_with_parent
        self._say = say
        self._running: Running | None = None

    @property
    def pid(self) -> int | None:
        """The server's pid, None when it does not run."""
        return self._running.pid if self._running is not None and self._running.alive() else None

    @property
    def url(self) -> str:
        """`redis://` with the password, database 0. Valid once started."""
        return f"redis://:{self._password()}@{LOOPBACK}:{self.port}/0"

    def start(self) -> str:
        """Start (or adopt) the server and return its URL once it answers. Idempotent. Raises `ValkeyError`."""
        if self.pid is not None:
            return self.url
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._adopt():
            self._served = self.port
            return self.url
        for _ in range(5):  # another process may take the port between the look and the bind
            self.port = (
                pick_port(self.port or self._preferred, "Valkey", self._say)
                if self._served is None
                else keep_port(self._served, "Valkey")
            )
            if self._launch():
                self._served = self.port
                return self.url
        raise ValkeyError(f"Valkey did not start; {self.log} ends with:\n{tail(self.log)}")

    def alive(self) -> bool:
        """Whether the server runs."""
        return self.pid is not None

    def stop(self, *, grace_s: float = 10.0) -> None:
        """SIGTERM (it flushes its file), then SIGKILL."""
        running = self._running or Running.load(self._pid_path)
        if running is not None and running.alive():
            running.stop(signal.SIGTERM, grace_s=grace_s)
        self._pid_path.unlink(missing_ok=True)
        self._running = None

    def destroy(self) -> None:
        """Stop it and delete its data."""
        self.stop(grace_s=2.0)
        shutil.rmtree(self.data_dir, ignore_errors=True)

    @property
    def _pid_path(self) -> Path:
        return self.data_dir / "valkey.pid"

    @property
    def _port_path(self) -> Path:
        return self.data_dir / "valkey.port"

    def _password(self) -> str:
        path = self.data_dir / "password"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
        return path.read_text()

    def _config(self) -> str:
        keep = "yes" if self._durable else "no"
        return (
            f"bind {LOOPBACK}\nport {self.port}\nprotected-mode yes\nrequirepass {self._password()}\n"
            f'dir "{self.data_dir}"\nsave ""\nappendonly {keep}\nappendfsync everysec\n'
            "maxmemory-policy noeviction\ndaemonize no\n"
        )

    def _launch(self) -> bool:
        config = self.data_dir / "valkey.conf"  # the password must not show in the list of processes
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self._config())
        with self.log.open("ab") as log:
            running = Running.of(
                subprocess.Popen(
                    [binaries.valkey_server(), config],
                    cwd=self.data_dir,
                    env={"PATH": "/usr/bin:/bin", "TZ": "UTC"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent(signal.SIGTERM) if self._ends_with_parent else None,  # noqa: PLW1509
                )
            )
        self._running = running
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and running.alive():
            if self._answers():
                running.save(self._pid_path)
                self._port_path.write_text(str(self.port))
                return True
            time.sleep(0.01)
        running.stop(grace_s=2.0)
        return False

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port or 0), timeout=2.0) as connection:
                connection.sendall(f"AUTH {self._password()}\r\nPING\r\n".encode())
                connection.settimeout(2.0)
                said = b""
                while said.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    said += part
                return said == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False

    def _adopt(self) -> bool:
        found = Running.load(self._pid_path)
        if found is None:
            return False
        self._running = found
        self.port = int(self._port_path.read_text()) if self._port_path.exists() else None
        if self.port is not None and self._answers():
            self._say(f"found Valkey running on port {self.port}: using it")
            return True
        self.stop()
        return False


@contextmanager
def temporary_valkey() -> Iterator[EmbeddedValkey]:
    """A started server in a temporary folder, for tests: gone at exit, and when the process that made it dies."""
    server = EmbeddedValkey(Path(tempfile.mkdtemp(prefix="mandi-valkey-")), durable=False, ends_with_parent=True)
    try:
        server.start()
        yield server
    finally:
        server.destroy()
