"""`/v1/backtests` with finer bars and with interest: the figures of the same run on files, pins, refusals, reasons."""

import hashlib
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine.columns import Intrabar
from app.engine.terms import Terms
from app.insight.backtest.service import FileRun, admission, run_files
from app.market.data.service import import_bars
from tests.factories.minutes import write_minutes
from tests.integration.insight.conftest import Desk, instrument

pytestmark = pytest.mark.integration
LIBRARY = Path(__file__).parents[3] / "app/market/data/library"
GOOG, AAPL = (next(LIBRARY.glob(f"{symbol}-*.parquet")) for symbol in ("GOOG", "AAPL"))
END = "2006-12-29"
BRACKETS: dict[str, Any] = {
    "version": 1,
    "name": "brackets",
    "trades": {
        "long": {"enter": "close > sma(close, 5)"},
        "stop_loss": {"percent": 1},
        "take_profit": {"percent": 1},
    },
}
LOWER: dict[str, Any] = {"finer_interval": "15m", "terms": {"intrabar": "lower"}}


def quarters(file: Path, daily: Path, *, raised: int | None = None) -> Path:
    """Three bars of 15 minutes to each daily one: to its high first, to its low, to its close.

    `raised`: the row whose high is a dollar above the daily bar's.
    """
    import polars as pl

    days = pl.read_parquet(daily)
    price = {name: days[name].to_numpy() for name in ("open", "high", "low", "close")}
    high = price["high"].copy()
    if raised is not None:
        high[raised] += 10_000
    legs = [price["open"], high, price["low"], price["close"]]
    close_us = days["at"].dt.timestamp("us").to_numpy()
    frames = [
        pl.DataFrame(
            {
                "at": close_us - (2 - leg) * 900_000_000,
                "open": legs[leg],
                "high": np.maximum(legs[leg], legs[leg + 1]),
                "low": np.minimum(legs[leg], legs[leg + 1]),
                "close": legs[leg + 1],
                "volume": days["volume"].to_numpy() // 3,
            }
        )
        for leg in range(3)
    ]
    made = pl.concat(frames).sort("at").with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
    made.write_parquet(file, metadata={"mandi.price_exp": "4", "mandi.qty_exp": "0"})
    return file


