"""What limiting costs: a request that does nothing, charged to tenant and credential, against the same one bare.

`run()` starts a Valkey of its own. Both requests go through FastAPI and one dependency in this process; the limited
one asks Valkey once more. The second figure is what the library `limits` needs for the same answer (two keys, a hit
and what is left of each), against our one script. Wall time, on two cores with a load of 15: a limited request took 7.0
and 7.2 times a bare one, mostly waiting for the processor between two processes; the library 3.9 and 3.2 times ours.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Request
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool

from app.infra.buckets import Bucket, Rate
from app.infra.rates import RateStore
from app.infra.redis import open_redis
from app.kernel.costs import CostClass
from app.kernel.ids import uuid7
from app.kernel.orders import Mode
from app.kernel.principal import Principal
from app.local.valkey import temporary_valkey
from app.web.limits import Limiter, usual_cost
from app.web.quotas import Allowance, ClassRates
from tests.bench.measure import Figure, figure

CALLS = 300
ROUNDS = 7
_RATE = Rate(1_000_000, 60)
_NOW = datetime(2026, 1, 31, tzinfo=UTC)


class _Unlimited:
    """Every tenant has more than the benchmark uses."""

    async def allowance(self, tenant_id: UUID, *, now: datetime) -> Allowance:
        return Allowance({name: ClassRates(_RATE, _RATE) for name in CostClass}, read_only=False)

    def count_call(self, tenant_id: UUID, weight: int, *, now: datetime, refuse: bool) -> None:
        return None


def _app(limiter: Limiter) -> FastAPI:
    """`/bare` and `/limited`: the same, but for the charge."""
    caller = Principal(uuid7(), uuid7(), Mode.TEST, frozenset())
    app = FastAPI()

    async def known(request: Request) -> Principal:
        return caller

    async def charged(request: Request) -> Principal:
        await limiter.charge(request, caller, usual_cost("GET"), now=_NOW)
        return caller

    @app.get("/bare")
    async def bare(principal: Annotated[Principal, Depends(known)]) -> None:
        return None

    @app.get("/limited")
    async def limited(principal: Annotated[Principal, Depends(charged)]) -> None:
        return None

    return app


async def _call(app: FastAPI, path: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "client": ("::1", 1)}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200

    await app(scope, receive, send)


async def measure(url: str) -> list[Figure]:
    """Microseconds: a limited request against a bare one, and the library's four calls against our one."""
    client = open_redis(url)
    store, key = RateStore(client, processes=1), f"rate:{uuid7()}"
    app = _app(Limiter(store, _Unlimited()))
    buckets = [Bucket("reads", f"{key}:t", _RATE), Bucket("reads-key", f"{key}:k", _RATE)]
    pool = BlockingConnectionPool.from_url(url, max_connections=16)
    options: dict[str, Any] = {"connection_pool": pool}
    library = MovingWindowRateLimiter(RedisStorage(f"async+{url}", implementation="redispy", **options))
    item = RateLimitItemPerMinute(_RATE.quota)

    async def ours() -> None:
        await store.take(buckets, 1)

    async def theirs() -> None:
        for name in ("tenant", "credential"):
            await library.hit(item, key, name)
            await library.get_window_stats(item, key, name)

    found = await _in_turn(lambda: _call(app, "/bare"), lambda: _call(app, "/limited"), ours, theirs)
    assert not store.away
    await client.aclose()
    await pool.aclose()
    return [
        figure("limited-no-op", found[1], found[0], "us"),
        figure("rates-by-the-library", found[3], found[2], "us"),
    ]


async def _in_turn(*works: Callable[[], Awaitable[None]]) -> list[float]:
    """Median microseconds of one call of each, all once and then all again."""
    rounds = [[await _timed(work) for work in works] for _ in range(ROUNDS)]
    return [statistics.median(one) for one in zip(*rounds, strict=True)]


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        await work()
    return (time.perf_counter() - began) / CALLS * 1e6


def run() -> list[Figure]:
    """The figures on a Valkey of its own."""
    with temporary_valkey() as server:
        return asyncio.run(measure(server.url))
