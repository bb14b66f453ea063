"""Metrics against empyrical on random curves, and against curves worked out by hand."""

import warnings
from datetime import date, timedelta

import numpy as np
import pytest

from app.quant.performance import performance, returns_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import empyrical

START = date(2024, 1, 1)


def dates(count: int) -> list[date]:
    return [START + timedelta(days=i + 1) for i in range(count)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("risk_free", [0.0, 0.04])
def test_metrics_agree_with_empyrical(seed: int, risk_free: float) -> None:
    rng = np.random.default_rng(seed)
    curve = (1_000_000 * np.exp(np.cumsum(rng.normal(0.0003, 0.01, 700)))).astype(np.int64)
    found = performance(1_000_000, curve, dates(700), start=START, risk_free=risk_free)
    returns = returns_of(1_000_000, curve)
    period = (1 + risk_free) ** (1 / 252) - 1
    assert found.total_return.value == pytest.approx(empyrical.cum_returns_final(returns), rel=1e-9)
    assert found.cagr.value == pytest.approx(empyrical.cagr(returns), rel=1e-9)
    assert found.volatility.value == pytest.approx(empyrical.annual_volatility(returns), rel=1e-9)
    assert found.sharpe.value == pytest.approx(empyrical.sharpe_ratio(returns, risk_free=period), rel=1e-9)
    assert found.sortino.value == pytest.approx(empyrical.sortino_ratio(returns, required_return=period), rel=1e-9)
    assert found.maximum_drawdown.value == pytest.approx(empyrical.max_drawdown(returns), rel=1e-9)


def test_a_loss_in_the_first_period_is_a_drawdown() -> None:
    found = performance(100, [80, 90, 120], dates(3), start=START)
    assert found.maximum_drawdown.value == pytest.approx(-0.2)
    assert found.drawdown is not None
    assert (found.drawdown.peak, found.drawdown.trough) == (START, date(2024, 1, 2))
    assert (found.drawdown.recovered, found.drawdown.periods, found.drawdown.days) == (date(2024, 1, 4), 3, 3)


def test_a_drawdown_that_has_not_recovered_runs_to_the_end() -> None:
    found = performance(100, [200, 150, 100, 150], dates(4), start=START).drawdown
    assert found is not None
    assert found.depth == pytest.approx(-0.5)
    assert (found.recovered, found.periods) == (None, 3)


def test_conventions_are_stated() -> None:
    found = performance(100, [101, 102], dates(2), start=START, periods_per_year=12, risk_free=0.01)
    assert (found.periods, found.periods_per_year, found.risk_free, found.ddof) == (2, 12, 0.01, 1)


def test_an_empty_curve_has_reasons_instead_of_values() -> None:
    found = performance(100, [], [], start=START)
    assert found.sharpe.value is None
    assert found.sharpe.reason == "the curve has no period yet"


def test_a_flat_curve_has_no_sharpe_and_no_sortino() -> None:
    found = performance(100, [100] * 10, dates(10), start=START)
    assert found.total_return.value == 0
    assert (found.sharpe.value, found.sharpe.reason) == (None, "the returns do not vary")
    assert found.sortino.reason == "no return is below the risk-free rate"
    assert found.maximum_drawdown.value == 0


def test_steady_growth_is_not_an_infinite_sharpe() -> None:
    found = performance(2**40, [2**40 // 2**i for i in range(1, 20)], dates(19), start=START)
    assert found.sharpe.value is None
    assert found.sortino.value is not None


def test_one_period_has_a_return_but_no_deviation() -> None:
    found = performance(100, [110], dates(1), start=START)
    assert found.total_return.value == pytest.approx(0.1)
    assert found.volatility.reason == "at least two periods are needed"


def test_a_rate_too_large_to_state_is_none() -> None:
    assert performance(1, [10**6], dates(1), start=START).cagr.value is None


def test_ruin_is_a_reason() -> None:
    found = performance(100, [50, 0, 10], dates(3), start=START)
    assert found.cagr.reason == "the equity is zero or negative at some time"
    assert found.drawdown is None


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="one date"):
        performance(100, [1, 2], dates(1), start=START)
    with pytest.raises(ValueError, match="periods_per_year"):
        performance(100, [1], dates(1), start=START, periods_per_year=0)
