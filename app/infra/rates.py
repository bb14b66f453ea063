"""Decides how calls are counted against rates: buckets that refill evenly, exact in Redis, divided while it is away.

A bucket of `quota` calls refills evenly within `window_s`, one call each `interval_us` (the generic cell rate
algorithm, ITU-T I.371). All it stores is the instant at which it will be full again, so one number per bucket is read
and written, and every figure is a whole number of microseconds. Redis runs the arithmetic of `draw` as one script over
all buckets of a call, on its own clock: all of them are drawn from, or none (decision 0010).

While Redis is away, each process keeps its own buckets of `quota // processes`. One failure is enough to stop asking:
a background probe, no request, finds out when Redis is back.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.infra.redis import REDIS_ERRORS

DEADLINE_S = 2.0
"""How long the calls that are with Redis when it falls silent wait for it; later ones do not wait at all."""

AT_ONCE = 8
"""Calls of one process that are with Redis at the same time. Others wait their turn outside the deadline: a busy
process must not take its own queue for a silent Redis, and let everything through when limits matter most."""

PROBE_S = 0.25
LOCAL_BUCKETS = 20_000
"""Buckets that one process keeps while Redis is away; beyond, those unused longest are forgotten."""

_SECOND_US = 1_000_000
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rate:
    """`quota` calls at once, and as many again in `window_s` seconds. ValueError above one a microsecond."""

    quota: int
    window_s: int

    def __post_init__(self) -> None:
        if not 0 < self.quota <= self.window_s * _SECOND_US:
            raise ValueError(f"{self.quota} calls in {self.window_s} s is no rate")

    @property
    def interval_us(self) -> int:
        """How long one call takes to come back."""
        return self.window_s * _SECOND_US // self.quota

    def share(self, processes: int) -> "Rate":
        """What one of so many processes may let through on its own: together never more, each at least one."""
        return Rate(max(1, self.quota // processes), self.window_s)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A rate, under the name that headers show, and the key of whoever it is for."""

    policy: str
    key: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Level:
    """What is left in a bucket, and how long until it is full again."""

    remaining: int
    full_in_us: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call passes, what each bucket holds after it, and when a refused one would pass."""

    admitted: bool
    wait_us: int
    buckets: tuple[Bucket, ...]
    levels: tuple[Level, ...]


def draw(full_at: Sequence[int], rates: Sequence[Rate], weight: int, *, now_us: int) -> tuple[int, list[int]]:
    """How long to wait, in µs (0: it passes), and when each bucket is full again after this call.

    `full_at`: when each would be full without it. A weight of 0 always passes; one above the quota takes all of it.
    """
    starts = [max(full, now_us) for full in full_at]
    if weight == 0:
        return 0, starts
    ends = [full + min(weight, rate.quota) * rate.interval_us for full, rate in zip(starts, rates, strict=True)]
    waits = [end - now_us - rate.quota * rate.interval_us for end, rate in zip(ends, rates, strict=True)]
    wait = max(0, *waits)
    return wait, starts if wait else ends


def level(full_at: int, rate: Rate, *, now_us: int) -> Level:
    """What a bucket holds now."""
    missing = max(0, full_at - now_us)
    return Level(max(0, (rate.quota * rate.interval_us - missing) // rate.interval_us), missing)


# `draw` once more, where all processes meet. Numbers stay below 2^53; '%.0f', because Lua prints them in 14 digits.
# ARGV: the time in µs or 0 for the server's own, the weight, then quota and interval in µs of each key.
SCRIPT = """
local now = tonumber(ARGV[1])
if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local weight = tonumber(ARGV[2])
local starts, ends, wait = {}, {}, 0
for i, key in ipairs(KEYS) do
    local quota, interval = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    starts[i] = math.max(tonumber(redis.call('GET', key) or '0'), now)
    ends[i] = starts[i] + math.min(weight, quota) * interval
    if weight > 0 then
        wait = math.max(wait, ends[i] - now - quota * interval)
    end
end
local said = {wait}
for i, key in ipairs(KEYS) do
    local quota, interval = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    local full = starts[i]
    if weight > 0 and wait == 0 then
        full = ends[i]
        redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
    end
    said[2 * i] = math.max(0, math.floor((quota * interval - (full - now)) / interval))
    said[2 * i + 1] = full - now
end
return said
"""
_PROBE = Bucket("probe", "rate:probe", Rate(1_000, 1))


class RateStore:
    """Counts calls. `processes`: how many gateways share the work, for the time when they cannot ask each other."""

    def __init__(
        self,
        redis: Redis,
        *,
        processes: int,
        local_buckets: int = LOCAL_BUCKETS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._script = redis.register_script(SCRIPT)
        self._processes = processes
        self._most = local_buckets
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._monotonic = monotonic
        self._full_at: dict[str, int] = {}
        self.away = False

    @property
    def kept(self) -> int:
        """How many local buckets there are now."""
        return len(self._full_at)

    async def take(self, buckets: Sequence[Bucket], weight: int, *, open_when_away: bool = False) -> Verdict:
        """Draw `weight` from every bucket, or from none. Never raises, and asks Redis once at most.

        `open_when_away`: while Redis is away the local buckets are shown but refuse nobody.
        """
        if not self.away:
            async with self._turns:
                try:
                    if not self.away:
                        return await self._ask(buckets, weight)
                except (RedisError, TimeoutError, *REDIS_ERRORS) as error:
                    self._lost(error)
        verdict = self._take_locally(buckets, weight)
        if open_when_away and not verdict.admitted:
            return Verdict(True, 0, verdict.buckets, verdict.levels)
        return verdict

    async def _ask(self, buckets: Sequence[Bucket], weight: int) -> Verdict:
        figures = [figure for one in buckets for figure in (one.rate.quota, one.rate.interval_us)]
        async with asyncio.timeout(DEADLINE_S):
            said: list[int] = await self._script(keys=[one.key for one in buckets], args=[0, weight, *figures])
        levels = [Level(said[at], said[at + 1]) for at in range(1, len(said), 2)]
        return Verdict(said[0] == 0, said[0], tuple(buckets), tuple(levels))

    def _take_locally(self, buckets: Sequence[Bucket], weight: int) -> Verdict:
        now_us = int(self._monotonic() * _SECOND_US)
        shares = [one.rate.share(self._processes) for one in buckets]
        known = [self._full_at.pop(one.key, 0) for one in buckets]
        wait, full_at = draw(known, shares, weight, now_us=now_us)
        for one, full in zip(buckets, full_at, strict=True):
            self._full_at[one.key] = full  # last in order: used latest
        while len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]
        levels = [level(full, rate, now_us=now_us) for full, rate in zip(full_at, shares, strict=True)]
        return Verdict(wait == 0, wait, tuple(buckets), tuple(levels))

    def _lost(self, error: BaseException) -> None:
        if not self.away:
            self.away = True
            log.warning("rates.redis_away", error=type(error).__name__, processes=self._processes)

    async def probe(self) -> None:
        """Ask Redis to count one call, when it was away; if it does, it is back, and local buckets are forgotten."""
        if not self.away:
            return
        try:
            await self._ask([_PROBE], 1)
        except (RedisError, TimeoutError, *REDIS_ERRORS):
            return
        self.away = False
        self._full_at.clear()
        log.info("rates.redis_back")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: probe every `PROBE_S` while Redis is away."""
        while not stop.is_set():
            await self.probe()
            try:
                async with asyncio.timeout(PROBE_S):
                    await stop.wait()
            except TimeoutError:
                pass
