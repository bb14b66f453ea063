"""The whole stack runs with a canary in every place where a secret enters; none of them is seen anywhere after."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID

import asyncpg
import pytest
from redis.asyncio import Redis

from app.bootstrap import bootstrap
from app.infra.crypto.local import FILE
from app.infra.roles import LOGIN_ROLES
from app.infra.settings import Settings
from app.kernel.ids import encode_id
from app.local.home import Home
from app.local.postgres import EmbeddedPostgres
from app.local.stack import clear
from tests.factories.canaries import collector, new_canary, sightings
from tests.factories.stack import RunningStack, running_stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
_DUMP = "select string_agg(row_to_json(t)::text, e'\\n') from public.{} t"
_TABLES = """
select relname from pg_class
where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1
"""


@dataclass
class Secrets:
    """What the stack is given: by name, as bytes. API keys are added as they are made."""

    passwords: dict[str, str] = field(default_factory=lambda: {role: new_canary(role) for role in LOGIN_ROLES})
    kite: str = field(default_factory=lambda: new_canary("kite"))
    aws: str = field(default_factory=lambda: new_canary("aws"))
    kek: bytes = field(default_factory=lambda: os.urandom(32))
    sealed: str = field(default_factory=lambda: new_canary("sealed"))
    basic: str = field(default_factory=lambda: new_canary("basic"))
    api_keys: dict[str, str] = field(default_factory=dict)
    webhook: str = ""

    def all(self) -> dict[str, bytes]:
        texts = self.passwords | {"kite": self.kite, "aws": self.aws, "sealed": self.sealed}
        texts |= {"basic": self.basic, "webhook": self.webhook}
        # of an API key the last part is secret: most of it counts as all of it, since a test cuts its end off
        texts |= {name: key.rpartition("_")[2][:40] for name, key in self.api_keys.items()}
        return {name: text.encode() for name, text in texts.items()} | {"kek": self.kek}


@dataclass
class Caller:
    """Calls the API and keeps every answer but those that show a new secret."""

    url: str
    answers: list[bytes] = field(default_factory=list)

    def __call__(self, method: str, path: str, authorization: str, body: Any = None, *, shows: bool = False) -> Any:
        request = Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": authorization, "Content-Type": "application/json"},
        )
        try:
            with urlopen(request, timeout=30) as answer:
                content, headers = answer.read(), str(answer.headers)
        except HTTPError as error:
            content, headers = error.read(), str(error.headers)
        if not shows:
            self.answers += [content, headers.encode()]
        return json.loads(content)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that a server dropped to an unprivileged user can reach."""
    root = Path(tempfile.mkdtemp(prefix="mandi-canary-"))
    root.chmod(0o711)
    yield root
    clear(Home(root), lambda text: None)
    shutil.rmtree(root, ignore_errors=True)


def _prepare(root: Path, given: Secrets) -> None:
    home = Home(root)
    home.create()
    ring = {"current": "local:canary", "keys": {"local:canary": b64encode(given.kek).decode()}}
    for path, content in ((root / "roles.json", given.passwords), (home.data / FILE, ring)):
        path.write_text(json.dumps(content))
        path.chmod(0o600)


def _trade(call: Caller, given: Secrets, demo: str) -> None:
    """A key is made, used, refused, misplaced and revoked; an order is placed, refused and cancelled."""
    bearer = f"Bearer {demo}"
    scopes = ["orders:read", "orders:write", "accounts:read", "instruments:read"]
    made = call("POST", "/v1/api_keys", bearer, {"name": "canary", "scopes": scopes}, shows=True)
    given.api_keys["made"] = key = made["secret"]
    mine = f"Bearer {key}"
    account = call("GET", "/v1/accounts", mine)["data"][0]["id"]
    instrument = call("GET", "/v1/instruments?symbol=AAPL", mine)["data"][0]["id"]
    order = {"account_id": account, "instrument_id": instrument, "side": "buy", "order_type": "limit"}
    placed = call("POST", "/v1/orders", mine, order | {"quantity": "1", "limit_price": "0.50"})
    call("POST", f"/v1/orders/{placed['id']}/cancel", mine)
    call("POST", "/v1/orders", mine, order | {"quantity": "-1", "limit_price": "x"})
    call("GET", "/v1/api_keys", mine)
    call("GET", "/v1/orders", f"Basic {b64encode(given.basic.encode()).decode()}")
    for wrong in (f"{key}x", key[:-1], key.upper(), f"{key[:-1]}{'0' if key[-1] != '0' else '1'}"):
        call("GET", "/v1/orders", f"Bearer {wrong}")
    call("GET", f"/v1/orders?api_key={key}", mine)
    call("GET", f"/v1/orders/{key}", mine)
    call("POST", "/v1/orders", mine, order | {"quantity": key, "limit_price": {"secret": key}, key: key})
    call("DELETE", f"/v1/api_keys/{made['id']}", bearer)
    hook = {"url": "https://127.0.0.1:9/hook", "event_types": ["order.*"]}
    endpoint = call("POST", "/v1/webhook_endpoints", bearer, hook, shows=True)
    given.webhook = endpoint["secret"].removeprefix("whsec_")
    call("POST", f"/v1/webhook_endpoints/{endpoint['id']}/rotate_secret", bearer, shows=True)
    call("POST", f"/v1/webhook_endpoints/{endpoint['id']}/test", bearer)
    call("GET", f"/v1/webhook_endpoints/{endpoint['id']}/deliveries", bearer)
    call("GET", "/v1/orders", mine)


