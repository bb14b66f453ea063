"""`/v1/backtests`: asked for, run, read; and every way to ask for what cannot run."""

import hashlib
import json
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from app.engine.bars import Split, align, day_number
from app.engine.columns import Intrabar
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import backtest
from app.engine.terms import Terms
from app.kernel.ids import decode_id, encode_id, uuid7
from app.market.data.domain import to_us
from app.market.data.service import import_bars, load_bars
from app.market.instruments.service import splits_of
from app.trading.strategies.service import build_program
from tests.factories.minutes import write_minutes
from tests.integration.insight.conftest import Desk, instrument

pytestmark = pytest.mark.integration
ABOVE = {
    "version": 1,
    "name": "above",
    "parameters": {"window": 50},
    "target": {
        "op": "select",
        "when": {
            "op": "gt",
            "left": {"op": "close"},
            "right": {"op": "sma", "of": {"op": "close"}, "window": {"param": "window"}},
        },
        "then": 1,
        "else": 0,
    },
    "rebalance": "on_change",
}
PROGRAM: dict[str, Any] = {"template": None, "program": ABOVE}


async def test_a_backtest_is_queued_run_and_read(desk: Desk) -> None:
    answer = await desk.post(name="mine")
    assert answer.status_code == 202
    queued = answer.json()
    assert answer.headers["location"] == f"/v1/backtests/{queued['id']}"
    assert (queued["status"], queued["bars_done"], queued["attempts"], queued["result"]) == ("queued", 0, 0, None)
    early = await desk.get(f"{queued['id']}/result")
    assert (early.status_code, early.json()["code"]) == (409, "backtest_not_succeeded")
    assert (await desk.get(f"{queued['id']}/report")).status_code == 409

    assert await desk.work() == 1
    done = await desk.shown(queued["id"])
    assert (done["status"], done["attempts"], done["bars_done"]) == ("succeeded", 1, done["bars"])
    assert done["name"] == "mine" and done["cash"] == "100000.00" and done["currency"] == "USD"
    answer = await desk.get(f"{queued['id']}/result")
    assert answer.headers["content-type"] == "application/json"
    assert done["result"]["sha256"] == hashlib.sha256(answer.content).hexdigest() == answer.headers["etag"].strip('"')
    document = answer.json()
    assert document["program"]["digest"] == done["digest"]
    assert document["data"]["manifest_sha256"] == done["result"]["manifest_sha256"]
    assert document["metrics"] == done["result"]["metrics"]
    assert document["charges"]["total"] == done["result"]["charges"]
    assert len(document["fills"]) == done["result"]["fills"] > 10
    assert {"reason", "cause"} <= document["fills"][0].keys()
    assert document["equity"][0]["date"] == "2003-01-02"
    assert document["seed"] is None and document["trades"] and document["assumptions"]
    assert await desk.events() == ["backtest.created", "backtest.succeeded"]
    listed = await desk.client.get("/v1/backtests?status=succeeded", headers=desk.tenant.headers)
    assert [one["id"] for one in listed.json()["data"]] == [queued["id"]]


async def test_the_report_is_a_page_of_its_own_that_may_run_nothing(desk: Desk) -> None:
    backtest_id = await desk.made()
    await desk.work()
    page = await desk.get(f"{backtest_id}/report")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy and "frame-ancestors 'none'" in policy
    assert page.text.startswith("<!doctype html>") and page.text.count("<svg") == 4
    assert "http" not in page.text and "<script" not in page.text
    other = await desk.get(backtest_id)
    assert other.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_two_identical_backtests_give_identical_bytes(desk: Desk) -> None:
    first, second = await desk.made(name="one"), await desk.made(name="two")
    await desk.work()
    assert (await desk.get(f"{first}/result")).content == (await desk.get(f"{second}/result")).content
    other = await desk.made(slippage_bps=6)
    await desk.work()
    assert (await desk.get(f"{other}/result")).content != (await desk.get(f"{first}/result")).content


