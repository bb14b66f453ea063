"""Decides how calls are counted against rates: buckets that refill evenly.

A bucket of `quota` calls refills evenly within `window_s`, one call each `interval_us` (the generic cell rate
algorithm, ITU-T I.371). All it stores is the instant at which it will be full again, so one number per bucket is read
and written, and every figure is a whole number of microseconds. `draw` is that arithmetic, and `SCRIPT` the same in
Redis, on its own clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SPARE_SHARE = 16
"""Ahead of time at most one call in so many that remain is drawn: none at all where a rate is nearly used up."""

SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`quota` calls at once, and as many again in `window_s` seconds. ValueError above one a microsecond."""

    quota: int
    window_s: int
    interval_us: int = field(init=False, compare=False)
    """How long one call takes to come back."""

    def __post_init__(self) -> None:
        if not 0 < self.quota <= self.window_s * SECOND_US:
            raise ValueError(f"{self.quota} calls in {self.window_s} s is no rate")
        object.__setattr__(self, "interval_us", self.window_s * SECOND_US // self.quota)

    def share(self, processes: int) -> "Rate":
        """What one of so many processes may let through on its own: together never more, each at least one."""
        return Rate(max(1, self.quota // processes), self.window_s)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A rate, under the name that headers show, and the key of whoever it is for."""

    policy: str
    key: str
    rate: Rate


class Level(NamedTuple):
    """What is left in a bucket, and how long until it is full again."""

    remaining: int
    full_in_us: int


class Verdict(NamedTuple):
    """Whether a call passes, what each bucket holds after it, and when a refused one would pass."""

    admitted: bool
    wait_us: int
    buckets: tuple[Bucket, ...]
    levels: tuple[Level, ...]


def draw(full_at: Sequence[int], rates: Sequence[Rate], weight: int, *, now_us: int) -> tuple[int, list[int]]:
    """How long to wait, in µs (0: it passes), and when each bucket is full again after this call.

    `full_at`: when each would be full without it. A weight of 0 always passes; one above the quota takes all of it; a
    negative one gives calls back.
    """
    starts = [max(full, now_us) for full in full_at]
    if weight <= 0:
        given = [full + weight * rate.interval_us for full, rate in zip(starts, rates, strict=True)]
        return 0, [max(full, now_us) for full in given]
    ends = [full + min(weight, rate.quota) * rate.interval_us for full, rate in zip(starts, rates, strict=True)]
    waits = [end - now_us - rate.quota * rate.interval_us for end, rate in zip(ends, rates, strict=True)]
    wait = max(0, *waits)
    return wait, starts if wait else ends


def spare(full_at: Sequence[int], rates: Sequence[Rate], *, now_us: int) -> int:
    """How many calls may be drawn ahead of time from buckets that are full again then."""
    remaining = (level(full, rate, now_us=now_us).remaining for full, rate in zip(full_at, rates, strict=True))
    return min(remaining) // SPARE_SHARE


def level(full_at: int, rate: Rate, *, now_us: int) -> Level:
    """What a bucket holds now."""
    missing = max(0, full_at - now_us)
    return Level(max(0, (rate.quota * rate.interval_us - missing) // rate.interval_us), missing)


# `draw` once more, and `spare`, where all processes meet. Numbers stay below 2^53; '%.0f', because Lua prints them in
# 14 digits. ARGV: the time in µs or 0 for the server's own, then of each call its weight, how many more to draw ahead,
# how many of KEYS it has, and quota and interval in µs of each. Says of each call its wait, how many were drawn ahead,
# then what remains of each key and when it is full.
SCRIPT = (
    """
local now = tonumber(ARGV[1])
if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local at, key, said = 2, 0, {}
while at < #ARGV do
    local weight, ahead, many = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local fulls, quotas, intervals, wait = {}, {}, {}, 0
    for i = 1, many do
        quotas[i], intervals[i] = tonumber(ARGV[at + 1 + 2 * i]), tonumber(ARGV[at + 2 + 2 * i])
        fulls[i] = math.max(tonumber(redis.call('GET', KEYS[key + i]) or '0'), now)
        if weight > 0 then
            local capacity = quotas[i] * intervals[i]
            wait = math.max(wait, fulls[i] + math.min(weight, quotas[i]) * intervals[i] - now - capacity)
        end
    end
    if weight ~= 0 and wait == 0 then
        for i = 1, many do
            fulls[i] = math.max(now, fulls[i] + math.min(weight, quotas[i]) * intervals[i])
            local remaining = math.floor((quotas[i] * intervals[i] - (fulls[i] - now)) / intervals[i])
            ahead = math.min(ahead, math.floor(remaining / SPARE_SHARE))
        end
        for i = 1, many do
            fulls[i] = fulls[i] + ahead * intervals[i]
            if fulls[i] > now then
                local expiry = math.ceil((fulls[i] - now) / 1000)
                redis.call('SET', KEYS[key + i], string.format('%.0f', fulls[i]), 'PX', expiry)
            else
                redis.call('DEL', KEYS[key + i])
            end
        end
    else
        ahead = 0
    end
    said[#said + 1] = wait
    said[#said + 1] = ahead
    for i = 1, many do
        said[#said + 1] = math.max(0, math.floor((quotas[i] * intervals[i] - (fulls[i] - now)) / intervals[i]))
        said[#said + 1] = fulls[i] - now
    end
    at, key = at + 3 + 2 * many, key + many
end
return said
"""
).replace("SPARE_SHARE", str(SPARE_SHARE))