async def stored(desk: Desk, folder: Path, symbol: str, daily: Path, *, raised: int | None = None) -> Path:
    """The file of bars of 15 minutes that is the current one now."""
    file = quarters(folder / f"{symbol}-{raised}.parquet", daily, raised=raised)
    report = await import_bars(
        desk.app.database.reference, desk.app.settings.data_dir, file,
        symbol=symbol, venue="XNAS", interval="15m", now=datetime(2020, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return desk.app.settings.data_dir / report.path


def asked(symbol: str = "GOOG", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"template": None, "program": BRACKETS, "instruments": [instrument(symbol)], "start": None}
    return body | {"end": END} | changes


def on_files(folder: Path, *, finer: list[Path], terms: Terms) -> dict[str, Any]:
    """The same run of files, of which the names are the symbols."""
    daily = Path(shutil.copyfile(GOOG, folder / "GOOG.parquet"))
    return run_files(
        FileRun(
            BRACKETS, [daily], "100000", "us_equity", "USD", slippage_bps=5, end=date.fromisoformat(END), terms=terms,
            finer=finer,
        )
    )  # fmt: skip


async def test_a_run_with_finer_bars_is_the_same_run_on_files(desk: Desk, tmp_path: Path) -> None:
    file = await stored(desk, tmp_path, "GOOG", GOOG)
    terms = {"intrabar": "lower", "interest_bps": 400}
    queued = (await desk.post(**asked(**LOWER | {"terms": terms}))).json()
    await desk.work()
    shown = await desk.shown(queued["id"])
    assert (shown["status"], shown["finer_interval"]) == ("succeeded", queued["finer_interval"]) == ("succeeded", "15m")
    assert shown["terms"] == queued["terms"] and terms.items() <= shown["terms"].items()
    document = (await desk.get(f"{queued['id']}/result")).json()
    local = on_files(tmp_path, finer=[file], terms=Terms(intrabar=Intrabar.LOWER, interest_bps=400))
    for name in (
        "sha256", "metrics", "fills", "trades", "equity", "charges", "orders", "interest", "ambiguous_bars",
        "assumptions",
    ):  # fmt: skip
        assert document[name] == local[name], name
    assert len(document["fills"]) > 100 and float(document["interest"]) > 0
    assert document["data"]["finer"] == [{"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}]
    assert document["assumptions"]["finer"].startswith("0 bars")
    assert document["sha256"] != on_files(tmp_path, finer=[], terms=Terms(interest_bps=400))["sha256"], (
        "they decided something"
    )


async def test_finer_files_are_pinned_and_a_contradiction_is_told_by_time_and_price(desk: Desk, tmp_path: Path) -> None:
    await stored(desk, tmp_path, "GOOG", GOOG)
    await stored(desk, tmp_path, "AAPL", AAPL)
    both = asked(**LOWER, instruments=[instrument("GOOG"), instrument("AAPL")])
    first, again = await desk.made(**both), await desk.made(**both)
    assert await desk.work(lanes=1) == 1
    await stored(desk, tmp_path, "AAPL", AAPL, raised=100)
    assert await desk.work() == 1
    assert (await desk.shown(first))["status"] == "succeeded"
    assert (await desk.get(f"{first}/result")).content == (await desk.get(f"{again}/result")).content
    newer = await desk.made(**both)
    await desk.work()
    shown = await desk.shown(newer)
    assert (shown["status"], shown["result"]) == ("failed", None)
    import polars as pl

    bar = pl.read_parquet(AAPL).row(100, named=True)
    high = bar["high"] / 10_000
    assert shown["status_reason"] == (
        f"15m and 1d bars of AAPL disagree about {bar['at'].isoformat().replace('+00:00', 'Z')}: "
        f"the high is {high + 1:.4f} by the finer ones and {high:.4f} by the bar. "
        "Leave finer_interval out or send another one, or have bars imported that agree."
    )
    answer = await desk.get(f"{newer}/result")
    assert (answer.status_code, answer.json()["code"]) == (409, "backtest_not_succeeded")
    await stored(desk, tmp_path, "AAPL", AAPL)


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"terms": {"intrabar": "lower"}}, "invalid_terms", "finer_interval"),
        ({"finer_interval": "15m"}, "invalid_terms", "terms.intrabar"),
        ({"finer_interval": "15m", "terms": {"intrabar": "path"}}, "invalid_terms", "terms.intrabar"),
        (LOWER | {"finer_interval": "1d"}, "invalid_terms", "finer_interval"),
        (LOWER | {"finer_interval": "1h", "interval": "15m"}, "invalid_terms", "finer_interval"),
        (LOWER | {"finer_interval": "7m"}, "unknown_interval", "finer_interval"),
        (LOWER | {"interval": "2d"}, "unknown_interval", "interval"),
        (LOWER | {"instruments": [instrument("GOOG"), instrument("IBM", "XNYS")]}, "bars_not_found", "instruments.1"),
        (LOWER | {"finer_interval": 15}, "invalid_request", "finer_interval"),
        ({"terms": {"interest_bps": -1}}, "invalid_request", "terms.interest_bps"),
        ({"terms": {"interest_bps": 100_001}}, "invalid_request", "terms.interest_bps"),
        ({"terms": {"interest_bps": "400"}}, "invalid_request", "terms.interest_bps"),
    ],
)  # fmt: skip
async def test_what_finer_bars_cannot_decide_is_refused_with_the_path_of_the_field(
    desk: Desk, tmp_path: Path, changes: dict[str, Any], code: str, param: str
) -> None:
    await stored(desk, tmp_path, "GOOG", GOOG)
    answer = await desk.post(**asked(**changes))
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["param"]) == (code, param), answer.text
    if code == "bars_not_found":
        assert "No 15m bars of IBM" in answer.json()["detail"]
    assert await desk.rows("select 1 from backtests") == []


async def test_finer_bars_count_against_the_size_of_a_run(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(desk, tmp_path, "GOOG", GOOG)
    bars = (await desk.post(**asked())).json()["bars"]
    monkeypatch.setattr(admission, "MAX_CELLS", 4 * bars)
    assert (await desk.post(**asked(**LOWER))).status_code == 202
    monkeypatch.setattr(admission, "MAX_CELLS", 4 * bars - 1)
    answer = await desk.post(**asked(**LOWER))
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (422, "too_costly", "instruments")
    assert f"{bars:,} bars and {3 * bars:,} finer ones" in answer.json()["detail"]


async def test_finer_bars_outside_the_range_are_none(desk: Desk, tmp_path: Path) -> None:
    """The daily bars of FB end before these begin."""
    await import_bars(
        desk.app.database.reference, desk.app.settings.data_dir, write_minutes(tmp_path / "later.parquet", 50),
        symbol="FB", venue="XNAS", interval="5m", now=datetime(2020, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    answer = await desk.post(**asked("FB", **LOWER | {"finer_interval": "5m", "end": "2012-12-31"}))
    assert (answer.status_code, answer.json()["code"]) == (422, "no_bars_in_range")
    assert answer.json()["param"] == "instruments.0" and "its 5m bars are from 2020" in answer.json()["detail"]


async def test_interest_alone_needs_no_finer_bars(desk: Desk, tmp_path: Path) -> None:
    document = await desk.ran(**asked(terms={"interest_bps": 400}))
    assert float(document["interest"]) > 0 and "400 bps" in document["assumptions"]["interest"]
    assert document["sha256"] == on_files(tmp_path, finer=[], terms=Terms(interest_bps=400))["sha256"]
    without = await desk.ran(**asked())
    assert "interest" not in without and "finer" not in without["data"]
