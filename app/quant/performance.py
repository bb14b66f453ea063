"""Decides how an equity curve is judged. Every figure states its convention; an undefined one is None with a reason.

The curve starts with the initial capital, so a loss in the first period counts. Returns are simple, one per period.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DDOF = 1


@dataclass(frozen=True, slots=True)
class Metric:
    """`value`, or None and the `reason` why it is undefined."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall from a peak. `depth` is negative or zero. `recovered` None: not yet. `periods` and `days` count
    from the peak to the recovery, or to the end of the curve."""

    depth: float
    peak: date
    trough: date
    recovered: date | None
    periods: int
    days: int


@dataclass(frozen=True, slots=True)
class Performance:
    """The metrics of one curve and the conventions behind them."""

    total_return: Metric
    cagr: Metric
    volatility: Metric
    sharpe: Metric
    sortino: Metric
    maximum_drawdown: Metric
    drawdown: Drawdown | None
    periods: int
    periods_per_year: float
    risk_free: float
    ddof: int


def returns_of(initial: int | float, equity: Sequence[int] | npt.NDArray[np.int64] | Array) -> Array:
    """f8 (periods,): equity[i] / equity[i − 1] − 1, the first against `initial`."""
    curve = np.concatenate([[float(initial)], np.asarray(equity, dtype=np.float64)])
    found: Array = curve[1:] / curve[:-1] - 1.0
    return found


def performance(
    initial: int,
    equity: Sequence[int] | npt.NDArray[np.int64],
    dates: Sequence[date],
    *,
    start: date,
    periods_per_year: float = 252,
    risk_free: float = 0.0,
) -> Performance:
    """Judge the curve `equity` (minor units, one value per period, dated `dates`) that began with `initial` at `start`.

    `risk_free` is a yearly rate, taken per period as (1 + rf)^(1 / periods_per_year) − 1.
    CAGR: (end / start)^(periods_per_year / periods) − 1. Volatility: standard deviation of returns (divisor n − 1),
    times √periods_per_year. Sharpe (1994): mean excess return over its standard deviation, annualised by the root.
    Sortino and van der Meer (1991): mean excess return over the root mean square of its negative part, over all n.
    """
    if len(equity) != len(dates):
        raise ValueError("one date per value of the curve")
    if periods_per_year <= 0 or risk_free <= -1:
        raise ValueError("periods_per_year must be positive and risk_free above -1")
    curve = np.concatenate([[float(initial)], np.asarray(equity, dtype=np.float64)])
    periods = len(curve) - 1
    why = _fault(curve)
    fall = None if why else worst_drawdown(curve, [start, *dates])
    if why or fall is None:
        missing = Metric(None, why)
        return Performance(
            missing, missing, missing, missing, missing, missing, None, periods, periods_per_year, risk_free, DDOF
        )
    returns = returns_of(initial, equity)
    excess = returns - ((1.0 + risk_free) ** (1.0 / periods_per_year) - 1.0)
    root = float(np.sqrt(periods_per_year))
    growth = float(curve[-1] / curve[0])
    deviation = _deviation(returns)
    return Performance(
        total_return=Metric(growth - 1.0),
        cagr=_finite(growth, periods_per_year / periods),
        volatility=deviation if deviation.value is None else Metric(deviation.value * root),
        sharpe=_ratio(float(excess.mean()), deviation, root, "the returns do not vary"),
        sortino=_ratio(float(excess.mean()), _downside(excess), root, "no return is below the risk-free rate"),
        maximum_drawdown=Metric(fall.depth),
        drawdown=fall,
        periods=periods,
        periods_per_year=periods_per_year,
        risk_free=risk_free,
        ddof=DDOF,
    )


def _fault(curve: Array) -> str | None:
    if len(curve) < 2:
        return "the curve has no period yet"
    if not np.isfinite(curve).all():
        return "the curve has a value that is not a number"
    return None if (curve > 0).all() else "the equity is zero or negative at some time"


def _finite(growth: float, power: float) -> Metric:
    with np.errstate(over="ignore"):
        value = float(np.power(growth, power)) - 1.0
    return Metric(value) if np.isfinite(value) else Metric(None, "too few periods to state a yearly rate")


def _deviation(returns: Array) -> Metric:
    if len(returns) <= DDOF:
        return Metric(None, "at least two periods are needed")
    return Metric(float(returns.std(ddof=DDOF)))


def _downside(excess: Array) -> Metric:
    return Metric(float(np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2))))


def _ratio(mean: float, risk: Metric, root: float, why: str) -> Metric:
    if risk.value is None:
        return risk
    # A constant series of floats can show a deviation of rounding noise: no risk, not a huge ratio.
    if risk.value <= 1e-14 * max(1.0, abs(mean)):
        return Metric(None, why)
    return Metric(mean / risk.value * root)


def drawdown_curve(curve: Array) -> Array:
    """f8: value / highest value so far − 1; zero at every new high."""
    return curve / np.maximum.accumulate(curve) - 1.0


def worst_drawdown(curve: Array, dates: Sequence[date]) -> Drawdown:
    """The first deepest fall of `curve` (which includes the initial capital), dated."""
    falls = drawdown_curve(curve)
    trough = int(np.argmin(falls))
    peak = int(np.argmax(curve[: trough + 1]))
    back = np.flatnonzero(curve[trough:] >= curve[peak])
    end = trough + int(back[0]) if len(back) else len(curve) - 1
    return Drawdown(
        depth=float(falls[trough]),
        peak=dates[peak],
        trough=dates[trough],
        recovered=dates[end] if len(back) else None,
        periods=end - peak,
        days=(dates[end] - dates[peak]).days,
    )
