"""Decides how much of a Sharpe ratio is luck: how sure it is after its sample, its tails and all that was tried.

Sharpe ratios here are per period, not annualised. Sources:
[PSR] Bailey and López de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2), 2012.
[DSR] Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5), 2014.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from app.quant.performance import DDOF, Array, Metric

EULER = 0.5772156649015329
"""The Euler-Mascheroni constant γ."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Moments:
    """Of returns. `sharpe`: mean over sample deviation; `skewness` and `kurtosis` (normal: 3) of the population."""

    sharpe: float
    skewness: float
    kurtosis: float
    periods: int


@dataclass(frozen=True, slots=True)
class Deflated:
    """`probability` that the true Sharpe ratio exceeds `benchmark`, the best that `trials` without skill would show."""

    probability: Metric
    benchmark: float
    trials: int


def moments(returns: Array) -> Moments | None:
    """Of `returns` f8 (periods,), less the mean; None where they do not vary."""
    periods = len(returns)
    if periods <= DDOF:
        return None
    mean = float(returns.mean())
    centred = returns - mean
    variance = float((centred * centred).mean())
    deviation = math.sqrt(variance * periods / (periods - DDOF))
    # The bound of `performance`: a constant series of floats may vary by rounding noise.
    if not math.isfinite(deviation) or deviation <= 1e-14 * max(1.0, abs(mean)):
        return None
    squares = centred * centred
    return Moments(
        sharpe=mean / deviation,
        skewness=float((squares * centred).mean()) / variance**1.5,
        kurtosis=float((squares * squares).mean()) / variance**2,
        periods=periods,
    )


def probabilistic_sharpe(found: Moments, benchmark: float = 0.0) -> Metric:
    """Probability that the true Sharpe ratio exceeds `benchmark` [PSR, eq. 11].

    Φ((SR − SR*) √(T − 1) / √(1 − γ₃ SR + (γ₄ − 1) / 4 · SR²)).
    """
    if found.periods < 2:
        return Metric(None, "at least two periods are needed")
    spread = 1.0 - found.skewness * found.sharpe + (found.kurtosis - 1.0) / 4.0 * found.sharpe**2
    if spread <= 0:
        return Metric(None, "the skewness is too large for this Sharpe ratio")
    return Metric(_NORMAL.cdf((found.sharpe - benchmark) * math.sqrt(found.periods - 1) / math.sqrt(spread)))


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """The highest Sharpe ratio to expect of `trials` independent ones with mean 0 and this `variance` [DSR, eq. 1].

    √V · ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))); 0 for a single trial, where nothing was chosen.
    """
    if trials < 1 or not variance >= 0:
        raise ValueError("trials must be at least 1 and the variance not negative")
    if trials == 1:
        return 0.0
    usual, extreme = (_NORMAL.inv_cdf(1.0 - 1.0 / count) for count in (trials, trials * math.e))
    return math.sqrt(variance) * ((1.0 - EULER) * usual + EULER * extreme)


def deflated_sharpe(best: Moments, *, trials: int, variance: float) -> Deflated:
    """The probabilistic Sharpe ratio of the best of `trials`, against what their best would show by luck [DSR, eq. 2].

    `variance`: of the trials' Sharpe ratios. Trials that resemble each other count whole, which errs on the safe side.
    """
    benchmark = expected_maximum_sharpe(trials, variance)
    return Deflated(probabilistic_sharpe(best, benchmark), benchmark, trials)
