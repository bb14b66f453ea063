"""A whole local stack in a folder of its own, as `mandi up` runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import UUID

from app.local.figures import Summary
from app.local.home import Home
from app.local.stack import clear
from app.local.summary import SummaryReader

_READY_S = 120.0


@dataclass
class RunningStack:
    """`reader` sees the demo tenant's figures; `pid` names a process of the stack to be killed."""

    home: Home
    process: "subprocess.Popen[bytes]"
    reader: SummaryReader

    def state(self) -> dict[str, Any]:
        return dict(self.home.state() or {})

    def pid(self, service: str) -> int:
        """The present pid of `gateway`, `worker`, `daemon`, `postgres` or `valkey`."""
        found = [s["pid"] for s in self.state()["services"] if s["name"] == service]
        return int(found[0])

    def kill(self, service: str) -> None:
        os.kill(self.pid(service), signal.SIGKILL)

    def summary(self) -> Summary:
        """The latest figures; waits while the database is away."""
        for _ in range(600):
            found = self.reader.read()
            if found is not None:
                return found
            time.sleep(0.1)
        raise TimeoutError("the database did not come back within a minute")

    def wait_for(self, at: datetime, *, seconds: float = 120.0) -> None:
        """Until the market clock has passed `at`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            market_at = self.summary().market_at
            if market_at is not None and market_at >= at:
                return
            if self.process.poll() is not None:
                raise RuntimeError(f"the stack ended with {self.process.returncode}")
            time.sleep(0.05)
        raise TimeoutError(f"the market clock stands at {self.summary().market_at}, before {at}")

    def call(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """What the API answers to the demo tenant: to a POST of `body`, if there is one."""
        credentials = self.home.credentials()
        assert credentials is not None
        request = Request(
            f"{self.state()['url']}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {credentials.api_key}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as answer:
            found: bytes = answer.read()
        return found

    def until(self, path: str, reached: Callable[[dict[str, Any]], bool], *, seconds: float = 180.0) -> dict[str, Any]:
        """The job at `path` as soon as it is so; fails when it ends otherwise."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            shown: dict[str, Any] = json.loads(self.call(path))
            if reached(shown):
                return shown
            assert shown["status"] in ("queued", "running"), shown
            time.sleep(0.05)
        raise TimeoutError(f"the job is still {shown}")


@contextmanager
def stack_folder() -> Iterator[Path]:
    """A data folder that a server dropped to an unprivileged user can reach."""
    root = Path(tempfile.mkdtemp(prefix="mandi-stack-"))
    root.chmod(0o711)
    yield root
    clear(Home(root), lambda text: None)
    shutil.rmtree(root, ignore_errors=True)


@contextmanager
def running_stack(root: Path, *, speed: float, port: int, **settings: str) -> Iterator[RunningStack]:
    """A stack in `root`, ended with it. `speed` 0 replays as fast as lock-step allows."""
    environ = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")} | {
        "MANDI_HOME": str(root),
        **settings,
    }
    with (root / "up.log").open("wb") as log:
        command = [sys.executable, "-m", "app.cli", "up", "--speed", str(speed), "--port", str(port)]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        home = Home(root)
        try:
            state = _until_running(home, process, root / "up.log")
            credentials = home.credentials()
            assert credentials is not None
            reader = SummaryReader(state["settings"]["APP_DATABASE_URL"], UUID(credentials.tenant_id))
            try:
                yield RunningStack(home, process, reader)
            finally:
                reader.close()
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until_running(home: Home, process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        state = home.state()
        if state and state["phase"] == "running":
            return dict(state)
        time.sleep(0.1)
    raise RuntimeError(f"the stack did not come up:\n{log.read_text()[-3000:]}")


def fills_until(stack: RunningStack, at: datetime) -> list[dict[str, Any]]:
    """Every fill of the demo tenant up to a market time, without ids and wall-clock times."""
    import asyncio

    import asyncpg

    async def read() -> str:
        credentials = stack.home.credentials()
        assert credentials is not None
        connection = await asyncpg.connect(stack.state()["settings"]["APP_DATABASE_URL"])
        async with connection.transaction():
            await connection.execute("select set_config('app.tenant_id', $1, true)", credentials.tenant_id)
            found: str = await connection.fetchval(
                """
                select coalesce(jsonb_agg(to_jsonb(f) order by occurred_at, account_id, instrument_id, side), '[]')
                from (select account_id, instrument_id, side, quantity, price, notional_minor, charges_minor,
                             realised_minor, occurred_at from fills where occurred_at <= $1) f
                """,
                at,
            )
        await connection.close()
        return found

    return list(json.loads(asyncio.run(read())))
