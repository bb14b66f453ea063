"""Decides how the local stack comes up: servers, roles, schema, demo tenant, processes; and what it says of itself."""

import asyncio
import importlib
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.local.environment import process_environment, read_dotenv, stack_settings
from app.local.home import PROJECT, Credentials, Home
from app.local.ports import LOOPBACK, Say, StartError, pick_port
from app.local.postgres import EmbeddedPostgres, cluster_dir
from app.local.process import Running, tail
from app.local.supervisor import MARK, CommandService, Service, Supervisor, end_marked
from app.local.valkey import EmbeddedValkey

POSTGRES_PORT, VALKEY_PORT, GATEWAY_PORT = 54329, 56379, 8000
PROCESSES = ("gateway", "worker", "daemon")
_READY_S = 60.0


Seed = Callable[[Credentials | None], Awaitable[Credentials]]


@dataclass(frozen=True, slots=True)
class Options:
    """`port` is the gateway's preferred one; `speed` in bars per second (0: as fast as lock-step allows)."""

    port: int = GATEWAY_PORT
    speed: float | None = None


class Stack:
    """The processes of one data folder. `bring_up`, then let `supervisor.watch`; `take_down` in any case.

    `seed` and `command` (process name, gateway's port → command line) are Mandi's own by default.
    """

    def __init__(
        self,
        home: Home,
        options: Options,
        say: Say,
        *,
        seed: Seed | None = None,
        command: Callable[[str, int], list[str]] | None = None,
    ) -> None:
        self.home, self.options, self._say = home, options, say
        self._seed, self._command = seed, command or process_command
        self.supervisor = Supervisor(self._noted)
        self.settings: dict[str, str] = {}
        self.credentials: Credentials | None = None
        self.url = ""
        self.phase = "starting"
        self.began = time.monotonic()
        self._base = {**read_dotenv(PROJECT / ".env"), **os.environ}

    def _noted(self, text: str) -> None:
        self._say(text)
        if self.phase == "running":
            self.keep_state()

    def bring_up(self) -> None:
        """Start everything and return once the API answers. Raises `StartError`, or `GaveUpError` of the supervisor."""
        end_leftovers(self.home, self._say)
        warm = threading.Thread(target=_import_the_application, daemon=True)
        warm.start()  # two seconds of imports while the servers start
        with self._compiling() as kernels:
            admin_url, redis_url = self._servers()
            self._database(admin_url, redis_url, warm)
            self._processes(kernels)
        self._wait_until_ready()
        self.phase = "running"
        self.keep_state()

    def take_down(self) -> None:
        """Stop every process in reverse order; the data stays."""
        self.phase = "stopping"
        self.supervisor.stop()
        self.phase = "stopped"
        self.keep_state()

    def keep_state(self) -> None:
        """Write what `mandi status` and the other commands read."""
        me = Running.find(os.getpid())
        self.home.keep_state(
            {
                "phase": self.phase,
                "supervisor": {"pid": os.getpid(), "started": me.started if me else ""},
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "url": self.url,
                "settings": self.settings,
                "services": [describe(service, restarts) for service, restarts in self.supervisor.services()],
            }
        )

    def _stage(self, text: str) -> None:
        """Say what comes next, unless the user pressed Ctrl-C meanwhile."""
        if self.supervisor.stopping:
            raise KeyboardInterrupt
        self._say(text)

    @contextmanager
    def _compiling(self) -> Iterator["subprocess.Popen[str]"]:
        command = [sys.executable, "-m", "app.local.kernels", str(self.home.data / "kernels")]
        environ = {**process_environment(self._base, {}), MARK: str(self.home.root)}
        with subprocess.Popen(
            command, cwd=PROJECT, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as compiler:
            try:
                yield compiler
            finally:
                compiler.kill()

    def _servers(self) -> tuple[str, str]:
        admin_url, redis_url = self._base.get("DATABASE_URL"), self._base.get("REDIS_URL")
        if admin_url:
            self._stage("using the PostgreSQL server of DATABASE_URL")
        else:
            self._stage("starting PostgreSQL")
            postgres = EmbeddedPostgres(self.home.postgres, port=self._preferred(POSTGRES_PORT), say=self._say)
            self.supervisor.start(postgres)
            admin_url = postgres.dsn
        if redis_url:
            self._stage("using the server of REDIS_URL")
        else:
            self._stage("starting Valkey")
            valkey = EmbeddedValkey(self.home.valkey, port=self._preferred(VALKEY_PORT), say=self._say)
            self.supervisor.start(valkey)
            redis_url = valkey.url
        return admin_url, redis_url

    def _preferred(self, port: int) -> int | None:
        """A second stack, beside one at the usual address, must not take a port while its server restarts."""
        return port if self.options.port == GATEWAY_PORT else None

    def _database(self, admin_url: str, redis_url: str, warm: threading.Thread) -> None:
        warm.join()
        import asyncpg

        from app.infra.migrate import migrate
        from app.infra.roles import LOGIN_ROLES, ensure_roles
        from app.local.demo import seed_demo

        seed = self._seed or seed_demo

        passwords = self.home.passwords(LOGIN_ROLES)
        try:
            asyncio.run(ensure_roles(admin_url, passwords))
        except (OSError, asyncpg.PostgresError) as error:
            raise StartError(
                f"cannot create the database roles: {error}. Is DATABASE_URL an administrator's?"
            ) from error
        self.settings = stack_settings(
            self.home, admin_url=admin_url, redis_url=redis_url, passwords=passwords, speed=self.options.speed
        )
        self._stage("bringing the database schema up to date")
        migrate(self.settings["MIGRATE_DATABASE_URL"])
        self._stage("seeding market data and the demo tenant")
        os.environ.update(self.settings)
        self.credentials = asyncio.run(_awaited(seed(self.home.credentials())))
        self.home.keep_credentials(self.credentials)

    def _processes(self, kernels: "subprocess.Popen[str]") -> None:
        port = pick_port(self.options.port, "the API", self._say)
        self.url = f"http://{LOOPBACK}:{port}"
        named = ("MANDI_PUBLIC_URL", "MANDI_ISSUER")  # mailed links begin with it; tokens say who made them
        public = {name: self._base.get(name, self.url) for name in named}
        environ = process_environment(self._base, public | self.settings)
        for name in PROCESSES:
            if name == "worker":  # the first that computes
                if kernels.poll() is None:
                    self._stage("compiling the engine's kernels (once)")
                folder = kernels.stdout.read().strip() if kernels.stdout is not None else ""
                environ |= {"NUMBA_CACHE_DIR": folder} if folder else {}
            self._stage(f"starting the {name}")
            command = self._command(name, port)
            self.supervisor.start(CommandService(name, command, environ=environ, home=self.home.root, cwd=PROJECT))

    def _wait_until_ready(self) -> None:
        self._stage("waiting for the API")
        deadline = time.monotonic() + _READY_S
        while not is_ready(self.url):
            if self.supervisor.watch(0.1):
                raise KeyboardInterrupt
            if time.monotonic() >= deadline:
                log = self.home.root / "logs" / "gateway.log"
                raise StartError(f"the API is not ready after {_READY_S:.0f} s; {log} ends with:\n{tail(log)}")


def process_command(name: str, port: int) -> list[str]:
    """The command line of one of `PROCESSES`."""
    if name == "gateway":
        server = ["-m", "uvicorn", "app.main:app", "--host", LOOPBACK, "--port", str(port)]
        return [sys.executable, *server, "--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "5"]
    return [sys.executable, "-m", "workers", name]


def describe(service: Service, restarts: int) -> dict[str, Any]:
    """One service as the state file holds it."""
    return {"name": service.name, "pid": service.pid, "log": str(service.log), "restarts": restarts}


def is_ready(url: str) -> bool:
    """Whether `GET /readyz` answers 200."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def end_leftovers(home: Home, say: Say) -> None:
    """End the processes that a killed supervisor left. Its PostgreSQL and Valkey are adopted instead."""
    ended = 0
    for name in reversed(PROCESSES):
        leftover = CommandService(name, [], environ={}, home=home.root, cwd=home.root)
        ended += leftover.end_leftover()
    ended += end_marked(home.root)
    if ended:
        say(f"ended {ended} processes that an earlier run left")


def end_servers(home: Home) -> None:
    """Stop a PostgreSQL or Valkey that outlived its supervisor."""
    EmbeddedPostgres(home.postgres).stop()
    EmbeddedValkey(home.valkey).stop()


def clear(home: Home, say: Say) -> None:
    """Delete everything in the data folder but its lock, which the caller holds."""
    end_leftovers(home, say)
    end_servers(home)
    shutil.rmtree(cluster_dir(home.postgres).parent, ignore_errors=True)
    for entry in home.root.iterdir():
        if entry.name == "lock":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    home.create()


def supervisor_of(state: Mapping[str, Any] | None) -> Running | None:
    """The live supervisor that wrote `state`."""
    if not state:
        return None
    found = Running(int(state["supervisor"]["pid"]), str(state["supervisor"]["started"]))
    return found if found.alive() else None


async def _awaited(credentials: Awaitable[Credentials]) -> Credentials:
    return await credentials


def _import_the_application() -> None:
    for name in ("app.infra.migrate", "app.bootstrap", "app.local.demo"):
        importlib.import_module(name)
