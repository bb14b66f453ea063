"""The `mandi` commands that need no stack: backtest run, strategies validate, schema and verify, charges."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app

LIBRARY = Path(__file__).parents[3] / "app/market/data/library"
IBM = str(next(LIBRARY.glob("IBM-*.parquet")))
CLOSE = {"op": "close"}
PROGRAM: dict[str, Any] = {
    "version": 1,
    "name": "Above its mean",
    "parameters": {"window": 50},
    "target": {
        "op": "select",
        "when": {"op": "gt", "left": CLOSE, "right": {"op": "sma", "of": CLOSE, "window": {"param": "window"}}},
        "then": 1,
        "else": 0,
    },
    "rebalance": "on_change",
}
TRADES = [
    {"side": "buy", "quantity": 400, "price": 1000, "on": "2026-11-02", "product": "intraday"},
    {"side": "sell", "quantity": 400, "price": "1100.00", "on": "2026-11-02", "product": "intraday"},
    {"side": "buy", "quantity": 20, "price": 103.30, "on": "2026-11-03", "product": "intraday"},
    {"side": "sell", "quantity": 20, "price": 103.55, "on": "2026-11-03", "product": "intraday"},
]


def mandi(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments), input=given)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def program(tmp_path: Path) -> str:
    file = tmp_path / "p.json"
    file.write_text(json.dumps(PROGRAM))
    return str(file)


def test_a_backtest_prints_its_document_and_writes_its_page(program: str, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    arguments = ["backtest", "run", "--program", program, "--bars", IBM, "--cash", "100000", "--currency", "USD"]
    code, out, err = mandi(*arguments, "--charges", "us_equity", "--json", "--report", str(page))
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["initial_cash"] == "100000.00"
    assert len(result["fills"]) > 50
    assert result["sha256"] in page.read_text()
    code, out, _ = mandi(*arguments)
    assert code == 0
    assert "Above its mean" in out and "unaffordable" in out


def test_trades_run_on_the_terms_that_are_given(tmp_path: Path) -> None:
    document = {
        "version": 1, "name": "Bracket", "sizing": {"type": "risk", "risk_bps": 100},
        "trades": {
            "long": {"enter": "close > sma(close, 50)", "exit": "close < sma(close, 50)"},
            "stop_loss": {"distance": "0.5 * atr(14)"}, "take_profit": {"percent": 1},
        },
    }  # fmt: skip
    file = tmp_path / "b.json"
    file.write_text(json.dumps(document))
    arguments = ["backtest", "run", "--program", str(file), "--bars", IBM, "--cash", "100000", "--currency", "USD"]
    plain = json.loads(mandi(*arguments, "--json")[1])
    path = json.loads(mandi(*arguments, "--json", "--term", "intrabar=path", "--term", "participation_bps=1")[1])
    assert {fill["reason"] for fill in plain["fills"]} >= {"enter", "exit", "stop_loss", "take_profit"}
    assert plain["assumptions"]["intrabar"].startswith("pessimistic") and plain["ambiguous_bars"] > 0
    assert path["assumptions"]["intrabar"].startswith("path") and path["sha256"] != plain["sha256"]
    lower = json.loads(mandi(*arguments, "--json", "--term", "intrabar=lower", "--finer", IBM)[1])
    assert lower["sha256"] == plain["sha256"]  # the same bars as their own finer ones
    assert lower["assumptions"]["intrabar"].startswith("lower") and lower["data"]["finer"]
    assert "policy lower" in mandi(*arguments, "--term", "intrabar=lower")[2]
    for wrong, word in (("leverage=2", "leverage"), ("margin_bps=x", "margin_bps"), ("margin_bps=1", "from 100")):
        code, _, err = mandi(*arguments, "--term", wrong)
        assert code == 1 and word in err


def test_a_parameter_is_overridden_by_name(program: str) -> None:
    digests = [
        json.loads(mandi("strategies", "validate", program, *more)[1])["digest"]
        for more in ([], ["--param", "window=20"])
    ]
    assert digests[0] != digests[1]
    code, _, err = mandi("strategies", "validate", program, "--param", "windw=20")
    assert code == 1 and "parameters.windw" in err and "window" in err
    assert "not name=number" in mandi("strategies", "validate", program, "--param", "window")[2]


def test_a_refused_program_names_the_node(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps(PROGRAM | {"target": {"op": "sma", "of": {"op": "open"}, "window": -3}}))
    code, out, err = mandi("strategies", "validate", str(file))
    assert (code, out) == (1, "") and "target.window" in err
    for text in ("{", "[]", "[" * 100_000):
        file.write_text(text)
        code, _, err = mandi("strategies", "validate", str(file))
        assert code == 1 and err.startswith("mandi: ")


def test_the_schema_is_json() -> None:
    code, out, _ = mandi("strategies", "schema")
    assert code == 0 and "word_sma" in json.loads(out)["$defs"]


def test_verify_says_what_it_compared(program: str) -> None:
    code, out, _ = mandi("strategies", "verify", program, "--bars", IBM, "--currency", "USD", "--json")
    checks = json.loads(out)
    assert code == 0
    assert {check["name"] for check in checks} == {"blocks", "prefix", "shuffled_future"}
    assert all(check["passed"] for check in checks)


def test_charges_of_a_list_are_the_notes_of_its_days(tmp_path: Path) -> None:
    code, out, _ = mandi("charges", "--schedule", "nse_equity", "--json", given=json.dumps(TRADES))
    assert code == 0
    found = json.loads(out)
    assert [note["total"] for note in found["notes"]] == ["200.62", "2.62"]
    assert found["notes"][0]["heads"]["stt"] == "110.00"
    assert found["total"] == "203.24"
    file = tmp_path / "trades.json"
    file.write_text(json.dumps(TRADES))
    assert json.loads(mandi("charges", str(file), "--schedule", "nse_equity", "--json")[1]) == found
    assert "200.62" in mandi("charges", str(file), "--schedule", "nse_equity")[1]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "not JSON"),
        ("{}", "trades"),
        ('[{"side": "hold", "quantity": 1, "price": 1, "on": "2026-11-02"}]', "trades.0.side"),
        ('[{"side": "buy", "quantity": 0, "price": 1, "on": "2026-11-02"}]', "trades.0.quantity"),
        ('[{"side": "buy", "quantity": 1, "price": -1, "on": "2026-11-02"}]', "trades.0.price"),
        ('[{"side": "buy", "quantity": 1, "price": NaN, "on": "2026-11-02"}]', "trades.0.price"),
        ('[{"side": "buy", "quantity": 1, "price": 1.00001, "on": "2026-11-02"}]', "price"),
        ('[{"side": "buy", "quantity": 1, "price": 1, "on": "1990-01-01"}]', "1990-01-01"),
        ('[{"side": "buy", "quantity": 1, "price": 1, "on": "2026-11-02", "venue": 1}]', "trades.0.venue"),
    ],
)
def test_faulty_trades_are_refused_with_their_place(text: str, place: str) -> None:
    code, out, err = mandi("charges", "--schedule", "nse_equity", "--json", given=text)
    assert (code, out) == (1, "") and place in err


def test_an_unknown_schedule_is_refused() -> None:
    code, _, err = mandi("charges", "--schedule", "nowhere", given="[]")
    assert code == 1 and "nowhere" in err
