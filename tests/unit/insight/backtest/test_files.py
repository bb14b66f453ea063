"""A program on a file of bars: the result document, its repetition, its refusals and its page."""

import json
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from app.engine.columns import Intrabar
from app.engine.terms import Terms
from app.insight.backtest.domain import Plan
from app.insight.backtest.service import FileRun, report_page, run_files, verify_files
from app.kernel.errors import DomainError

LIBRARY = Path(__file__).parents[4] / "app/market/data/library"
GOOG = next(LIBRARY.glob("GOOG-*.parquet"))


def cross(**changes: Any) -> dict[str, Any]:
    def mean(name: str) -> dict[str, Any]:
        return {"op": "sma", "of": {"op": "close"}, "window": {"param": name}}

    above = {"op": "gt", "left": mean("fast"), "right": mean("slow")}
    return {
        "version": 1,
        "name": "cross <&>",
        "parameters": {"fast": 10, "slow": 30},
        "target": {"op": "select", "when": above, "then": 1, "else": 0},
        "rebalance": "on_change",
        **changes,
    }


def mean(window: int) -> dict[str, Any]:
    return {"op": "sma", "of": {"op": "close"}, "window": window}


def request(**changes: Any) -> FileRun:
    options: dict[str, Any] = {
        "program": cross(), "files": [GOOG], "cash": "100000", "charges": "us_equity", "currency": "USD",
    }  # fmt: skip
    return FileRun(**options | changes)


def csv(folder: Path, *rows: str) -> Path:
    file = folder / "ONE.csv"
    file.write_text("\n".join(("date,open,high,low,close,volume", *rows)) + "\n")
    return file


def test_the_same_run_gives_the_same_bytes() -> None:
    first, second = (json.dumps(run_files(request())) for _ in range(2))
    assert first == second


def test_the_money_of_the_document_adds_up() -> None:
    result = run_files(request())
    cash = Decimal(result["initial_cash"])
    charges = Decimal(0)
    for fill in result["fills"]:
        sign = -1 if fill["side"] == "buy" else 1
        cash += sign * Decimal(fill["notional"]) - Decimal(fill["charges"])
        charges += Decimal(fill["charges"])
        assert cash == Decimal(fill["cash_after"])
    assert cash == Decimal(result["final_cash"])
    assert charges == Decimal(result["charges"]["total"])
    profit = sum(Decimal(trade["profit"]) for trade in result["trades"])
    held = next(one for one in result["positions"] if one["quantity"] != "0")
    open_charges = Decimal(result["fills"][-1]["charges"])
    assert cash == Decimal(result["initial_cash"]) + profit - Decimal(held["cost"]) - open_charges
    assert Decimal(result["final_equity"]) == Decimal(result["equity"][-1]["equity"])
    assert result["orders"]["sent"] == result["orders"]["filled"] + result["orders"]["unaffordable"]


def test_progress_reaches_the_last_bar() -> None:
    seen: list[tuple[int, int]] = []
    run_files(request(), lambda done, of: seen.append((done, of)))
    assert seen[-1] == (2148, 2148)


def test_a_start_warms_up_and_an_end_cuts() -> None:
    result = run_files(request(start=date(2006, 1, 1), end=date(2007, 12, 31)))
    assert result["equity"][0] == {"date": "2006-01-03", "equity": "100000.00"}
    assert result["equity"][-1]["date"] == "2007-12-31"
    assert result["fills"][0]["at"] >= "2006-01-03"


def test_parameters_of_the_caller_replace_the_defaults() -> None:
    changed = run_files(request(parameters={"fast": 5}))
    assert changed["program"]["parameters"] == {"fast": 5, "slow": 30}
    assert changed["sha256"] != run_files(request())["sha256"]


