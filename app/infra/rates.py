"""Decides how a process asks Redis about rates, and what it lets through while Redis is away.

Redis runs the arithmetic of `buckets` over all buckets of a call: all of them are drawn from, or none (decision 0010).
What a process is asked while it waits for Redis goes there together, call by call, in the next round trip. A caller who
comes again and again has some of his next calls drawn ahead, which his process then lets through by itself.

While Redis is away, each process keeps its own buckets of `quota // processes`. One failure is enough to stop asking:
a background probe, no request, finds out when Redis is back.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.infra.buckets import SCRIPT, SECOND_US, Bucket, Level, Rate, Verdict, draw, level
from app.infra.redis import REDIS_ERRORS
from app.infra.waiting import set_within

DEADLINE_S = 2.0
"""How long the calls that are with Redis when it falls silent wait for it; later ones do not wait at all."""

TOGETHER = 200
"""Calls in one round trip, at most: the script holds Redis for about 5 µs each. Others wait their turn outside the
deadline: a busy process must not take its own queue for a silent Redis, and let everything through when limits matter
most."""

AHEAD_S = 0.05
"""How long calls that were drawn ahead may be let through; what is left of them goes back to its buckets then."""

BUSY = 4
"""Whoever called less often in that time has nothing drawn ahead: giving it back would cost more than it saves."""

MOST_AHEAD = 64
KEPT_S = 1.0
"""How long a caller's last calls are remembered."""

TICK_S = 0.05
PROBE_S = 0.25
LOCAL_BUCKETS = 20_000
"""Buckets that one process keeps while Redis is away; beyond, those unused longest are forgotten."""

log = structlog.get_logger(__name__)


_PROBE = Bucket("probe", "rate:probe", Rate(1_000, 1))


@dataclass(slots=True)
class _Call:
    """A call with Redis. Its verdict is None when Redis gives none; nobody waits for one when calls are given back."""

    buckets: tuple[Bucket, ...]
    weight: int
    ahead: int
    verdict: "asyncio.Future[_Answer | None] | None"


class _Answer(NamedTuple):
    verdict: Verdict
    ahead: int