async def test_the_result_is_the_engines_own_on_the_stored_bars(desk: Desk) -> None:
    """With a split in it: MSFT's of 18 February 2003."""
    symbols = (("AAPL", "XNAS"), ("IBM", "XNYS"), ("MSFT", "XNAS"))
    document = await desk.ran(
        template="momentum",
        instruments=[instrument(*one) for one in symbols],
        start="2003-01-01",
        end="2005-12-30",
        terms={"intrabar": "path", "participation_bps": 1000},
    )
    pool, ids = desk.app.database.pool, [decode_id("ins", instrument(*one)) for one in symbols]
    series, splits = [], []
    for one in ids:
        found = await load_bars(pool, desk.app.settings.data_dir, one, "1d", None, datetime(2005, 12, 31, tzinfo=UTC))
        columns = {name: getattr(found, name) for name in ("open", "high", "low", "close", "volume")}
        series.append({"times": found.at_us, "days": found.at_us // 86_400_000_000, **columns})
    bars = align(series)
    for slot, one in enumerate(ids):
        for split in await splits_of(pool, one):
            row = int(bars.times.searchsorted(to_us(split.effective_at)))
            if row < bars.rows:
                splits.append(Split(row, slot, split.numerator, split.denominator))
    result = backtest(
        compile_program(build_program("momentum", {}, 3)),
        bars,
        instruments=[Instrument(one, "USD", 4, tick=100, lot=1) for one in ids],
        cash=100_000_00,
        schedule=schedule_named("us_equity"),
        slippage=SlippageModel(5),
        terms=Terms(intrabar=Intrabar.PATH, participation_bps=1000),
        events=splits,
        trade_from=int(np.searchsorted(bars.days, day_number(date(2003, 1, 1)))),
    )
    assert len(result.fills) > 10
    assert document["sha256"] == result.sha256()
    assert "2003-02-18 split 2:1" in document["data"]["instruments"][2]["actions"]


async def test_a_stored_strategy_runs_as_it_would_be_deployed(desk: Desk) -> None:
    body = {"name": "s", "template": "sma_cross", "parameters": {"fast": 5, "slow": 20}}
    made = await desk.client.post("/v1/strategies", headers=desk.tenant.headers, json=body)
    by_id = await desk.ran(template=None, strategy_id=made.json()["id"])
    assert by_id == await desk.ran(parameters={"fast": 5, "slow": 20})
    assert by_id != await desk.ran()


async def test_a_program_runs_with_numbers_that_replace_its_own(desk: Desk) -> None:
    document = await desk.ran(**PROGRAM, parameters={"window": 20})
    assert document["program"]["parameters"] == {"window": 20}


async def test_history_before_the_start_only_warms_up(desk: Desk) -> None:
    document = await desk.ran(start="2004-01-02", end="2004-12-31")
    assert document["data"]["first_bar"] < "2000-04"
    assert document["data"]["traded_from"].startswith("2004-01-02")
    assert all(fill["at"] >= "2004-01-02" for fill in document["fills"])
    assert document["equity"][-1]["date"] == "2004-12-31"


def _with(**changes: Any) -> dict[str, Any]:
    return PROGRAM | {"program": ABOVE | changes}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"template": None}, "one_program", "program"),
    ({"program": ABOVE}, "one_program", "program"),
    ({"template": "no_such"}, "unknown_template", "template"),
    ({"parameters": {"fast": 0}}, "invalid_parameters", "parameters.fast"),
    ({"template": "pairs"}, "invalid_parameters", "instruments"),
    ({"template": "opening_range"}, "needs_intraday_bars", "interval"),
    (_with(target=None), "invalid_program", "program.target"),
    (_with(target={"op": "magic"}), "invalid_program", "program.target.op"),
    (_with(target={"op": "sma", "of": {"op": "close"}, "window": 0}), "invalid_program", "program.target.window"),
    (_with(target="1 if cloze > 3 else 0"), "invalid_program", "program.target"),
    (_with(colour="red"), "invalid_program", "program.colour"),
    (_with(target={"op": "sma", "of": {"op": "close"}, "window": 5000}), "too_few_bars", "program"),
    (_with(target={"op": "sma", "of": {"op": "close"}, "window": 2000}) | {"end": "2004-01-01"}, "too_few_bars",
     "program"),
    (PROGRAM | {"parameters": {"window": 9999}}, "invalid_program", "program.target.when.right.window"),
    (PROGRAM | {"parameters": {"wimdow": 9}}, "invalid_program", "parameters.wimdow"),
    (PROGRAM | {"parameters": {"window": "x"}}, "invalid_program", "parameters.window"),
    ({"instruments": []}, "invalid_request", "instruments"),
    ({"instruments": ["IBM"]}, "invalid_id", "instruments.0"),
    ({"instruments": [instrument("IBM", "XNYS"), encode_id("ins", uuid7())]}, "unknown_instrument", "instruments.1"),
    ({"instruments": [instrument("IBM", "XNYS")] * 2}, "repeated_instrument", "instruments.1"),
    ({"instruments": [instrument("IBM", "XNYS"), instrument("TCS", "XNSE")]}, "currency_mismatch", "instruments.1"),
    ({"instruments": [instrument("TCS", "XNSE")]}, "bars_not_found", "instruments.0"),
    ({"interval": "5m"}, "bars_not_found", "instruments.0"),
    ({"interval": "2d"}, "unknown_interval", "interval"),
    ({"instruments": [instrument("IBM", "XNYS"), instrument("FB")], "end": "2010-01-01"}, "no_bars_in_range",
     "instruments.1"),
    ({"start": "2030-01-01"}, "no_bars_in_range", "instruments.0"),
    ({"start": "2004-01-02", "end": "2003-01-02"}, "invalid_range", "end"),
    ({"start": "yesterday"}, "invalid_request", "start"),
    ({"start": 20030101}, "invalid_request", "start"),
    ({"end": "2003-02-30"}, "invalid_request", "end"),
    ({"cash": "0"}, "invalid_request", "cash"),
    ({"cash": "-5"}, "invalid_request", "cash"),
    ({"cash": 100000}, "invalid_request", "cash"),
    ({"cash": "0.001"}, "too_precise", "cash"),
    ({"cash": "999999999999999"}, "invalid_cash", "cash"),
    ({"charges": "no_such"}, "charge_schedule_not_found", "charges"),
    ({"charges": "nse_equity"}, "charges_unknown", "charges"),
    ({"product": "margin"}, "invalid_request", "product"),
    ({"slippage_bps": 10000}, "invalid_request", "slippage_bps"),
    ({"slippage_bps": "5"}, "invalid_request", "slippage_bps"),
    ({"terms": {"margin_bps": 5}}, "invalid_request", "terms.margin_bps"),
    ({"terms": {"intrabar": "lucky"}}, "invalid_request", "terms.intrabar"),
    ({"terms": {"leverage": 5}}, "invalid_request", "terms.leverage"),
    ({"seed": 5}, "invalid_request", "seed"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "code", "param"), REFUSED)
