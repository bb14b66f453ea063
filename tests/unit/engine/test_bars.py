"""What bars may be, how series are aligned, and the order of the timeline."""

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest

from app.engine.bars import AnyEvent, Bars, Dividend, SessionClose, Split, align, day_number, session_ends, timeline
from app.engine.columns import Kind
from app.engine.layout import FIELDS
from app.kernel.errors import DomainError

Maker = Callable[..., Bars]


def broken(bars: Bars, name: str, row: int, value: int) -> Bars:
    fields, times, days = bars.fields.copy(), bars.times.copy(), bars.days.copy()
    if name in ("times", "days"):
        (times if name == "times" else days)[row] = value
    else:
        fields[["open", "high", "low", "close", "volume"].index(name), 0, row] = value
    return Bars(times, days, fields, bars.valid)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("times", 0, "rise strictly"),
        ("days", 0, "not fall"),
        ("low", 0, "positive"),
        ("low", 10**9, "low lies above"),
        ("high", 1, "high lies below"),
        ("high", 2**46, "must lie below"),
        ("volume", -1, "volume is out of range"),
    ],
)
def test_impossible_bars_are_refused_with_their_place(bars_of: Maker, name: str, value: int, words: str) -> None:
    with pytest.raises(DomainError, match=words) as error:
        broken(bars_of(20), name, 7, value).check()
    assert "row " in error.value.message
    assert error.value.code == "invalid_bars"


def test_a_missing_bar_may_hold_anything(bars_of: Maker) -> None:
    bars = broken(bars_of(20), "low", 7, -5)
    bars.valid[0, 7] = 0
    assert bars.check() is bars


def test_shapes_and_types_are_checked(bars_of: Maker) -> None:
    bars = bars_of(20)
    with pytest.raises(DomainError, match="agree in shape"):
        Bars(bars.times[1:], bars.days, bars.fields, bars.valid).check()
    with pytest.raises(DomainError, match="fields must be int64"):
        Bars(bars.times, bars.days, bars.fields.astype(np.float64), bars.valid).check()
    with pytest.raises(DomainError, match="valid must be uint8"):
        Bars(bars.times, bars.days, bars.fields, bars.valid.astype(np.int64)).check()


def series(times: list[int], price: int) -> dict[str, list[int]]:
    flat = [price] * len(times)
    return {"times": times, "days": times, "open": flat, "high": flat, "low": flat, "close": flat, "volume": flat}


def test_series_are_aligned_on_all_their_times() -> None:
    bars = align([series([1, 2, 4], 10), series([2, 3], 20)])
    assert bars.times.tolist() == [1, 2, 3, 4]
    assert bars.valid.tolist() == [[1, 1, 0, 1], [0, 1, 1, 0]]
    assert bars.fields[3].tolist() == [[10, 10, 0, 10], [0, 20, 20, 0]]
    assert bars.days.tolist() == [1, 2, 3, 4]


def test_aligning_refuses_duplicates_and_accepts_nothing() -> None:
    with pytest.raises(DomainError, match="rise strictly"):
        align([series([1, 1], 10)])
    assert align([]).fields.shape == (FIELDS, 0, 0)


def test_sessions_end_with_the_last_bar_of_each_date() -> None:
    bars = align([series([1, 2, 3, 4, 5], 10) | {"days": [7, 7, 8, 9, 9]}])
    assert session_ends(bars).tolist() == timeline(bars, [SessionClose(row) for row in (1, 2, 4)]).tolist()
    assert len(session_ends(align([]))) == 0


def test_the_timeline_puts_actions_before_and_session_ends_after_the_bar(bars_of: Maker) -> None:
    events: list[AnyEvent] = [
        SessionClose(5),
        SessionClose(5, 1),
        Dividend(5, 0, 10),
        Split(5, 1, 2, 1),
        Split(2, 0, 3, 2),
    ]
    found = timeline(bars_of(9, 2), events)
    assert [tuple(row[:3]) for row in found.tolist()] == [
        (2, Kind.SPLIT, 0), (5, Kind.SPLIT, 1), (5, Kind.DIVIDEND, 0), (5, Kind.SESSION_CLOSE, -1),
        (5, Kind.SESSION_CLOSE, 1),
    ]  # fmt: skip


def test_days_count_from_the_epoch() -> None:
    assert day_number(date(1970, 1, 1)) == 0
    assert day_number(date(2003, 1, 1)) == 12053