def test_every_check_passes_on_files() -> None:
    assert all(check.passed for check in verify_files(request()))


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"cash": "0"}, "invalid_cash", "cash"),
        ({"cash": "ten"}, "invalid_decimal", "cash"),
        ({"charges": "nowhere"}, "charge_schedule_not_found", None),
        ({"charges": "nse_equity"}, "charges_unknown", "charges"),
        ({"files": []}, "invalid_bars", "bars"),
        ({"files": [GOOG, GOOG]}, "invalid_bars", "bars"),
        ({"program": {"version": 1}}, "invalid_program", "name"),
        ({"program": cross(target=mean(0))}, "invalid_program", "target.window"),
        ({"program": cross(target={"op": "magic"})}, "invalid_program", "target.op"),
        ({"parameters": {"fast": 4999, "slow": 5000}}, "too_few_bars", "bars"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_its_place(changes: dict[str, Any], code: str, param: str | None) -> None:
    with pytest.raises(DomainError) as refused:
        run_files(request(**changes))
    assert refused.value.code == code
    assert param is None or refused.value.param == param


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(DomainError, match="before the start") as refused:
        run_files(request(start=date(2008, 1, 1), end=date(2007, 1, 1)))
    assert refused.value.param == "end"
    with pytest.raises(DomainError, match="No bar lies"):
        run_files(request(start=date(2030, 1, 1)))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2024-01-03,nan,2,1,2,5", "row 2, column open"),
        ("2024-01-02,1,2,1,2,5", "repeats"),
        ("2024-01-01,1,2,1,2,5", "is before"),
        ("2024-01-03,1,2,3,2,5", "high is below low"),
        ("2024-01-03,,2,1,2,5", "is empty"),
        ("2024-01-03,1,2,1,2", "row 2 has 5 cells"),
    ],
)
def test_faulty_bars_name_row_and_column(tmp_path: Path, row: str, reason: str) -> None:
    file = csv(tmp_path, "2024-01-02,1,2,1,2,5", row)
    with pytest.raises(DomainError, match=reason):
        run_files(request(files=[file], charges="zero"))


def test_bare_dates_are_trading_dates(tmp_path: Path) -> None:
    rows = [f"2024-{month:02}-{day:02},100,101,99,100,5" for month in (1, 2) for day in range(1, 29)]
    result = run_files(request(files=[csv(tmp_path, *rows)], charges="zero"))
    assert [point["date"] for point in result["equity"]][::55] == ["2024-01-01", "2024-02-28"]
    assert {point["equity"] for point in result["equity"]} == {"100000.00"}
    assert result["metrics"]["sharpe"] is None
    assert "do not vary" in result["undefined"]["sharpe"]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("months", [0, 1])
def test_the_page_is_whole_alone_and_escaped(tmp_path: Path, months: int) -> None:
    result = run_files(request())
    if not months:
        result = result | {"trades": [], "fills": [], "equity": result["equity"][:1]}
    page = report_page(result)
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.links == []
    assert "<script" not in page and "http" not in page
    assert "cross &lt;&amp;&gt;" in page and "cross <&>" not in page
    assert result["sha256"] in page


FUTURE_DAYS = (
    "2025-03-24,100,101,99,100,1000", "2025-03-25,100,111,100,110,1000", "2025-03-26,108,112,103,104,1000",
    "2025-03-27,106,113,105,112,1000", "2025-03-28,112,113,111,112,1000",
)  # fmt: skip
BUY_TWO: dict[str, Any] = {
    "version": 1, "name": "two", "trades": {"long": {"enter": "close > 105"}}, "sizing": {"type": "units", "units": 2},
}  # fmt: skip


def future(folder: Path, **changes: Any) -> FileRun:
    options: dict[str, Any] = {
        "program": BUY_TWO, "files": [csv(folder, *FUTURE_DAYS)], "cash": "10000", "charges": "nse_futures",
        "currency": "INR", "kind": "future", "multiplier": "50", "expiry": date(2025, 3, 27),
    }  # fmt: skip
    return FileRun(**options | changes)


