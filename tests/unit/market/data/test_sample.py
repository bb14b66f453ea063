"""The sample that ships: its hashes, its dates against the calendar, its splits against its own prices."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from app.kernel.errors import DomainError
from app.market.data.domain import Bars, adjust_for_splits, check_bars, from_us
from app.market.data.repository import read_parquet, sha256_of, write_parquet
from app.market.data.service.seeding import LIBRARY, load_manifest
from app.market.instruments.domain import TRADING_KINDS, Split
from app.market.instruments.service import load_calendar

MANIFEST = {entry["symbol"]: entry for entry in load_manifest()}


def bars_of(symbol: str) -> Bars:
    entry = MANIFEST[symbol]
    return read_parquet(LIBRARY / entry["file"], sha256=entry["sha256"], price_exp=4, qty_exp=0)


@pytest.fixture(scope="module")
def closes() -> dict[str, dict[date, object]]:
    days: dict[str, dict[date, object]] = {"XNYS": {}, "XNAS": {}}
    for session in load_calendar():
        if session.venue in days and session.kind in TRADING_KINDS:
            days[session.venue][session.day] = session.closes_at
    return days


def test_the_manifest_lists_five_series_with_their_known_sizes() -> None:
    sizes = {symbol: entry["rows"] for symbol, entry in MANIFEST.items()}
    assert sizes == {"AAPL": 3270, "FB": 196, "GOOG": 2148, "IBM": 3270, "MSFT": 3270}


@pytest.mark.parametrize("symbol", sorted(MANIFEST))
def test_each_file_is_what_the_manifest_says(symbol: str) -> None:
    entry, bars = MANIFEST[symbol], bars_of(symbol)
    check_bars(bars)
    assert len(bars) == entry["rows"]
    assert [from_us(int(bars.at_us[i])).isoformat().replace("+00:00", "Z") for i in (0, -1)] == [
        entry["first"],
        entry["last"],
    ]
    assert entry["license"] == "public domain"


@pytest.mark.parametrize("symbol", sorted(MANIFEST))
def test_every_bar_closes_a_session_and_every_session_has_a_bar(
    symbol: str, closes: dict[str, dict[date, object]]
) -> None:
    entry, bars = MANIFEST[symbol], bars_of(symbol)
    stamps = [from_us(at) for at in bars.at_us.tolist()]
    sessions = [at for day, at in closes[entry["venue"]].items() if stamps[0].date() <= day <= stamps[-1].date()]
    assert stamps == sessions


def test_writing_the_same_bars_again_gives_the_same_bytes(tmp_path: Path) -> None:
    bars = bars_of("FB")
    first, digest = write_parquet(bars, tmp_path / "a", "FB-XNAS-1d")
    second, again = write_parquet(bars, tmp_path / "b", "FB-XNAS-1d")
    assert (first.name, digest) == (second.name, again)
    assert sha256_of(first) == digest
    assert read_parquet(first, sha256=digest, price_exp=4, qty_exp=0).close.tolist() == bars.close.tolist()


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    path, digest = write_parquet(bars_of("FB"), tmp_path, "FB-XNAS-1d")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DomainError, match="hash of its manifest"):
        read_parquet(path, sha256=digest, price_exp=4, qty_exp=0)
    path.unlink()
    with pytest.raises(DomainError, match="cannot be read"):
        read_parquet(path, sha256=digest, price_exp=4, qty_exp=0)


def test_the_source_splits_halve_the_price_and_adjustment_undoes_it() -> None:
    bars = bars_of("AAPL")
    opened = from_us(int(bars.at_us[np.searchsorted(bars.at_us, 961_600_000_000_000)]))
    assert opened.date() == date(2000, 6, 21)
    ex = int(np.searchsorted(bars.at_us, int(opened.timestamp() * 1_000_000)))
    assert 0.45 < bars.close[ex] / bars.close[ex - 1] < 0.6
    split = Split(opened.replace(hour=13, minute=30), 2, 1)
    adjusted = adjust_for_splits(bars, [split], known_at=from_us(int(bars.at_us[-1])))
    assert 0.9 < adjusted.close[ex] / adjusted.close[ex - 1] < 1.2
    assert adjusted.close[ex] == bars.close[ex]
