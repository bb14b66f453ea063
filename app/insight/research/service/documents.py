"""Writes what a sweep and a walk-forward found as documents of plain values: the same search gives the same bytes."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from app.engine.bars import Bars
from app.engine.layout import ENGINE_VERSION
from app.engine.program import Number
from app.insight.research.domain import (
    PERIODS_PER_YEAR,
    Cut,
    Days,
    Measured,
    Space,
    best_of,
    family,
    measure,
    named,
    scores,
    sharpe_variance,
    spelled,
)
from app.insight.research.service.chunks import Setup, days_of
from app.insight.research.service.sweeping import Points, Step, Walked
from app.kernel.errors import invalid
from app.kernel.money import currency_exponent, format_scaled
from app.quant.performance import Array
from app.quant.significance import Moments, deflated_sharpe, probabilistic_sharpe
from app.quant.surface import MAX_CELLS, Axis, grid_neighbours, heat_map, nearest, ranked

RANKED = 100
"""Combinations listed in a result; `trials_rows` gives all."""
REFUSED = 10
_RATIOS = ("total_return", "cagr", "volatility", "sharpe", "sortino", "maximum_drawdown")


def sweep_document(
    setup: Setup,
    space: Space,
    points: Points,
    measured: Sequence[Measured],
    *,
    data: Mapping[str, Any],
    metric: str,
    earlier: int = 0,
) -> dict[str, Any]:
    """What a sweep found. `earlier`: combinations of the same family that were run before, which count as trials.

    Raises `sweep_failed` with the first reason when no combination could run.
    """
    refused = [at for at, one in enumerate(measured) if one.refusal is not None]
    if len(refused) == len(measured):
        raise invalid("sweep_failed", f"No combination can run: {measured[0].refusal}", param="grid")
    found = scores(measured, metric)
    ran = len(measured) - len(refused)
    best = best_of(measured, metric)
    variance = sharpe_variance(measured)
    return {
        **_opening(setup, space, data, metric),
        "trials": {"combinations": len(measured), "run": ran, "refused": len(refused), "earlier": earlier},
        "refusals": [
            {"parameters": named(space, [points[at]])[0], "reason": measured[at].refusal} for at in refused[:REFUSED]
        ],
        "best": None if best is None else _row(setup, space, points[best], measured[best]),
        "significance": None
        if best is None
        else _significance(measured[best].moments, trials=ran + earlier, variance=variance),
        "stability": None if best is None else _stability(space, points, found, best),
        "ranking": [_row(setup, space, points[at], measured[at]) for at in ranked(found)[:RANKED].tolist()],
        "heat_map": _heat(space, points, found),
        "assumptions": _assumptions(setup)
        | {
            "trials": "combinations run, with earlier ones of this program's family; alike ones count whole",
            "stability": "one step away in any parameter" if space.draws is None else "the nearest draws",
        },
        "sha256": digest(measured),
    }


def walk_document(
    setup: Setup,
    bars: Bars,
    space: Space,
    points: Points,
    walked: Walked,
    *,
    data: Mapping[str, Any],
    cut: Cut,
    metric: str,
    earlier: int = 0,
) -> dict[str, Any]:
    """What a walk-forward found. Raises `sweep_failed` when no combination could run."""
    if not walked.ran:
        raise invalid("sweep_failed", "No combination can run on these bars.", param="grid")
    steps, days = walked.steps, days_of(bars, setup.first_row)
    equity = np.concatenate([step.equity for step in steps])
    dates = days.dates[steps[0].fold.test_start :][: len(equity)]
    tested = [step.tested for step in steps if step.tested is not None]
    whole = measure(
        "", equity, Days(np.arange(len(equity)), dates), initial=setup.cash,
        fills=sum(one.fills for one in tested), charges=sum(one.charges for one in tested),
    )  # fmt: skip
    return {
        **_opening(setup, space, data, metric),
        "trials": {
            "combinations": len(points), "run": walked.ran, "refused": len(points) - walked.ran, "earlier": earlier,
        },
        "cut": {"unit": "trading dates", **asdict(cut)},
        "folds": [_fold(setup, space, points, days, step) for step in steps],
        "out_of_sample": _figures(setup, whole),
        "efficiency": _efficiency(steps, metric),
        "significance": _significance(whole.moments, trials=walked.ran + earlier, variance=walked.variance),
        "equity": [
            {"date": day.isoformat(), "equity": _money(setup, int(value))}
            for day, value in zip(dates, equity, strict=True)
        ],
        "assumptions": _assumptions(setup)
        | {
            "training": "returns of the training dates, in a run from the first date that may trade",
            "tests": "take up the chosen combination's returns with the position it holds by then; changing from one"
            " fold's position to the next one's is not charged",
            "deflated": "as if the chained curve were itself the best of the combinations: on the safe side",
        }
        | ({} if len(steps) == len(walked.folds) else {"unfinished": "the equity was lost before the last test"}),
        "sha256": digest([one for step in steps for one in (step.trained, step.tested) if one is not None]),
    }  # fmt: skip


def trials_rows(setup: Setup, space: Space, points: Points, measured: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """Every combination in its order, flat: parameters, figures, refusal."""
    nothing = dict.fromkeys(_figures(setup, Measured()))
    for point, one in zip(points, measured, strict=True):
        figures = _figures(setup, one) if one.refusal is None else nothing
        yield {**named(space, [point])[0], **figures, "refusal": one.refusal}


def digest(measured: Sequence[Measured]) -> str:
    """Of every figure, bit for bit."""
    found = hashlib.sha256()
    for one in measured:
        figures = [getattr(one, name) for name in _RATIOS]
        whole = (one.digest, one.final_equity, one.fills, one.charges, one.refusal, one.moments, *figures)
        found.update(repr(whole).encode())
    return found.hexdigest()


def _opening(setup: Setup, space: Space, data: Mapping[str, Any], metric: str) -> dict[str, Any]:
    document = setup.document
    fixed = {**document.get("parameters", {}), **setup.fixed}
    return {
        "program": {
            "name": document["name"],
            "family": family(document),
            "parameters": {name: value for name, value in fixed.items() if name not in space.axes},
            "engine": ENGINE_VERSION,
        },
        "data": dict(data),
        "currency": setup.instruments[0].currency,
        "initial_cash": _money(setup, setup.cash),
        "space": spelled(space),
        "metric": metric,
    }


def _assumptions(setup: Setup) -> dict[str, str]:
    return {
        "metrics": f"daily returns, {PERIODS_PER_YEAR} a year, risk-free rate 0, sample deviation",
        "slippage": f"market orders pay {setup.slippage.bps} bps, rounded against them to the tick",
        "charges": f"{setup.schedule.name}, assessed and rounded per fill",
    } | setup.terms.assumptions()


def _money(setup: Setup, minor: int) -> str:
    return format_scaled(minor, currency_exponent(setup.instruments[0].currency))


def _figures(setup: Setup, one: Measured) -> dict[str, Any]:
    return {
        "final_equity": _money(setup, one.final_equity),
        **{name: getattr(one, name) for name in _RATIOS},
        "fills": one.fills,
        "charges": _money(setup, one.charges),
    }


def _significance(best: Moments | None, *, trials: int, variance: float) -> dict[str, Any]:
    """Plain values: how sure the Sharpe ratio is, alone and as the best of `trials`."""
    if best is None:
        reason = "the returns do not vary"
        return {"trials": trials, "probabilistic_sharpe": None, "deflated_sharpe": None, "undefined": reason}
    root = math.sqrt(PERIODS_PER_YEAR)
    found, alone = deflated_sharpe(best, trials=trials, variance=variance), probabilistic_sharpe(best)
    return {
        "trials": trials,
        "sharpe": best.sharpe * root,
        "skewness": best.skewness,
        "kurtosis": best.kurtosis,
        "days": best.periods,
        "sharpe_deviation_of_trials": math.sqrt(variance) * root,
        "expected_maximum_sharpe": found.benchmark * root,
        "probabilistic_sharpe": alone.value,
        "deflated_sharpe": found.probability.value,
        "undefined": alone.reason or found.probability.reason,
    }


def _stability(space: Space, points: Sequence[tuple[Number, ...]], found: Array, best: int) -> dict[str, Any]:
    """How the metric fares around the best: one step away in a grid, the nearest draws in a random search."""
    table = np.array(points, dtype=np.float64)
    near = grid_neighbours(table, best) if space.draws is None else nearest(table, best, 4 * len(space.axes))
    known = found[near][~np.isnan(found[near])] if near else np.empty(0)
    return {
        "neighbours": len(near),
        "best": float(found[best]),
        "mean": float(known.mean()) if len(known) else None,
        "worst": float(known.min()) if len(known) else None,
    }


def _row(setup: Setup, space: Space, point: tuple[Number, ...], one: Measured) -> dict[str, Any]:
    figures = _figures(setup, one) if one.refusal is None else {"refusal": one.refusal}
    return {"parameters": named(space, [point])[0], "digest": one.digest, **figures}


def _fold(setup: Setup, space: Space, points: Points, days: Days, step: Step) -> dict[str, Any]:
    fold = step.fold
    trained = {} if step.trained is None else _figures(setup, step.trained)
    return {
        "train": _dates(days, fold.train_start, fold.train_end),
        "test": _dates(days, fold.test_start, fold.test_end),
        "parameters": None if step.best is None else named(space, [points[step.best]])[0],
        "in_sample": {name: trained[name] for name in _RATIOS} if trained else None,
        "out_of_sample": None if step.tested is None else _figures(setup, step.tested),
    }


def _dates(days: Days, start: int, end: int) -> dict[str, str]:
    return {"from": days.dates[start].isoformat(), "to": days.dates[end - 1].isoformat()}


def _efficiency(steps: Sequence[Step], metric: str) -> dict[str, float | None]:
    """The mean of the metric over the folds, where it was chosen and where it was judged."""
    inside = [getattr(step.trained, metric) for step in steps if step.trained]
    outside = [getattr(step.tested, metric) for step in steps if step.tested]
    means = []
    for values in (inside, outside):
        known = [value for value in values if value is not None]
        means.append(math.fsum(known) / len(known) if known else None)
    return {"in_sample": means[0], "out_of_sample": means[1]}


def _heat(space: Space, points: Points, found: Array) -> dict[str, Any]:
    """The first two parameters across and up; a single one makes a map of one row."""
    names = list(space.axes)
    table = np.array(points, dtype=np.float64)
    up = table[:, 1] if len(names) > 1 else np.zeros(len(table))
    # Random draws hardly ever meet in a cell of their own values: gather them, a few to a cell.
    most = MAX_CELLS if space.draws is None else max(4, math.isqrt(len(points)) * 2 // 3)
    drawn = heat_map(table[:, 0], up, found, most=min(most, MAX_CELLS))
    return {
        "x": {"parameter": names[0], "cells": _cells(drawn.x)},
        "y": {"parameter": names[1], "cells": _cells(drawn.y)} if len(names) > 1 else None,
        "best": _plain(drawn.best),
        "mean": _plain(drawn.mean),
        "others": names[2:],
    }


def _cells(axis: Axis) -> list[list[float]]:
    return [[low, high] for low, high in axis.labels]


def _plain(table: Array) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in table.tolist()]
