"""Decides what a sweep tries and what it may conclude. Pure: combinations, measures, ranking and significance.

A space has one axis per parameter. A grid takes every combination; a random search draws from the axes. A draw is a
hash of seed, number and parameter, so that the n-th combination is the same on every machine and in every process.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

import numpy as np
from pydantic import Field, TypeAdapter

from app.engine.bars import Int64
from app.engine.program import MAX_NUMBER, Number
from app.insight.backtest.domain import Plan
from app.insight.backtest.domain.events import RunSucceeded
from app.kernel.errors import DomainError, invalid
from app.kernel.events import Because, EventPayload, EventType, Sha256
from app.quant.performance import Array, performance, returns_of
from app.quant.significance import Moments, moments
from app.quant.surface import ranked

MAX_COMBINATIONS = 100_000
MAX_AXES = 8
MAX_UNFINISHED = 5
"""Sweeps that a tenant may have waiting or running at once."""

MAX_COST = 2_000_000_000_000
"""Node evaluations of a stored sweep: an hour or so of a few cores."""

MAX_SEED = 2**63 - 1
PERIODS_PER_YEAR = 252
METRICS = ("sharpe", "sortino", "total_return", "cagr", "maximum_drawdown")
"""What a sweep can be ranked by; of each the higher is the better (a drawdown is negative)."""
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Values:
    """One of these numbers."""

    values: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """`start`, `start` + `step`, … up to and including `stop`, in exact decimal steps."""

    start: Number
    stop: Number
    step: Number = 1


@dataclass(frozen=True, slots=True)
class Integers:
    """Any whole number from `low` to `high`, drawn evenly."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any number from `low` to `high`, drawn evenly; or (`log`) so that its logarithm is drawn evenly."""

    low: float
    high: float
    log: bool = False


Axis = Values | Steps | Integers | Uniform


@dataclass(frozen=True, slots=True)
class Space:
    """What to try: axes by parameter, in their order. `draws` None: every combination (a grid)."""

    axes: Mapping[str, Axis]
    draws: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """How a walk-forward cuts the trading dates; see `app.quant.folds.walk_forward`."""

    train: int
    test: int
    purge: int = 0
    embargo: int = 0
    anchored: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """A stored sweep: what each run is, and the search as it was written. `cut`: a walk-forward."""

    plan: Plan
    grid: dict[str, str]
    draws: int | None
    seed: int
    metric: str
    cut: Cut | None = None

    @property
    def space(self) -> Space:
        """Raises `invalid_sweep` naming the axis."""
        return Space({name: parse_axis(name, text) for name, text in self.grid.items()}, self.draws, self.seed)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a `jsonb` column. The order of the axes is kept as a list."""
        found: dict[str, Any] = _SEARCH.dump_python(self, mode="json")
        return found | {"grid": list(self.grid.items())}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Search":
        return _SEARCH.validate_python(values | {"grid": dict(values["grid"])})


_SEARCH = TypeAdapter(Search)


def combinations(space: Space) -> list[tuple[Number, ...]]:
    """The values of every combination, in the order of the axes; in a grid the last axis runs fastest.

    A draw that repeats an earlier one is left out. Raises `invalid_sweep` naming the axis or field.
    """
    axes = {name: _checked(name, axis) for name, axis in space.axes.items()}
    if not 1 <= len(axes) <= MAX_AXES:
        raise invalid("invalid_sweep", f"A sweep varies 1 to {MAX_AXES} parameters, not {len(axes)}.", param="grid")
    if space.draws is not None:
        return _drawn(axes, space.draws, space.seed)
    count = 1
    for name, axis in axes.items():
        if not isinstance(axis, Values):
            raise _refused(name, "a range without steps needs a random search; give its number of draws")
        count *= len(axis.values)
    if count > MAX_COMBINATIONS:
        reason = f"{count:,} combinations; at most {MAX_COMBINATIONS:,}. Take larger steps, or draw at random."
        raise invalid("invalid_sweep", reason, param="grid")
    return list(product(*(axis.values for axis in axes.values() if isinstance(axis, Values))))


def check_names(space: Space, parameters: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Raises `invalid_sweep` when an axis is none of the program's `parameters`, or one that the caller has `fixed`."""
    known = ", ".join(sorted(parameters)) or "none"
    for name in space.axes:
        if name not in parameters:
            raise _refused(name, f"the program has no such parameter (it has: {known})")
        if name in fixed:
            raise _refused(name, "it is both fixed and varied; choose one")


