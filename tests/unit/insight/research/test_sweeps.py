"""A sweep on files: each figure is that of the backtest, whatever the processes; what fails says so."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from app.insight.backtest.service import prepare_files, run_files
from app.insight.research.domain import Space, Values, combinations, window_scores
from app.insight.research.service import sweep_files
from app.insight.research.service.chunks import Chunk, measure_chunk, setup_of
from app.insight.research.service.pool import run_here
from app.insight.research.service.sweeping import sweep
from app.kernel.errors import DomainError
from app.quant.significance import moments, probabilistic_sharpe
from tests.unit.insight.research.conftest import CROSS, searched, space

RATIOS = ("total_return", "cagr", "volatility", "sharpe", "sortino", "maximum_drawdown")


def found(asked: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    document, rows = sweep_files(asked)
    return document, list(rows)


def test_every_combination_has_the_figures_of_its_backtest() -> None:
    document, rows = found(searched())
    assert len(rows) == document["trials"]["run"] == 12
    for row in rows[::5]:
        parameters = {"fast": row["fast"], "slow": row["slow"]}
        alone = run_files(searched(parameters=parameters).run)
        assert {name: row[name] for name in RATIOS} == {name: alone["metrics"][name] for name in RATIOS}
        assert (row["final_equity"], row["charges"]) == (alone["final_equity"], alone["charges"]["total"])
        assert row["fills"] == len(alone["fills"])
    best = document["best"]
    assert best["digest"] == run_files(searched(parameters=best["parameters"]).run)["program"]["digest"]
    assert best["sharpe"] == max(row["sharpe"] for row in rows) == document["ranking"][0]["sharpe"]


def test_chunks_and_the_order_in_which_they_end_change_nothing() -> None:
    asked = searched(space(slow="20:60:5"))
    ready = prepare_files(asked.run)
    setup = setup_of(CROSS, {}, ready)
    points = combinations(asked.space)

    def backwards(work: Any, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        return run_here(setup, ready.bars, work, reversed(list(chunks)))

    assert sweep(asked.space, points, backwards, size=1) == sweep(asked.space, points, backwards, size=100)


def test_a_combination_that_cannot_run_is_listed_and_the_others_run() -> None:
    document, rows = found(searched(space(fast="0,5,4000,10", slow="20,50")))
    assert document["trials"] == {"combinations": 8, "run": 4, "refused": 4, "earlier": 0}
    assert [row["refusal"] is None for row in rows] == [False, False, True, True, False, False, True, True]
    assert "window" in document["refusals"][0]["reason"] and "bars to begin" in document["refusals"][2]["reason"]
    assert document["significance"]["trials"] == 4
    alone = found(searched(space(fast="5,10", slow="20,50")))[1]
    assert [row for row in rows if row["refusal"] is None] == alone


def test_a_search_of_which_nothing_runs_is_refused_as_its_first_backtest_is() -> None:
    with pytest.raises(DomainError) as alone:
        run_files(searched(parameters={"fast": 0, "slow": 20}).run)
    with pytest.raises(DomainError) as refused:
        sweep_files(searched(space(fast="0,-1")))
    assert (refused.value.code, refused.value.param) == (alone.value.code, alone.value.param)


def test_earlier_trials_lower_the_deflated_sharpe_ratio() -> None:
    fresh, late = (found(searched(earlier=count))[0]["significance"] for count in (0, 5000))
    assert (fresh["trials"], late["trials"]) == (12, 5012)
    assert late["deflated_sharpe"] < fresh["deflated_sharpe"] < fresh["probabilistic_sharpe"]
    assert late["expected_maximum_sharpe"] > fresh["expected_maximum_sharpe"]


def test_significance_is_that_of_the_best_ones_daily_returns() -> None:
    document, rows = found(searched())
    alone = run_files(searched(parameters=document["best"]["parameters"]).run)
    curve = np.array([100000.0, *(float(point["equity"]) for point in alone["equity"])])
    known = moments(curve[1:] / curve[:-1] - 1)
    assert known is not None
    said = document["significance"]
    assert said["sharpe"] == pytest.approx(known.sharpe * math.sqrt(252))
    assert said["probabilistic_sharpe"] == pytest.approx(probabilistic_sharpe(known).value)
    spread = np.std([row["sharpe"] for row in rows], ddof=1)
    assert said["sharpe_deviation_of_trials"] == pytest.approx(spread)


def test_the_heat_map_holds_the_best_of_what_it_does_not_show() -> None:
    over = space(fast="5,10", slow="20,50")
    document, rows = found(searched(Space({**over.axes, "share": Values((0.5, 1))})))
    heat = document["heat_map"]
    assert (heat["x"]["parameter"], heat["y"]["parameter"], heat["others"]) == ("fast", "slow", ["share"])
    for j, (slow, _) in enumerate(heat["y"]["cells"]):
        for i, (fast, _) in enumerate(heat["x"]["cells"]):
            own = [row["sharpe"] for row in rows if (row["fast"], row["slow"]) == (fast, slow)]
            assert heat["best"][j][i] == max(own)
            assert heat["mean"][j][i] == pytest.approx(sum(own) / 2)


def test_stability_is_of_the_steps_around_the_best() -> None:
    document, rows = found(searched())
    best = document["best"]["parameters"]
    near = [
        row["sharpe"]
        for row in rows
        if abs(row["fast"] - best["fast"]) <= 5 and abs(row["slow"] - best["slow"]) <= 10
        and (row["fast"], row["slow"]) != (best["fast"], best["slow"])
    ]  # fmt: skip
    assert document["stability"]["neighbours"] == len(near)
    assert document["stability"]["mean"] == pytest.approx(sum(near) / len(near))
    assert document["stability"]["worst"] == min(near)


def test_a_random_search_repeats_by_its_seed() -> None:
    first, again, other = (
        found(searched(space("integers:3:20", "integers:25:80", 8, seed)))[0]["sha256"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_progress_counts_every_combination() -> None:
    seen: list[tuple[int, int]] = []
    sweep_files(searched(), lambda done, of: seen.append((done, of)))
    assert seen[-1] == (12, 12) and [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("metric", ["sharpe", "sortino", "total_return", "cagr", "maximum_drawdown"])
def test_the_whole_range_as_a_window_scores_as_the_sweep_does(metric: str) -> None:
    rows = found(searched())[1]
    ready = prepare_files(searched(parameters={"fast": 5, "slow": 20}).run)
    equity = ready.run(ready.bars).equity
    score = window_scores(ready.cash, equity, [(0, len(equity)), (100, 101), (5, 40)], metric)
    assert score[0, 0] == pytest.approx(rows[0][metric], rel=1e-12)
    assert math.isnan(score[1, 1])


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        (lambda: searched(metric="luck"), "invalid_sweep", "metric"),
        (lambda: searched(processes=0), "invalid_sweep", "processes"),
        (lambda: searched(earlier=-1), "invalid_sweep", "earlier"),
        (lambda: searched(parameters={"fast": 3}), "invalid_sweep", "grid.fast"),
        (lambda: searched(space(fast="1:100000", slow="1:2")), "invalid_sweep", "grid"),
        (lambda: searched(cash="0"), "invalid_cash", "cash"),
        (lambda: searched(program={"version": 1}), "invalid_program", "name"),
        (lambda: searched(charges="nowhere"), "charge_schedule_not_found", None),
    ],
)
def test_what_cannot_be_searched_is_refused_with_its_place(asked: Any, code: str, param: str | None) -> None:
    with pytest.raises(DomainError) as refused:
        sweep_files(asked())
    assert refused.value.code == code
    assert param is None or refused.value.param == param


def test_a_stop_ends_a_chunk() -> None:
    ready = prepare_files(searched().run)
    setup = setup_of(CROSS, {}, ready)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        measure_chunk(setup, ready.bars, Chunk(0, [{"fast": 5}]), stop)