def test_a_future_in_a_file_is_settled_on_its_expiry(tmp_path: Path) -> None:
    result = run_files(future(tmp_path))
    assert [(fill["at"][:10], fill["reason"], fill["price"]) for fill in result["fills"]] == [
        ("2025-03-26", "enter", "108.0000"), ("2025-03-27", "expiry", "112.0000"),
    ]  # fmt: skip
    assert result["final_cash"] == result["final_equity"] == "10395.93"  # 400 less 4.07
    assert result["trades"][0]["profit"] == "395.93"
    assert result["data"]["contract"] == {"kind": "future", "multiplier": "50", "strike": None}
    assert "settled in cash" in result["assumptions"]["expiry"]
    assert "expiry" in report_page(result)


def test_a_settlement_price_may_be_given_and_an_expiry_may_lie_past_the_bars(tmp_path: Path) -> None:
    settled = run_files(future(tmp_path, settlement="100", charges="zero"))
    assert settled["final_cash"] == "9200.00"
    still_open = run_files(future(tmp_path, expiry=date(2025, 4, 24), charges="zero"))
    assert [fill["reason"] for fill in still_open["fills"]] == ["enter"]
    assert (still_open["final_cash"], still_open["final_equity"]) == ("10000.00", "10400.00")


def test_an_option_in_a_file_has_its_strike(tmp_path: Path) -> None:
    result = run_files(future(tmp_path, kind="option", multiplier="0.5", strike="95.5", charges="nse_options"))
    assert result["data"]["contract"] == {"kind": "option", "multiplier": "1/2", "strike": "95.5000"}
    assert result["fills"][0]["notional"] == "108.00"


def test_an_option_that_ends_worthless_is_a_trade_that_lost_its_premium(tmp_path: Path) -> None:
    result = run_files(future(tmp_path, kind="option", strike="95.5", charges="zero", settlement="0", cash="20000"))
    assert [trade["profit"] for trade in result["trades"]] == ["-10800.00"]
    assert result["fills"][1]["price"] == "0.0000"


def test_every_check_passes_on_a_file_of_a_future(tmp_path: Path) -> None:
    assert all(check.passed for check in verify_files(future(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"kind": "bond"}, "instruments[0]"),
        ({"kind": "option"}, "instruments[0]"),
        ({"multiplier": "many"}, "multiplier"),
        ({"multiplier": "1/0"}, "multiplier"),
        ({"multiplier": "-1"}, "instruments[0]"),
        ({"kind": "option", "strike": "high"}, "strike"),
        ({"settlement": "low"}, "settlement"),
        ({"expiry": None, "settlement": "100"}, "expiry"),
        ({"expiry": date(2025, 3, 21)}, "expiry"),
        ({"kind": "equity", "multiplier": "1"}, "events"),
    ],
)
def test_a_contract_that_cannot_be_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(DomainError) as refused:
        run_files(future(tmp_path, **changes))
    assert refused.value.param == param


def _quiet(result: dict[str, Any]) -> dict[str, Any]:
    orders = result["orders"] | {"unaffordable": 0, "expired": 0, "cancelled": 0}
    return result | {"orders": orders, "margin_calls": 0, "ambiguous_bars": 0, "borrow_cost": "0.00"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"orders": {"unaffordable": 3}}, "<b>3</b> of 161 orders cost more than the cash"),
        ({"orders": {"expired": 1_234}}, "<b>1,234</b> of 161 orders expired"),
        ({"orders": {"cancelled": 2}}, "<b>2</b> of 161 orders were withdrawn"),
        ({"margin_calls": 4}, "<b>4</b> times the equity fell below the maintenance margin"),
        ({"ambiguous_bars": 5}, "<b>5</b> fills hang on the order"),
        ({"borrow_cost": "1095.95"}, "1,095.95"),
    ],
)  # fmt: skip
def test_the_page_says_what_would_mislead_and_only_then(changes: dict[str, Any], said: str) -> None:
    quiet = _quiet(run_files(request()))
    orders = quiet["orders"] | {"sent": 161} | changes.pop("orders", {})
    assert said in report_page(quiet | {"orders": orders} | changes)
    assert 'class="note' not in report_page(quiet)
    assert "borrowing, beside" not in report_page(quiet)