def parse_axis(name: str, text: str) -> Axis:
    """The written form: `5:24:1`, `5,10,20`, `integers:5:24`, `uniform:0.1:2`, `log:0.001:1`.

    Raises `invalid_sweep` naming the axis.
    """
    kind, _, rest = text.partition(":")
    if kind in ("integers", "uniform", "log"):
        low, high = _numbers(name, rest.split(":"), 2)
        if kind == "integers":
            if not (isinstance(low, int) and isinstance(high, int)):
                raise _refused(name, "integers lie between whole numbers")
            return Integers(low, high)
        return Uniform(float(low), float(high), log=kind == "log")
    if ":" in text:
        parts = text.split(":")
        start, stop, *step = _numbers(name, parts, 2 if len(parts) == 2 else 3)
        return Steps(start, stop, step[0] if step else 1)
    return Values(tuple(_numbers(name, text.split(","), None)))


def _numbers(name: str, parts: Sequence[str], count: int | None) -> list[Number]:
    if count is not None and len(parts) != count:
        raise _refused(name, "give start:stop:step, a list 1,2,3, or integers:, uniform: or log: with low:high")
    found: list[Number] = []
    for part in parts:
        try:
            found.append(_number(Decimal(part.strip())))
        except InvalidOperation:
            raise _refused(name, f"{part!r} is no number") from None
    return found


def _number(value: Decimal) -> Number:
    """A whole number as int where it was written as one."""
    if value.is_finite() and value.as_tuple().exponent == 0 and abs(value) < MAX_NUMBER:
        return int(value)
    return float(value)


def _refused(name: str, reason: str) -> DomainError:
    return invalid("invalid_sweep", f"grid.{name}: {reason}.", param=f"grid.{name}")


def _checked(name: str, axis: Axis) -> Axis:
    """The axis with its steps written out."""
    if isinstance(axis, Integers | Uniform):
        ends: tuple[Number, ...] = (axis.low, axis.high)
        if not all(abs(end) < MAX_NUMBER for end in ends) or axis.high < axis.low:
            raise _refused(name, "low must not exceed high, and both must be of moderate size")
        if isinstance(axis, Uniform) and axis.log and axis.low <= 0:
            raise _refused(name, "a logarithmic range begins above zero")
        return axis
    values = axis.values if isinstance(axis, Values) else _steps(name, axis)
    if not values or len(values) > MAX_COMBINATIONS:
        raise _refused(name, f"has {len(values):,} values; give 1 to {MAX_COMBINATIONS:,}")
    if not all(abs(value) < MAX_NUMBER for value in values):
        raise _refused(name, "every value must be a number of moderate size")
    if len(set(values)) != len(values):
        raise _refused(name, "a value occurs twice")
    return Values(values)


