"""A walk-forward on files: chosen on the past alone, judged on what follows, chained to the cent."""

import shutil
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.insight.backtest.service import run_files
from app.insight.research.service import Cut, walk_files
from app.kernel.errors import DomainError
from tests.unit.insight.research.conftest import GOOG, searched, space

CUT = Cut(train=250, test=100, purge=5, embargo=3)


@pytest.fixture(scope="module")
def walked() -> dict[str, Any]:
    return walk_files(searched(), CUT)


def test_the_chained_curve_is_the_chosen_ones_returns(walked: dict[str, Any]) -> None:
    cash, at = Decimal("100000.00"), 0
    for fold in walked["folds"]:
        alone = run_files(searched(parameters=fold["parameters"]).run)
        curve = {point["date"]: Decimal(point["equity"]) for point in alone["equity"]}
        days = sorted(curve)
        first = days.index(fold["test"]["from"])
        held = curve[days[first - 1]]
        for day in days[first : days.index(fold["test"]["to"]) + 1]:
            expected = (cash * curve[day] / held).quantize(Decimal("0.01"), ROUND_HALF_UP)
            assert walked["equity"][at] == {"date": day, "equity": str(expected)}
            at += 1
        cash = expected
        assert fold["out_of_sample"]["final_equity"] == str(cash)
        fills = [fill for fill in alone["fills"] if fold["test"]["from"] <= fill["at"][:10] <= fold["test"]["to"]]
        assert fold["out_of_sample"]["fills"] == len(fills)
        assert Decimal(fold["out_of_sample"]["charges"]) == sum((Decimal(f["charges"]) for f in fills), Decimal(0))
    assert at == len(walked["equity"]) and walked["out_of_sample"]["final_equity"] == str(cash)


def test_each_fold_chooses_the_best_of_its_training_dates(walked: dict[str, Any]) -> None:
    fold = walked["folds"][1]
    best = []
    for fast in (5, 10, 15):
        for slow in (20, 30, 40, 50):
            alone = run_files(searched(parameters={"fast": fast, "slow": slow}).run)
            points = [(p["date"], float(p["equity"])) for p in alone["equity"] if p["date"] <= fold["train"]["to"]]
            values = [value for day, value in points if day >= fold["train"]["from"]]
            before = [value for day, value in points if day < fold["train"]["from"]][-1]
            steps = [new / old - 1 for old, new in zip([before, *values], values, strict=False)]
            mean = sum(steps) / len(steps)
            deviation = (sum((step - mean) ** 2 for step in steps) / (len(steps) - 1)) ** 0.5
            best.append((mean / deviation * 252**0.5, {"fast": fast, "slow": slow}))
    sharpe, parameters = max(best, key=lambda item: item[0])
    assert fold["parameters"] == parameters
    assert fold["in_sample"]["sharpe"] == pytest.approx(sharpe)


def test_the_future_changes_no_fold_that_is_over(tmp_path: Path, walked: dict[str, Any]) -> None:
    frame = pl.read_parquet(GOOG)
    metadata = pl.read_parquet_metadata(GOOG)
    file = tmp_path / GOOG.name
    kept = {key: value for key, value in metadata.items() if key.startswith("mandi.")}
    frame.head(720).write_parquet(file, metadata=kept)
    short = walk_files(searched(files=[file]), CUT)
    for ours, theirs in zip(short["folds"][:-1], walked["folds"], strict=False):
        assert ours == theirs
    assert short["equity"][:300] == walked["equity"][:300]
    shutil.rmtree(tmp_path)


def test_tests_tile_the_dates_and_keep_their_distance(walked: dict[str, Any]) -> None:
    alone = run_files(searched().run)
    days = [point["date"] for point in alone["equity"]]
    assert [point["date"] for point in walked["equity"]] == days[258:]
    for fold in walked["folds"]:
        assert days.index(fold["test"]["from"]) - days.index(fold["train"]["to"]) == 9
        assert days.index(fold["train"]["to"]) - days.index(fold["train"]["from"]) == 249
    anchored = walk_files(searched(), Cut(250, 100, anchored=True))
    assert {fold["train"]["from"] for fold in anchored["folds"]} == {days[0]}


def test_trials_are_the_combinations(walked: dict[str, Any]) -> None:
    assert walked["trials"] == {"combinations": 12, "run": 12, "refused": 0, "earlier": 0}
    assert walked["significance"]["trials"] == 12
    again = walk_files(searched(earlier=88), CUT)
    assert again["significance"]["trials"] == 100
    assert again["significance"]["deflated_sharpe"] < walked["significance"]["deflated_sharpe"]


def test_a_start_leaves_earlier_dates_as_warm_up() -> None:
    found = walk_files(searched(start=date(2006, 1, 1)), CUT)
    assert found["folds"][0]["train"]["from"] == "2006-01-03"


def test_a_combination_that_never_warms_up_cannot_break_a_fold() -> None:
    found = walk_files(searched(space(fast="5", slow="900"), metric="total_return"), CUT)
    assert found["folds"][0]["out_of_sample"]["fills"] == 0
    assert found["equity"][0]["equity"] == "100000.00"


@pytest.mark.parametrize(
    ("cut", "param"), [(Cut(5000, 10), "train"), (Cut(250, 0), "test"), (Cut(250, 100, purge=-1), "purge")]
)
def test_folds_that_do_not_fit_are_refused(cut: Cut, param: str) -> None:
    with pytest.raises(DomainError) as refused:
        walk_files(searched(), cut)
    assert (refused.value.code, refused.value.param) == ("invalid_folds", param)