async def _seal(settings: dict[str, str], tenant_id: UUID, given: Secrets) -> None:
    names = ("APP_DATABASE_URL", "DISPATCH_DATABASE_URL", "REFERENCE_DATABASE_URL", "REDIS_URL")
    base = {name: settings[name] for name in (*names, "MANDI_DATA_DIR", "MANDI_ENVIRONMENT")}
    async with bootstrap(Settings.model_validate(base)) as app:
        sealed = await app.sealer.seal(tenant_id, "canaries", "secret", tenant_id, given.sealed.encode())
        platform = await app.sealer.platform.seal(given.sealed.encode(), context=b"canary")
        async with app.database.tx(tenant_id) as tx:  # where a slice would keep it
            tx.emit("canary.sealed", tenant_id, {"sealed": b64encode(sealed + platform).decode()})


def _rotate(*arguments: str) -> bytes:
    command = [sys.executable, "-m", "app.cli", "secrets", *arguments]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    return done.stdout + done.stderr


async def _rows(root: Path) -> dict[str, bytes]:
    """Every row of every table, as a dump shows them, and the roles' stored passwords."""
    url = EmbeddedPostgres(Home(root).postgres).start().rpartition("/")[0]  # adopts the running server
    admin = await asyncpg.connect(f"{url}/mandi")
    found = {
        f"table {row['relname']}": (await admin.fetchval(_DUMP.format(row["relname"])) or "").encode()
        for row in await admin.fetch(_TABLES)
    }
    found["pg_authid"] = str(await admin.fetch("select rolname, rolpassword from pg_authid")).encode()
    found["statements"] = str(await admin.fetch("select query from pg_stat_activity")).encode()
    await admin.close()
    return found


async def _redis(url: str) -> dict[str, bytes]:
    """Every key with its serialised value."""
    client = Redis.from_url(url)
    found = {f"redis {key!r}": key + (await client.dump(key) or b"") async for key in client.scan_iter()}
    await client.aclose()
    return found


def _files(root: Path) -> dict[str, bytes]:
    """Every log, and what `mandi up` printed."""
    logs = [*root.rglob("*.log")]
    return {f"log {path.name}": path.read_bytes() for path in logs}


def _command_lines(stack: RunningStack) -> bytes:
    pids = [service["pid"] for service in stack.state()["services"]]
    return b"\n".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)


def _fail(call: Caller, stack: RunningStack, authorization: str) -> None:
    """Requests while the database is away; until it is back."""
    stack.kill("postgres")
    call("GET", "/v1/orders", authorization)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if "data" in call("GET", "/v1/orders", authorization):
            return
        time.sleep(0.2)
    raise TimeoutError("the API did not recover")


def test_no_canary_is_seen_in_logs_traces_metrics_rows_messages_or_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Secrets()
    _prepare(folder, given)
    with collector() as (otlp, spans):
        for name, value in {
            "MANDI_HOME": str(folder),
            "LOG_LEVEL": "DEBUG",
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "KITE_API_SECRET": given.kite,
            "AWS_SECRET_ACCESS_KEY": given.aws,
        }.items():
            monkeypatch.setenv(name, value)
        with running_stack(folder, speed=20, port=18_640) as stack:
            credentials = stack.home.credentials()
            assert credentials is not None
            given.api_keys["demo"] = credentials.api_key
            settings = stack.state()["settings"]
            call = Caller(stack.state()["url"])
            asyncio.run(_seal(settings, UUID(credentials.tenant_id), given))
            _trade(call, given, credentials.api_key)
            tenant = encode_id("ten", UUID(credentials.tenant_id))
            said = _rotate("rotate-kek") + _rotate("rotate-tenant", tenant) + _rotate("rotate-tenant", "platform")
            _fail(call, stack, f"Bearer {credentials.api_key}")
            with urlopen(f"{call.url}/metrics", timeout=30) as metrics:
                places = {"metrics": metrics.read()}
            places |= {"commands": said, "command lines": _command_lines(stack)}
            places |= asyncio.run(_rows(folder))
            places |= asyncio.run(_redis(settings["REDIS_URL"]))
        places |= _files(folder) | {"answers": b"\n".join(call.answers), "spans": b"\n".join(spans)}
    assert sightings(given.all(), places) == []
    # what the search looked through was really there
    made = given.api_keys["made"].split("_")[3].encode()
    assert {name for name in places if made in places[name]} >= {"answers", "table api_keys"}
    assert b"/v1/orders" in places["spans"] and b"/v1/orders" in places["log gateway.log"]
    assert b"request.unavailable" in places["log gateway.log"]
    assert b"no_connection" in places["table webhook_deliveries"]
    assert b"local:" in places["table tenant_keys"] and b"order.accepted" in places["table events"]
    assert len(given.all()) == len(LOGIN_ROLES) + 8