def _steps(name: str, axis: Steps) -> tuple[Number, ...]:
    if not all(abs(value) < MAX_NUMBER for value in (axis.start, axis.stop, axis.step)):
        raise _refused(name, "start, stop and step must be numbers of moderate size")
    start, stop, step = (Decimal(str(value)) for value in (axis.start, axis.stop, axis.step))
    if step <= 0 or stop < start:
        raise _refused(name, "step must be positive and stop not below start")
    count = int((stop - start) // step) + 1
    if count > MAX_COMBINATIONS:
        raise _refused(name, f"has {count:,} values; give 1 to {MAX_COMBINATIONS:,}")
    whole = isinstance(axis.start, int) and isinstance(axis.step, int)
    return tuple(int(start + step * i) if whole else float(start + step * i) for i in range(count))


def _drawn(axes: Mapping[str, Axis], draws: int, seed: int) -> list[tuple[Number, ...]]:
    if not 1 <= draws <= MAX_COMBINATIONS:
        raise invalid("invalid_sweep", f"Draw 1 to {MAX_COMBINATIONS:,} combinations.", param="random")
    if not 0 <= seed <= MAX_SEED:
        raise invalid("invalid_sweep", f"A seed lies between 0 and {MAX_SEED}.", param="seed")
    found: dict[tuple[Number, ...], None] = {}
    for number in range(draws):
        point = tuple(_draw(axis, _share(seed, number, name)) for name, axis in axes.items())
        found.setdefault(point)
    return list(found)


def _share(seed: int, number: int, name: str) -> float:
    """Evenly spread over [0, 1)."""
    digest = hashlib.sha256(f"{seed}:{number}:{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


def _draw(axis: Axis, share: float) -> Number:
    match axis:
        case Values(values):
            return values[int(share * len(values))]
        case Integers(low, high):
            return low + int(share * (high - low + 1))
        case Uniform(low, high, log):
            raw = low * (high / low) ** share if log else low + share * (high - low)
            # Short numbers can be given again by hand.
            return min(max(float(f"{raw:.{_DIGITS}g}"), float(low)), float(high))
        case Steps():
            raise AssertionError("steps are written out before")


@dataclass(frozen=True, slots=True)
class Measured:
    """One combination's run. Money in minor units; ratios None where undefined; `moments` of its daily returns.

    `refusal`: why it could not run; then nothing else is known.
    """

    digest: str = ""
    final_equity: int = 0
    fills: int = 0
    charges: int = 0
    total_return: float | None = None
    cagr: float | None = None
    volatility: float | None = None
    sharpe: float | None = None
    sortino: float | None = None
    maximum_drawdown: float | None = None
    moments: Moments | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """Where the trading dates of a range end. `rows` i8 (days,): their last rows; `dates`: one each."""

    rows: Int64
    dates: Sequence[date]


def measure(digest: str, equity: Int64, days: Days, *, initial: int, fills: int, charges: int) -> Measured:
    """Judge one equity curve by its trading dates, as a backtest's result does."""
    curve = equity[days.rows]
    found = performance(initial, curve, days.dates, start=days.dates[0], periods_per_year=PERIODS_PER_YEAR)
    return Measured(
        digest=digest,
        final_equity=int(curve[-1]),
        fills=fills,
        charges=charges,
        total_return=found.total_return.value,
        cagr=found.cagr.value,
        volatility=found.volatility.value,
        sharpe=found.sharpe.value,
        sortino=found.sortino.value,
        maximum_drawdown=found.maximum_drawdown.value,
        moments=None if found.total_return.value is None else moments(returns_of(initial, curve)),
    )


def window_scores(initial: int, curve: Int64, windows: Sequence[tuple[int, int]], metric: str) -> Array:
    """f8 (windows, 2): the metric and the Sharpe ratio per period of the returns within each window of `curve` i8
    (days,), which began with `initial`; NaN where undefined."""
    found = np.full((len(windows), 2), np.nan)
    whole = np.concatenate([[initial], curve])
    for at, (start, end) in enumerate(windows):
        part = whole[start : end + 1]
        if (part <= 0).any():
            continue
        known = moments(returns_of(int(part[0]), part[1:]))
        if known is not None:
            found[at, 1] = known.sharpe
        if metric == "sharpe":
            found[at, 0] = found[at, 1] * math.sqrt(PERIODS_PER_YEAR)
            continue
        dates = [date.min] * (end - start)
        judged = performance(int(part[0]), part[1:], dates, start=date.min, periods_per_year=PERIODS_PER_YEAR)
        value = getattr(judged, metric).value
        found[at, 0] = np.nan if value is None else value
    return found


def check_metric(metric: str) -> str:
    """Itself. Raises `invalid_sweep`."""
    if metric not in METRICS:
        raise invalid("invalid_sweep", f"{metric!r} is none of {', '.join(METRICS)}.", param="metric")
    return metric


def scores(measured: Iterable[Measured], metric: str) -> Array:
    """f8 (combinations,), NaN where undefined."""
    values = (getattr(one, metric) for one in measured)
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def best_of(measured: Sequence[Measured], metric: str) -> int | None:
    """The highest, the earliest of equals; None where no combination has the metric."""
    found = scores(measured, metric)
    return None if np.isnan(found).all() else int(ranked(found)[0])


def sharpe_variance(measured: Iterable[Measured]) -> float:
    """Of the Sharpe ratios per period of all that ran, divisor n − 1; 0 for fewer than two."""
    found = [one.moments.sharpe for one in measured if one.moments is not None]
    return float(np.var(found, ddof=1)) if len(found) > 1 else 0.0


def family(document: Mapping[str, Any]) -> str:
    """Digest of a program without its name and its parameters' values: sweeps of one family are one search."""
    shape = {key: value for key, value in document.items() if key not in ("name", "parameters")}
    shape["parameters"] = sorted(document.get("parameters") or {})
    return hashlib.sha256(json.dumps(shape, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def spelled(space: Space) -> dict[str, Any]:
    """The space as plain values."""
    axes = {name: {"kind": type(axis).__name__.lower(), **asdict(axis)} for name, axis in space.axes.items()}
    return {"axes": axes, "draws": space.draws, "seed": None if space.draws is None else space.seed}


def named(space: Space, points: Iterable[tuple[Number, ...]]) -> list[dict[str, Number]]:
    """Each combination by parameter."""
    return [dict(zip(space.axes, point, strict=True)) for point in points]


class SweepCreated(EventPayload):
    family: Sha256 = Field(description="Of the program without its parameters: sweeps of one family are one search.")
    combinations: int = Field(description="How many runs it has.")


EVENTS = (
    EventType("sweep.created", "swp", "A sweep was asked for.", SweepCreated),
    EventType("sweep.succeeded", "swp", "A sweep has its result.", RunSucceeded),
    EventType("sweep.failed", "swp", "A sweep ended without a result.", Because),
    EventType("sweep.cancelled", "swp", "A sweep was cancelled."),
)
