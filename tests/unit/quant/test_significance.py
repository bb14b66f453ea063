"""The worked examples of the papers, the limit cases, and what a simulation without any skill shows."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from app.quant.significance import (
    Moments,
    deflated_sharpe,
    expected_maximum_sharpe,
    moments,
    probabilistic_sharpe,
)


def test_the_worked_example_of_the_deflated_sharpe_ratio() -> None:
    """Bailey and López de Prado 2014, "A numerical example": five years of 250 days, a yearly Sharpe ratio of 2.5."""
    best = Moments(sharpe=2.5 / math.sqrt(250), skewness=-3.0, kurtosis=10.0, periods=1250)
    found = deflated_sharpe(best, trials=100, variance=0.5 / 250)
    assert found.benchmark == pytest.approx(0.1132, abs=5e-5)
    assert found.probability.value == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(best, trials=46, variance=0.5 / 250).probability.value == pytest.approx(0.9505, abs=5e-5)
    normal = Moments(best.sharpe, 0.0, 3.0, best.periods)
    assert deflated_sharpe(normal, trials=88, variance=0.5 / 250).probability.value == pytest.approx(0.9505, abs=5e-5)


def test_the_worked_example_of_the_probabilistic_sharpe_ratio() -> None:
    """Bailey and López de Prado 2012: 24 months, a monthly Sharpe ratio of 0.458."""
    tailed, normal = Moments(0.458, -2.448, 10.164, 24), Moments(0.458, 0.0, 3.0, 24)
    assert probabilistic_sharpe(tailed).value == pytest.approx(0.913, abs=5e-4)
    assert probabilistic_sharpe(normal).value == pytest.approx(0.982, abs=5e-4)


def test_one_trial_is_not_deflated() -> None:
    one = Moments(0.05, 0.3, 4.0, 500)
    found = deflated_sharpe(one, trials=1, variance=0.01)
    assert found.benchmark == 0
    assert found.probability == probabilistic_sharpe(one)


def test_more_trials_and_more_scatter_make_less_of_the_same_ratio() -> None:
    best = Moments(0.1, 0.0, 3.0, 1000)
    by_trials = [
        deflated_sharpe(best, trials=n, variance=0.001).probability.value or 0.0 for n in (1, 2, 10, 100, 10**5)
    ]
    assert by_trials == sorted(by_trials, reverse=True) and by_trials[-1] < by_trials[0]
    by_scatter = [deflated_sharpe(best, trials=50, variance=v).probability.value or 0.0 for v in (0.0, 0.001, 0.01)]
    assert by_scatter == sorted(by_scatter, reverse=True)
    assert by_scatter[0] == probabilistic_sharpe(best).value


@pytest.mark.parametrize("trials", [5, 10, 100, 1000])
def test_the_expected_maximum_is_that_of_a_simulation(trials: int) -> None:
    rng = np.random.default_rng(trials)
    highest = rng.normal(0.0, 0.3, (4000, trials)).max(axis=1).mean()
    # The formula is an approximation by extreme value theory: within 4 % from five trials on, always above.
    assert expected_maximum_sharpe(trials, 0.09) == pytest.approx(highest, rel=0.04)


def test_strategies_without_skill_seldom_pass_though_their_best_looks_good() -> None:
    """500 searches of 50 strategies of pure noise: the best one passes at 95 % about as often as chance allows."""
    rng = np.random.default_rng(11)
    naive = deflated = 0
    for _ in range(500):
        found = [moments(row) for row in rng.standard_t(5, (50, 300)) * 0.01]
        known = [one for one in found if one is not None]
        best = max(known, key=lambda one: one.sharpe)
        variance = float(np.var([one.sharpe for one in known], ddof=1))
        naive += (probabilistic_sharpe(best).value or 0.0) > 0.95
        deflated += (deflated_sharpe(best, trials=50, variance=variance).probability.value or 0.0) > 0.95
    assert naive / 500 > 0.80
    assert deflated / 500 < 0.08


def test_a_skilled_strategy_among_noise_still_passes() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(0.0, 0.01, (50, 1500))
    rows[7] += 0.0025
    found = [one for row in rows if (one := moments(row)) is not None]
    best = max(found, key=lambda one: one.sharpe)
    assert best == found[7]
    variance = float(np.var([one.sharpe for one in found], ddof=1))
    assert (deflated_sharpe(best, trials=50, variance=variance).probability.value or 0.0) > 0.99


def test_moments_of_a_normal_sample_are_those_of_the_normal_distribution() -> None:
    quantiles = np.array([NormalDist(0.001, 0.01).inv_cdf((i + 0.5) / 20_000) for i in range(20_000)])
    found = moments(quantiles)
    assert found is not None
    assert found.sharpe == pytest.approx(0.1, rel=1e-3)
    assert found.skewness == pytest.approx(0.0, abs=1e-9)
    assert found.kurtosis == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize("returns", [[], [0.1], [0.0] * 20, [0.01] * 300])
def test_returns_that_do_not_vary_have_no_moments(returns: list[float]) -> None:
    assert moments(np.array(returns)) is None


def test_a_spread_that_is_not_positive_is_a_reason_not_a_number() -> None:
    assert probabilistic_sharpe(Moments(1.0, 5.0, 3.0, 100)).reason == "the skewness is too large for this Sharpe ratio"


@pytest.mark.parametrize(("trials", "variance"), [(0, 0.1), (5, -0.1), (5, math.nan)])
def test_bad_arguments_are_refused(trials: int, variance: float) -> None:
    with pytest.raises(ValueError, match="trials"):
        expected_maximum_sharpe(trials, variance)
