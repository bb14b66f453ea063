"""Decides how calls are counted against rates: buckets that refill evenly, exact in Redis, divided while it is away.

A bucket of `quota` calls refills evenly within `window_s`, one call each `interval_us` (the generic cell rate
algorithm, ITU-T I.371). All it stores is the instant at which it will be full again, so one number per bucket is read
and written, and every figure is a whole number of microseconds. Redis runs the arithmetic of `draw` as one script over
all buckets of a call, on its own clock: all of them are drawn from, or none (decision 0010). What a process is asked
while it waits for Redis goes there together, call by call, in the next round trip.

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
from app.infra.waiting import set_within

DEADLINE_S = 2.0
"""How long the calls that are with Redis when it falls silent wait for it; later ones do not wait at all."""

TOGETHER = 200
"""Calls in one round trip, at most: the script holds Redis for about 5 µs each. Others wait their turn outside the
deadline: a busy process must not take its own queue for a silent Redis, and let everything through when limits matter
most."""

PACE_S = 0.002
"""Between the starts of two round trips of a busy process: one costs it as much as the rest of a small request, so the
calls of two milliseconds share it. Whoever calls after a pause waits for nothing."""

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
# ARGV: the time in µs or 0 for the server's own, then of each call its weight, how many of KEYS it has, and quota and
# interval in µs of each. Says of each call its wait, then what remains of each key and when it is full.
SCRIPT = """
local now = tonumber(ARGV[1])
if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local at, key, said = 2, 0, {}
while at < #ARGV do
    local weight, many = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    local starts, ends, wait = {}, {}, 0
    for i = 1, many do
        local quota, interval = tonumber(ARGV[at + 2 * i]), tonumber(ARGV[at + 2 * i + 1])
        starts[i] = math.max(tonumber(redis.call('GET', KEYS[key + i]) or '0'), now)
        ends[i] = starts[i] + math.min(weight, quota) * interval
        if weight > 0 then
            wait = math.max(wait, ends[i] - now - quota * interval)
        end
    end
    said[#said + 1] = wait
    for i = 1, many do
        local quota, interval = tonumber(ARGV[at + 2 * i]), tonumber(ARGV[at + 2 * i + 1])
        local full = starts[i]
        if weight > 0 and wait == 0 then
            full = ends[i]
            redis.call('SET', KEYS[key + i], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
        end
        said[#said + 1] = math.max(0, math.floor((quota * interval - (full - now)) / interval))
        said[#said + 1] = full - now
    end
    at, key = at + 2 + 2 * many, key + many
end
return said
"""
_PROBE = Bucket("probe", "rate:probe", Rate(1_000, 1))


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that waits for its verdict: None when Redis gives none."""

    buckets: tuple[Bucket, ...]
    weight: int
    verdict: "asyncio.Future[Verdict | None]"


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
        self._waiting: list[_Call] = []
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = 0.0
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
            call = _Call(tuple(buckets), weight, asyncio.get_running_loop().create_future())
            self._waiting.append(call)
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask_for_all())
            found = await call.verdict
            if found is not None:
                return found
        verdict = self._take_locally(buckets, weight)
        if open_when_away and not verdict.admitted:
            return Verdict(True, 0, verdict.buckets, verdict.levels)
        return verdict

    async def _ask_for_all(self) -> None:
        """Round trips until nobody waits. A caller that went away has its call counted, as if it had stayed."""
        while self._waiting:
            if (pause := self._asked_at + PACE_S - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            self._asked_at = time.monotonic()
            calls, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            verdicts: Sequence[Verdict | None] = [None] * len(calls)
            if not self.away:
                try:
                    verdicts = await self._ask([(one.buckets, one.weight) for one in calls])
                except Exception as error:  # whatever it is, nobody may wait for ever
                    self._lost(error)
            for one, verdict in zip(calls, verdicts, strict=True):
                if not one.verdict.done():
                    one.verdict.set_result(verdict)
        self._asking = None

    async def _ask(self, calls: Sequence[tuple[tuple[Bucket, ...], int]]) -> list[Verdict]:
        keys, args = [], [0]
        for buckets, weight in calls:
            args += (weight, len(buckets))
            for one in buckets:
                keys.append(one.key)
                args += (one.rate.quota, one.rate.interval_us)
        async with asyncio.timeout(DEADLINE_S):
            said: list[int] = await self._script(keys=keys, args=args)
        verdicts, at = [], 0
        for buckets, _ in calls:
            end = at + 1 + 2 * len(buckets)
            levels = [Level(said[place], said[place + 1]) for place in range(at + 1, end, 2)]
            verdicts.append(Verdict(said[at] == 0, said[at], buckets, tuple(levels)))
            at = end
        return verdicts

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
            await self._ask([((_PROBE,), 1)])
        except (RedisError, TimeoutError, *REDIS_ERRORS):
            return
        self.away = False
        self._full_at.clear()
        log.info("rates.redis_back")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: probe every `PROBE_S` while Redis is away."""
        while not stop.is_set():
            await self.probe()
            await set_within(stop, PROBE_S)