async def test_what_cannot_run_is_refused_with_the_path_of_the_field(
    desk: Desk, changes: dict[str, Any], code: str, param: str
) -> None:
    answer = await desk.post(**changes)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["param"]) == (code, param), answer.text
    assert len(answer.json()["detail"]) > 10
    assert await desk.rows("select 1 from backtests") == []


async def test_a_program_text_that_no_database_stores_is_refused(desk: Desk) -> None:
    program = (_with(name="a\u0000b"), _with(parameters={"a\u0000b": 1}), _with(target="1\u0000"))
    for changes in ({"name": "a\u0000b"}, *program):
        answer = await desk.post(**changes)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_character"), answer.text
    raw = json.dumps({"cash": "1", "instruments": [instrument("IBM", "XNYS")], "program": ABOVE})
    sent = raw.replace('"window": 50', '"window": NaN')
    headers = desk.tenant.headers | {"Content-Type": "application/json"}
    answer = await desk.client.post("/v1/backtests", headers=headers, content=sent)
    assert answer.status_code in (400, 422), answer.text


async def test_charges_must_be_known_where_it_may_trade_and_not_before(desk: Desk) -> None:
    """The schedule's rates begin on 1 October 2024; these minutes a day and a half before."""
    folder, begin = desk.app.settings.data_dir, datetime(2024, 9, 29, 12, tzinfo=UTC)
    await import_bars(
        desk.app.database.reference, folder, write_minutes(folder / "infy.parquet", 4_000, start=begin),
        symbol="INFY", venue="XNSE", interval="1m", now=begin,
    )  # fmt: skip
    asked: dict[str, Any] = {"instruments": [instrument("INFY", "XNSE")], "interval": "1m", "charges": "bse_options"}
    for start in (None, "2024-09-30"):
        answer = await desk.post(**asked, start=start)
        assert (answer.status_code, answer.json()["param"]) == (422, "charges")
        assert "no rates for 2024-09-" in answer.json()["detail"]
    document = await desk.ran(**asked, start="2024-10-01")
    assert document["data"]["first_bar"] == "2024-09-29T12:01:00Z"
    assert document["fills"][0]["at"] >= "2024-10-01" and float(document["charges"]["stt"]) > 0


