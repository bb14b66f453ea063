"""Which bars are refused and what the refusal names; how a split restates them."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.kernel.money import format_scaled
from app.market.data.domain import (
    MAX_VALUE,
    PRICES,
    Bars,
    adjust_for_splits,
    from_us,
    interval_length,
    parse_bars,
    parse_times,
    scaled_bars,
    to_us,
)
from app.market.instruments.domain import Split

DAY = datetime(2024, 1, 2, 21, tzinfo=UTC)
GOOD = {
    "open": ["10.00", "10.5", 11],
    "high": ["12.00", "11.0001", 11.5],
    "low": ["9.99", "10", 10],
    "close": ["11", "10.25", 10.1],
    "volume": ["100", 0, 3],
}


def days(count: int) -> list[datetime]:
    return [DAY + timedelta(days=n) for n in range(count)]


def refused(columns: dict[str, list[object]], at: list[datetime] | None = None) -> DomainError:
    with pytest.raises(DomainError) as caught:
        parse_bars(columns, days(3) if at is None else at, price_exp=4, qty_exp=0)
    assert caught.value.code == "invalid_bars"
    return caught.value


def test_text_integers_and_floats_become_scaled_integers() -> None:
    bars = parse_bars(GOOD, days(3), price_exp=4, qty_exp=0)
    assert bars.open.tolist() == [100_000, 105_000, 110_000]
    assert bars.high.tolist() == [120_000, 110_001, 115_000]
    assert bars.close.tolist() == [110_000, 102_500, 101_000]
    assert bars.volume.tolist() == [100, 0, 3]
    assert bars.open.dtype == bars.at_us.dtype == np.int64
    assert from_us(int(bars.at_us[0])) == DAY


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("open", "", "is empty"),
        ("open", None, "is empty"),
        ("high", "abc", "decimal"),
        ("high", float("nan"), "finite"),
        ("close", "NaN", "finite"),
        ("low", float("inf"), "finite"),
        ("low", "-1", "greater than zero"),
        ("low", "0", "greater than zero"),
        ("volume", "-1", "zero or more"),
        ("volume", "1.5", "at most 0 decimal places"),
        ("close", "10.00001", "at most 4 decimal places"),
        ("high", "1e15", "too large"),
        ("high", "9" * 400, "too large"),
        ("high", "9.00", "high is below low"),
        ("open", "11.01", "open is outside"),
        ("close", "9.5", "close is outside"),
    ],
)
def test_a_bad_cell_is_named_by_row_and_column(column: str, value: object, words: str) -> None:
    columns = {name: list(cells) for name, cells in GOOD.items()}
    columns[column][1] = value
    error = refused(columns)
    assert f"row 2, column {column}" in error.message
    assert words in error.message
    assert error.param == column


def test_a_missing_column_is_named() -> None:
    assert "column low is missing" in refused({n: list(c) for n, c in GOOD.items() if n != "low"}).message


def test_a_file_without_rows_is_refused() -> None:
    assert "no rows" in refused({name: [] for name in GOOD}, []).message


@pytest.mark.parametrize(("order", "row", "word"), [([0, 0, 1], 2, "repeats"), ([0, 2, 1], 3, "is before")])
def test_times_must_increase(order: list[int], row: int, word: str) -> None:
    error = refused({n: list(c) for n, c in GOOD.items()}, [days(3)[i] for i in order])
    assert f"row {row}, column at" in error.message
    assert word in error.message


def test_a_date_becomes_the_close_of_its_session() -> None:
    closes = {date(2024, 1, 2): DAY}
    assert parse_times(["2024-01-02", date(2024, 1, 2)], session_close=closes.get) == [DAY, DAY]


def test_a_time_becomes_utc() -> None:
    assert parse_times(["2024-01-02T16:00:00-05:00"], session_close=None) == [DAY]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2024-01-01", "not a trading day"),
        ("2024-01-02T16:00:00", "no UTC offset"),
        ("02/01/2024", "not an ISO 8601"),
        (None, "is not a time"),
        (5, "is not a time"),
    ],
)
def test_a_bad_time_is_named_by_its_row(value: object, words: str) -> None:
    with pytest.raises(DomainError, match="row 2, column at") as caught:
        parse_times(["2024-01-02", value], session_close={date(2024, 1, 2): DAY}.get)
    assert words in caught.value.message


def test_a_date_needs_a_calendar() -> None:
    with pytest.raises(DomainError, match="need the close time"):
        parse_times(["2024-01-02"], session_close=None)


def test_an_unknown_interval_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DomainError, match="1m, 5m, 15m, 1h, 1d"):
        interval_length("2d")


def test_scaled_columns_are_checked_like_text() -> None:
    bars = parse_bars(GOOD, days(3), price_exp=4, qty_exp=0)
    columns = {"at": bars.at_us, **{name: getattr(bars, name) for name in (*PRICES, "volume")}}
    assert scaled_bars(columns, price_exp=4, qty_exp=0).close.tolist() == bars.close.tolist()
    for name, value in (("low", 0), ("volume", -1), ("high", MAX_VALUE)):
        bad = {key: array.copy() for key, array in columns.items()}
        bad[name][2] = value
        with pytest.raises(DomainError, match=f"row 3, column {name}"):
            scaled_bars(bad, price_exp=4, qty_exp=0)


def test_bars_between_two_times_include_both() -> None:
    bars = parse_bars(GOOD, days(3), price_exp=4, qty_exp=0)
    assert len(bars.between(days(3)[0], days(3)[1])) == 2
    assert len(bars.between(days(3)[1], None)) == 2
    assert len(bars.between(days(3)[2], days(3)[0])) == 0


cells = st.integers(min_value=1, max_value=10**9)


@st.composite
def bar_lists(draw: st.DrawFn) -> Bars:
    rows = draw(st.lists(st.lists(cells, min_size=4, max_size=4), min_size=1, max_size=8))
    prices = [sorted(row) for row in rows]
    volume = draw(st.lists(st.integers(0, 10**10), min_size=len(rows), max_size=len(rows)))
    flip = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    column = {
        "low": [p[0] for p in prices],
        "open": [p[1 + f] for p, f in zip(prices, flip, strict=True)],
        "close": [p[2 - f] for p, f in zip(prices, flip, strict=True)],
        "high": [p[3] for p in prices],
        "volume": volume,
    }
    at = [to_us(d) for d in days(len(rows))]
    return Bars(4, 0, np.array(at), **{n: np.array(c, dtype=np.int64) for n, c in column.items()})


@given(bar_lists())
def test_what_is_written_as_text_is_read_back_exactly(bars: Bars) -> None:
    columns = {n: [format_scaled(v, 4) for v in getattr(bars, n).tolist()] for n in PRICES}
    columns["volume"] = [str(v) for v in bars.volume.tolist()]
    again = parse_bars(columns, [from_us(v) for v in bars.at_us.tolist()], price_exp=4, qty_exp=0)
    for name in ("at_us", *PRICES, "volume"):
        assert getattr(again, name).tolist() == getattr(bars, name).tolist()


factors = st.integers(min_value=1, max_value=7)
splits_of_days = st.lists(st.tuples(st.integers(0, 8), factors, factors), max_size=3, unique_by=lambda s: s[0])


def split(day: int, numerator: int, denominator: int) -> Split:
    return Split(DAY + timedelta(days=day) - timedelta(hours=6), numerator, denominator)


@given(bar_lists(), splits_of_days, st.integers(0, 8))
def test_split_adjustment_is_one_rounding_of_the_exact_product(
    bars: Bars, terms: list[tuple[int, int, int]], known_day: int
) -> None:
    splits = [split(*term) for term in terms]
    known_at = DAY + timedelta(days=known_day)
    adjusted = adjust_for_splits(bars, splits, known_at=known_at)
    for row, at_us in enumerate(bars.at_us.tolist()):
        ratio = Fraction(1)
        for s in splits:
            if s.effective_at <= known_at and from_us(at_us) < s.effective_at:
                ratio *= Fraction(s.numerator, s.denominator)
        for name in PRICES:
            exact = getattr(bars, name)[row].item() / ratio
            assert getattr(adjusted, name)[row] == max(1, (exact + Fraction(1, 2)).__floor__())
        assert adjusted.volume[row] == (bars.volume[row].item() * ratio + Fraction(1, 2)).__floor__()


@given(bar_lists(), splits_of_days)
def test_split_adjustment_keeps_a_bar_a_bar_and_leaves_its_input_alone(
    bars: Bars, terms: list[tuple[int, int, int]]
) -> None:
    before = bars.close.tolist()
    adjusted = adjust_for_splits(bars, [split(*t) for t in terms], known_at=DAY + timedelta(days=9))
    assert (adjusted.low <= adjusted.high).all()
    assert (adjusted.low <= adjusted.open).all() and (adjusted.open <= adjusted.high).all()
    assert bars.close.tolist() == before


def test_a_two_for_one_split_halves_what_lies_before_it_only() -> None:
    bars = parse_bars(GOOD, days(3), price_exp=4, qty_exp=0)
    adjusted = adjust_for_splits(bars, [split(1, 2, 1)], known_at=days(3)[2])
    assert adjusted.close.tolist() == [55_000, 102_500, 101_000]
    assert adjusted.volume.tolist() == [200, 0, 3]


def test_a_split_after_the_end_of_the_view_does_not_count() -> None:
    bars = parse_bars(GOOD, days(3), price_exp=4, qty_exp=0)
    seen_earlier = adjust_for_splits(bars, [split(2, 2, 1)], known_at=days(3)[1])
    assert seen_earlier.close.tolist() == bars.close.tolist()


def test_a_factor_that_could_overflow_is_refused() -> None:
    bars = parse_bars(GOOD, days(3), price_exp=4, qty_exp=0)
    with pytest.raises(DomainError, match="beyond 512"):
        adjust_for_splits(bars, [split(1, 1000, 1)], known_at=days(3)[2])


def test_the_largest_values_survive_the_largest_factor() -> None:
    top = MAX_VALUE - 1
    array = np.array([top], dtype=np.int64)
    bars = Bars(4, 0, np.array([to_us(DAY)]), array, array, array, array, array)
    down = adjust_for_splits(bars, [split(1, 1, 512)], known_at=DAY + timedelta(days=2))
    assert down.close.tolist() == [top * 512]
