"""How works are measured: CPU time, in turn, medians; and the rule that a figure needs equal results."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

ROUNDS = 7


class Figure(TypedDict):
    """One figure. `ratio` is ours / limit; in a row `peer: …`, `ours` is the peer's."""

    name: str
    ours: float
    limit: float
    unit: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A figure that is not printed, because what was measured did not do the same work."""

    name: str
    reason: str


def figure(name: str, ours: float, limit: float, unit: str) -> Figure:
    return {
        "name": name,
        "ours": round(ours, 2),
        "limit": round(limit, 2),
        "unit": unit,
        "ratio": round(ours / limit, 3),
    }


def cpu(work: Callable[[], object], times: int = 1) -> float:
    """CPU seconds of one of so many runs."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def in_turn(*works: Callable[[], object], rounds: int = ROUNDS, times: int = 1) -> list[float]:
    """Median CPU seconds of each: all once, then all again, so that a slower minute of the machine hits all alike."""
    found = [[cpu(work, times) for work in works] for _ in range(rounds)]
    return [statistics.median(one) for one in zip(*found, strict=True)]


def difference(ours: Any, limit: Any, our_fills: Any, limit_fills: Any) -> str | None:
    """Where curves or fills (rows of integers, in order) first differ; None: they are equal."""
    if not np.array_equal(our_fills, limit_fills):
        both = min(len(our_fills), len(limit_fills))
        at = next((i for i in range(both) if not np.array_equal(our_fills[i], limit_fills[i])), both)
        mine, other = (fills[at].tolist() if at < len(fills) else "none" for fills in (our_fills, limit_fills))
        return f"{len(our_fills)} fills against {len(limit_fills)}; number {at}: {mine} against {other}"
    if not np.array_equal(ours, limit):
        at = int(np.flatnonzero(np.asarray(ours) != np.asarray(limit))[0])
        return f"equity differs from row {at} on: {ours[at]} against {limit[at]}"
    return None