async def test_an_unknown_strategy_is_a_404(desk: Desk) -> None:
    answer = await desk.post(template=None, strategy_id=encode_id("str", uuid7()))
    assert (answer.status_code, answer.json()["code"]) == (404, "strategy_not_found")


async def test_a_stored_strategy_takes_no_other_parameters(desk: Desk) -> None:
    answer = await desk.post(template=None, strategy_id=encode_id("str", uuid7()), parameters={"fast": 3})
    assert (answer.status_code, answer.json()["param"]) == (422, "parameters")


async def test_too_large_a_run_is_refused_by_its_cost(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.insight.backtest.service import admission

    monkeypatch.setattr(admission, "MAX_COST", 1000)
    answer = await desk.post()
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (422, "too_costly", "template")
    monkeypatch.setattr(admission, "MAX_CELLS", 1000)
    answer = await desk.post()
    assert (answer.json()["code"], answer.json()["param"]) == ("too_costly", "instruments")


async def test_a_tenant_may_have_twenty_unfinished(desk: Desk) -> None:
    made = [await desk.made(end="2003-02-03") for _ in range(20)]
    answer = await desk.post(end="2003-02-03")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_backtests")
    await desk.cancel(made[0])
    assert (await desk.post(end="2003-02-03")).status_code == 202


async def test_a_waiting_backtest_is_cancelled_at_once_and_again_is_the_same(desk: Desk) -> None:
    backtest_id = await desk.made()
    first, second = await desk.cancel(backtest_id), await desk.cancel(backtest_id)
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert first.json()["status"] == "cancelled" and first.json()["finished_at"]
    await desk.work()
    assert (await desk.shown(backtest_id))["status"] == "cancelled"
    answer = await desk.get(f"{backtest_id}/result")
    assert (answer.status_code, answer.json()["code"]) == (409, "backtest_not_succeeded")
    assert await desk.events() == ["backtest.created", "backtest.cancelled"]


async def test_a_finished_backtest_stays_as_it_is(desk: Desk) -> None:
    backtest_id = await desk.made()
    await desk.work()
    answer = await desk.cancel(backtest_id)
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")


@pytest.mark.parametrize("path", ["", "/result", "/report"])
async def test_an_unknown_id_is_a_404(desk: Desk, path: str) -> None:
    answer = await desk.get(f"{encode_id('bkt', uuid7())}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "backtest_not_found")


async def test_a_later_import_changes_no_backtest_that_was_asked_for_before(desk: Desk, minutes: str) -> None:
    asked: dict[str, Any] = {"instruments": [minutes], "interval": "1m", "start": None, "charges": None}
    first, again = await desk.made(**asked), await desk.made(**asked)
    shard_first = await desk.work(lanes=1)
    folder = desk.app.settings.data_dir
    await import_bars(
        desk.app.database.reference, folder, write_minutes(folder / "fewer.parquet", 5_000),
        symbol="FB", venue="XNAS", interval="1m", now=datetime(2020, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert await desk.work() == shard_first == 1
    assert (await desk.get(f"{first}/result")).content == (await desk.get(f"{again}/result")).content
    newer = await desk.made(**asked)
    assert (await desk.shown(newer))["bars"] == 5_000
