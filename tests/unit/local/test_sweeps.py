"""The `mandi sweep` commands: what they print and write, and what they refuse."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app

ROOT = Path(__file__).parents[3]
IBM = str(next((ROOT / "app/market/data/library").glob("IBM-*.parquet")))
PROGRAM = {
    "version": 1, "name": "Crossing", "parameters": {"fast": 10, "slow": 30},
    "target": "1 if sma(close, fast) > sma(close, slow) else 0", "rebalance": "on_change",
}  # fmt: skip


def mandi(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    file = tmp_path / "p.json"
    file.write_text(json.dumps(PROGRAM))
    return ["--program", str(file), "--bars", IBM, "--cash", "100000", "--currency", "USD", "--end", "2003-12-31"]


def test_a_sweep_prints_its_document_and_writes_page_and_trials(options: list[str], tmp_path: Path) -> None:
    page, trials = tmp_path / "s.html", tmp_path / "s.csv"
    grid = ["--grid", "fast=5:15:5", "--grid", "slow=20,50"]
    code, out, err = mandi("sweep", "run", *options, *grid, "--json", "--report", str(page), "--trials", str(trials))
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["trials"]["run"] == 6 and result["sha256"] in page.read_text()
    with trials.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["fast"], row["slow"]) for row in rows] == [(f, s) for f in ("5", "10", "15") for s in ("20", "50")]
    assert max(float(row["sharpe"]) for row in rows) == result["best"]["sharpe"]
    code, out, _ = mandi("sweep", "run", *options, *grid)
    assert code == 0 and "6 of 6 combinations ran" in out and "trials" in out


def test_random_draws_come_from_ranges(options: list[str]) -> None:
    grid = ["--grid", "fast=integers:3:15", "--grid", "slow=20:60:10", "--random", "5", "--seed", "3"]
    code, out, _ = mandi("sweep", "run", *options, *grid, "--json", "--metric", "total_return")
    result = json.loads(out)
    assert code == 0 and result["space"]["seed"] == 3 and result["metric"] == "total_return"
    assert mandi("sweep", "run", *options, *grid, "--json", "--metric", "total_return")[1] == out


def test_a_walk_forward_prints_its_folds(options: list[str], tmp_path: Path) -> None:
    page = tmp_path / "w.html"
    lengths = ["--grid", "fast=5,10", "--grid", "slow=30", "--train", "300", "--test", "150", "--purge", "5"]
    code, out, err = mandi("sweep", "walkforward", *options, *lengths, "--json", "--report", str(page))
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["cut"]["unit"] == "trading dates" and result["sha256"] in page.read_text()
    code, out, _ = mandi("sweep", "walkforward", *options, *lengths, "--embargo", "2", "--anchored")
    assert code == 0 and "Out of sample" in out and result["folds"][0]["test"]["to"] not in ("", None)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (["--grid", "fast"], "not name=values"),
        (["--grid", "fast=5", "--grid", "fast=6"], "given twice"),
        (["--grid", "fats=5"], "fast, slow"),
        (["--grid", "fast=x"], "'x' is no number"),
        (["--grid", "fast=uniform:1:2"], "random"),
        (["--grid", "fast=1:9", "--metric", "luck"], "luck"),
        (["--grid", "fast=5:1"], "not below start"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(options: list[str], given: list[str], place: str) -> None:
    code, out, err = mandi("sweep", "run", *options, *given)
    assert (code, out) == (1, "") and place in err and err.startswith("mandi: ") and err.count("\n") == 1