@dataclass(slots=True)
class _Caller:
    """Whoever draws from the same buckets: how much `since` calls were last drawn ahead for him, and what is `left`."""

    buckets: tuple[Bucket, ...]
    since: float
    drawn: int = 0
    waiting: int = 0
    asked_ahead: bool = False
    left: int = 0
    until: float = 0.0
    levels: tuple[Level, ...] = ()

    def wanted(self, now: float) -> int:
        """How many calls to draw ahead when asking now: twice as many as came since the last time, if he is busy."""
        if self.asked_ahead:
            return 0
        if now - self.since >= 2 * AHEAD_S:
            self.since, self.drawn = now, 0
        if self.drawn < BUSY:
            return 0
        wanted, self.since, self.drawn, self.asked_ahead = min(MOST_AHEAD, 2 * self.drawn), now, 0, True
        return wanted

    def let_through(self, weight: int, now: float) -> Verdict:
        """The verdict of a call that was drawn ahead."""
        self.left -= weight
        self.drawn += weight
        return self.admitted(now)

    def admitted(self, now: float) -> Verdict:
        """That a call passes: its buckets as Redis had them, and what is not used yet."""
        passed_us = int((now - self.until + AHEAD_S) * SECOND_US)
        levels = [
            Level(one.remaining + self.left, max(0, one.full_in_us - passed_us - self.left * bucket.rate.interval_us))
            for one, bucket in zip(self.levels, self.buckets, strict=True)
        ]
        return Verdict(True, 0, self.buckets, tuple(levels))


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
        self._callers: dict[str, _Caller] = {}
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
            found = await self._take(tuple(buckets), weight)
            if found is not None:
                return found
        verdict = self._take_locally(buckets, weight)
        if open_when_away and not verdict.admitted:
            return Verdict(True, 0, verdict.buckets, verdict.levels)
        return verdict

    async def _take(self, buckets: tuple[Bucket, ...], weight: int) -> Verdict | None:
        now = self._monotonic()
        caller = self._caller(buckets, now)
        if 0 < weight <= caller.left and now < caller.until:
            return caller.let_through(weight, now)
        self._give_back(caller)
        ahead = caller.wanted(now) if weight else 0
        verdict: asyncio.Future[_Answer | None] = asyncio.get_running_loop().create_future()
        self._send(_Call(buckets, weight, ahead, verdict))
        caller.drawn += weight
        caller.waiting += 1
        try:
            answer = await verdict
        finally:
            caller.waiting -= 1
            caller.asked_ahead = caller.asked_ahead and not ahead
        if answer is None:
            return None
        if answer.ahead:
            caller.left, caller.levels, caller.until = answer.ahead, answer.verdict.levels, now + AHEAD_S
            return caller.admitted(now)
        if not answer.verdict.admitted and 0 < weight <= caller.left:  # drawn ahead by a call of the same trip
            return caller.let_through(weight, now)
        return answer.verdict

    def _caller(self, buckets: tuple[Bucket, ...], now: float) -> _Caller:
        """Who draws from these buckets, which may have got other rates since he was last here."""
        caller = self._callers.get(buckets[-1].key)
        if caller is None or caller.buckets != buckets:
            if caller is not None:
                self._give_back(caller)
            caller = self._callers[buckets[-1].key] = _Caller(buckets, now)
        return caller

    def _give_back(self, caller: _Caller) -> None:
        if caller.left:
            self._send(_Call(caller.buckets, -caller.left, 0, None))
            caller.left = 0

    def _send(self, call: _Call) -> None:
        self._waiting.append(call)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_for_all())

    async def _ask_for_all(self) -> None:
        """Round trips until nobody waits. A caller that went away has its call counted, as if it had stayed."""
        while self._waiting:
            calls, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            answers: Sequence[_Answer | None] = [None] * len(calls)
            if not self.away:
                try:
                    answers = await self._ask(calls)
                except Exception as error:  # whatever it is, nobody may wait for ever
                    self._lost(error)
            for one, answer in zip(calls, answers, strict=True):
                if one.verdict is not None and not one.verdict.done():
                    one.verdict.set_result(answer)
                elif answer is not None and answer.ahead:
                    self._send(_Call(one.buckets, -answer.ahead, 0, None))
        self._asking = None

    async def _ask(self, calls: Sequence[_Call]) -> list[_Answer]:
        keys, args = [], [0]
        for call in calls:
            args += (call.weight, call.ahead, len(call.buckets))
            for one in call.buckets:
                keys.append(one.key)
                args += (one.rate.quota, one.rate.interval_us)
        async with asyncio.timeout(DEADLINE_S):
            said: list[int] = await self._script(keys=keys, args=args)
        answers, at = [], 0
        for call in calls:
            end = at + 2 + 2 * len(call.buckets)
            levels = [Level(said[place], said[place + 1]) for place in range(at + 2, end, 2)]
            answers.append(_Answer(Verdict(said[at] == 0, said[at], call.buckets, tuple(levels)), said[at + 1]))
            at = end
        return answers

    def _take_locally(self, buckets: Sequence[Bucket], weight: int) -> Verdict:
        now_us = int(self._monotonic() * SECOND_US)
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
            self._callers.clear()  # what was drawn ahead comes back with time, as everything does
            log.warning("rates.redis_away", error=type(error).__name__, processes=self._processes)

    async def probe(self) -> None:
        """Ask Redis to count one call, when it was away; if it does, it is back, and local buckets are forgotten."""
        if not self.away:
            return
        try:
            await self._ask([_Call((_PROBE,), 1, 0, None)])
        except (RedisError, TimeoutError, *REDIS_ERRORS):
            return
        self.away = False
        self._full_at.clear()
        log.info("rates.redis_back")

    def sweep(self) -> None:
        """Give back what was drawn ahead and not used in time, and forget who has not called for a while."""
        now = self._monotonic()
        for key, caller in list(self._callers.items()):
            if now >= caller.until:
                self._give_back(caller)
            if now - caller.since > KEPT_S and not caller.waiting and not caller.left:
                del self._callers[key]

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: give back what was not used, and probe every `PROBE_S` while Redis is away."""
        while not stop.is_set():
            if self.away:
                await self.probe()
            self.sweep()
            await set_within(stop, PROBE_S if self.away else TICK_S)