def test_the_page_shows_a_short_trade_as_such_and_what_is_still_held() -> None:
    result = run_files(request())
    trade = {**result["trades"][0], "side": "sell", "entry": "200.00", "exit": "150.00", "quantity": "1234"}
    page = report_page(result | {"trades": [trade]})
    row = page[page.index('<td class="left">short</td>') :]
    assert row.index("1,234") < row.index("150.00") < row.index("200.00")
    assert "Open at the end" in page
    flat = [one | {"quantity": "0"} for one in result["positions"]]
    assert "Open at the end" not in report_page(result | {"positions": flat})


def test_finer_bars_are_read_from_files_of_their_own_and_named_in_the_document() -> None:
    """Bars that are their own finer ones trade as they do alone."""
    finer = run_files(request(finer=[GOOG], terms=Terms(intrabar=Intrabar.LOWER)))
    alone = run_files(request())
    assert finer["sha256"] == alone["sha256"]
    assert finer["data"]["finer"] == [{key: alone["data"]["instruments"][0][key] for key in ("file", "sha256")}]
    assert "finer" not in alone["data"]
    with pytest.raises(DomainError) as refused:
        run_files(request(finer=[GOOG]))
    assert refused.value.param == "intrabar"
    with pytest.raises(DomainError) as refused:
        verify_files(request(finer=[GOOG], terms=Terms(intrabar=Intrabar.LOWER)))
    assert refused.value.param == "finer"


def test_interest_is_shown_where_cash_earned_some() -> None:
    result = run_files(request(terms=Terms(interest_bps=400)))
    assert Decimal(result["interest"]) > 0
    assert "interest earned, beside the charges" in report_page(result)
    without = run_files(request())
    assert "interest" not in without
    assert "interest earned" not in report_page(without)


def test_the_digest_of_the_data_covers_finer_bars(tmp_path: Path) -> None:
    rows = [f"2024-01-0{day},{day},{day}.5,{day},{day},10" for day in range(1, 10)]
    daily = csv(tmp_path, *rows)
    program = cross(parameters={"fast": 1, "slow": 2})
    options: dict[str, Any] = {"program": program, "files": [daily], "charges": "zero"}
    plain = run_files(request(**options))["data"]["manifest_sha256"]
    (tmp_path / "finer").mkdir()
    found = {plain}
    for volumes in (rows, [row.replace(",10", ",20") for row in rows]):
        finer = [csv(tmp_path / "finer", *volumes)]
        document = run_files(request(**options, finer=finer, terms=Terms(intrabar=Intrabar.LOWER)))
        found.add(document["data"]["manifest_sha256"])
    assert len(found) == 3


def test_a_plan_stored_before_there_were_finer_bars_and_interest_loads() -> None:
    terms = {"intrabar": 1, "participation_bps": None, "margin_bps": 10_000, "maintenance_bps": 2_500, "borrow_bps": 0}
    stored: dict[str, Any] = {
        "program": cross(), "parameters": {}, "interval": "1d", "start": None, "end": "2010-12-31", "cash": 100_000_00,
        "charges": "us_equity", "product": "delivery", "slippage_bps": 5, "terms": terms,
        "listed": [
            {
                "instrument_id": "01a215bc-dbd5-77a9-934c-c030d8859b2a", "symbol": "GOOG", "currency": "USD",
                "price_exp": 4, "qty_exp": 0, "tick": 100, "lot": 1, "path": "bars/x.parquet", "sha256": "0" * 64,
                "actions": [],
            }
        ],
    }  # fmt: skip
    plan = Plan.from_json(stored)
    assert (plan.finer_interval, plan.finer, plan.terms) == (None, (), Terms(intrabar=Intrabar.PATH))
    assert Plan.from_json(plan.to_json()) == plan
