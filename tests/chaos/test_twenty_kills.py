"""Twenty times kill -9 under load: worker, daemon, gateway and PostgreSQL, five times each, while callers trade.

A caller has fixed client order ids and repeats each order until he is answered, as he must with any server.
"""

import asyncio
import json
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from random import Random
from typing import Any
from urllib.error import HTTPError

import asyncpg
import pytest

from app.kernel.ids import decode_id, encode_id
from app.local.figures import broken_invariants
from app.market.instruments.service import load_instruments
from tests.factories.stack import RunningStack, running_stack, stack_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]
KILLED = ("worker", "daemon", "gateway", "postgres")
TIMES = 5
ROUND_SECONDS = 18.0
"""Each is killed once in so long: a stack gives up when one of its processes ends for the sixth time in a minute."""

CALLERS = 3
SPEED = 10
QUIET_SECONDS = 60.0
_TRY_AGAIN = (408, 409, 429, 500, 502, 503, 504)
_ORDERS = """
    select o.client_order_id, o.status, o.quantity, o.filled_quantity, o.order_type,
           (select count(*) from orders t where t.client_order_id = o.client_order_id) as times,
           (select coalesce(sum(f.quantity), 0)::bigint from fills f where f.order_id = o.id) as fills,
           (select count(*) from fills f where f.order_id = o.id) as executions,
           (select count(*) from paper_orders p where p.id = o.id) as resting,
           (select count(*) from paper_ended e where e.id = o.id) as ended,
           (select coalesce(sum(h.remaining), 0)::bigint from ledger_holds h where h.id = o.id and h.state = 'pending')
               as held
    from orders o where o.client_order_id like 'kill-%'
"""
_WORK = "select kind, state, last_error from work_items where queue = 'execution' and state = any($1)"
_POSITIONS = """
    select p.quantity, f.net from positions p full join (
        select o.account_id, coalesce(o.deployment_id, o.account_id) as book_id, o.instrument_id, o.product,
               sum(case f.side when 'buy' then f.quantity else -f.quantity end) as net
        from fills f join orders o on o.id = f.order_id where o.account_id = $1 group by 1, 2, 3, 4) f
        using (account_id, book_id, instrument_id, product)
    where account_id = $1 and p.quantity is distinct from f.net
"""


@dataclass
class Caller:
    """Places orders one after another until told to stop; repeats what was not answered."""

    stack: RunningStack
    name: str
    body: dict[str, Any]
    stop: threading.Event
    accepted: list[str] = field(default_factory=list)
    repeated: int = 0
    failed: list[str] = field(default_factory=list)

    def run(self) -> None:
        for number in count():
            if self.stop.is_set():
                return
            self._place(f"kill-{self.name}-{number}")
            time.sleep(0.05)

    def _place(self, client_order_id: str) -> None:
        """The order is his until he is answered, also after he was told to stop."""
        for _ in range(600):
            try:
                shown = json.loads(self.stack.call("/v1/orders", self.body | {"client_order_id": client_order_id}))
            except HTTPError as error:
                if error.code not in _TRY_AGAIN:
                    self.failed.append(f"{client_order_id}: {error.code} {error.read().decode()}")
                    return
            except (OSError, HTTPException, KeyError, ValueError):
                pass
            else:
                if shown["status"] != "denied":
                    self.accepted.append(client_order_id)
                return
            self.repeated += 1
            time.sleep(0.2)
        self.failed.append(f"{client_order_id}: never answered")


def _account(stack: RunningStack) -> str:
    asked = {"name": "killed", "currency": "USD", "opening_balance": "100000000.00"}
    return str(json.loads(stack.call("/v1/accounts", asked))["id"])


def _kill_all(stack: RunningStack, random: Random) -> None:
    """Each once in a round, in any order, at any moment; the next one as soon as it runs again."""
    over = 0.0
    for _ in range(TIMES):
        time.sleep(max(over - time.monotonic(), 0.0))
        over = time.monotonic() + ROUND_SECONDS
        for name in random.sample(KILLED, len(KILLED)):
            time.sleep(random.uniform(0.1, 2.0))
            _kill(stack, name)


def _kill(stack: RunningStack, name: str) -> None:
    killed = _running(stack, name)
    with suppress(ProcessLookupError):
        os.kill(killed, signal.SIGKILL)
    _running(stack, name, other_than=killed)


def _running(stack: RunningStack, name: str, *, other_than: int | None = None) -> int:
    """The pid of the process, as soon as it has one: it may be about to be started again."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        assert stack.process.poll() is None, f"the stack gave up:\n{(stack.home.root / 'up.log').read_text()[-3000:]}"
        found = [service["pid"] for service in stack.state().get("services", []) if service["name"] == name]
        if found and found[0] not in (None, other_than):
            return int(found[0])
        time.sleep(0.05)
    raise AssertionError(f"{name} did not come back")


async def _read(stack: RunningStack, *asked: tuple[str, tuple[object, ...]]) -> list[list[asyncpg.Record]]:
    credentials = stack.home.credentials()
    assert credentials is not None
    connection = await asyncpg.connect(stack.state()["settings"]["APP_DATABASE_URL"])
    try:
        async with connection.transaction(readonly=True, isolation="repeatable_read"):
            await connection.execute("select set_config('app.tenant_id', $1, true)", credentials.tenant_id)
            return [await connection.fetch(sql, *arguments) for sql, arguments in asked]
    finally:
        await connection.close()


def _settled(stack: RunningStack) -> list[asyncpg.Record]:
    """The callers' orders, once each has ended or rests."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        (orders,) = asyncio.run(_read(stack, (_ORDERS, ())))
        moving = [row for row in orders if row["status"] not in ("filled", "denied", "expired", "cancelled")]
        if not moving:
            return orders
        assert time.monotonic() < deadline, f"{len(moving)} never ended: {moving[:3]}"
        time.sleep(0.2)


def test_twenty_kills_under_load_lose_no_order_and_double_none() -> None:
    with stack_folder() as root, running_stack(root, speed=SPEED, port=18_900) as stack:
        account = _account(stack)
        body = {
            "account_id": account,
            "instrument_id": encode_id("ins", load_instruments()["AAPL", "XNAS"]["id"]),
            "side": "buy",
            "order_type": "market",
            "quantity": "1",
        }
        stop = threading.Event()
        callers = [Caller(stack, str(number), body, stop) for number in range(CALLERS)]
        threads = [threading.Thread(target=caller.run) for caller in callers]
        for thread in threads:
            thread.start()
        try:
            _kill_all(stack, Random())
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert [failure for caller in callers for failure in caller.failed] == []
        orders = _settled(stack)
        assert Counter(row["client_order_id"] for row in orders if row["status"] != "denied") == Counter(
            name for caller in callers for name in caller.accepted
        )
        for row in orders:
            assert row["times"] == 1 and row["held"] == 0 and row["resting"] == 0, row
            assert (row["fills"], row["executions"]) in ((row["quantity"], 1), (0, 0)), row
            assert (row["status"] == "filled") == (row["fills"] == row["filled_quantity"] == row["quantity"]), row
            assert row["status"] != "cancelled", row
        work, drift = asyncio.run(_read(stack, (_WORK, (["dead"],)), (_POSITIONS, (decode_id("acc", account),))))
        assert work == []
        assert drift == []
        assert not broken_invariants(stack.summary())
        restarts = {service["name"]: service["restarts"] for service in stack.state()["services"]}
    assert all(restarts[name] >= TIMES for name in KILLED)
    assert sum(caller.repeated for caller in callers) > 0
    assert sum(row["status"] == "filled" for row in orders) > 20
