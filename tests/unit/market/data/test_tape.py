"""What one replayed bar looks like on the stream, and in which order."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import numpy as np

from app.market.data.domain import Bars, to_us
from app.market.data.service.tape import Entry, Step, Tape, TapeAction, TapeSeries, build_step
from app.market.instruments.domain import Session

ONE, TWO = UUID(int=1), UUID(int=2)
FRIDAY, MONDAY, TUESDAY = (datetime(2024, 1, day, 21, tzinfo=UTC) for day in (5, 8, 9))
LENGTH = timedelta(days=1)


def session(close: datetime, venue: str = "XNAS") -> Session:
    return Session(venue, "EQ", close.date(), "regular", close - timedelta(hours=6, minutes=30), close, "t")


def series(
    instrument: UUID, rows: dict[datetime, tuple[int, int, int, int, int]], *actions: TapeAction, venue: str = "XNAS"
) -> TapeSeries:
    columns = np.array(list(rows.values()), dtype=np.int64).reshape(len(rows), 5).T
    bars = Bars(4, 0, np.array([to_us(at) for at in rows]), *columns)
    sessions = {at: session(at, venue) for at in (FRIDAY, MONDAY, TUESDAY)}
    return TapeSeries(instrument, venue, bars, actions, sessions)


def step(tape: Tape, after: datetime, at: datetime) -> Step:
    return build_step(tape, after=after, at=at, interval="1d", length=LENGTH)


def kinds(entries: list[Entry]) -> list[str]:
    return [entry["type"] for entry in entries]


UP = (100, 130, 90, 120, 7)
DOWN = (120, 130, 90, 100, 5)


def test_a_rising_bar_shows_its_low_first_and_ends_with_the_close_of_the_session() -> None:
    [entries] = step(Tape.of([series(ONE, {FRIDAY: UP})]), FRIDAY - LENGTH, FRIDAY).batches
    assert kinds(entries) == ["price"] * 4 + ["bar", "session_close"]
    assert [e["price"] for e in entries[:4]] == ["100", "90", "130", "120"]
    assert [e["first"] for e in entries[:4]] == ["1", "0", "0", "0"]
    assert [e["at"] for e in entries[:4]] == [
        "2024-01-05T14:30:00Z",
        "2024-01-05T16:40:00Z",
        "2024-01-05T18:50:00Z",
        "2024-01-05T21:00:00Z",
    ]
    assert entries[4] == {
        "type": "bar",
        "instrument_id": str(ONE),
        "interval": "1d",
        "at": "2024-01-05T21:00:00Z",
        "open": "100",
        "high": "130",
        "low": "90",
        "close": "120",
        "volume": "7",
    }
    assert entries[5] == {"type": "session_close", "venue": "XNAS", "at": "2024-01-05T21:00:00Z"}


def test_a_falling_bar_shows_its_high_first() -> None:
    [entries] = step(Tape.of([series(ONE, {FRIDAY: DOWN})]), FRIDAY - LENGTH, FRIDAY).batches
    assert [e["price"] for e in entries[:4]] == ["120", "130", "90", "100"]


def test_instruments_are_interleaved_in_market_time() -> None:
    tape = Tape.of([series(ONE, {FRIDAY: UP}), series(TWO, {FRIDAY: DOWN})])
    [entries] = step(tape, FRIDAY - LENGTH, FRIDAY).batches
    assert [e["instrument_id"] for e in entries if e["type"] == "price"] == [str(ONE), str(TWO)] * 4
    assert [e["at"] for e in entries] == sorted(e["at"] for e in entries)
    assert kinds(entries)[-3:] == ["bar", "bar", "session_close"]


def test_the_whole_volume_of_a_bar_is_told_once() -> None:
    [entries] = step(Tape.of([series(ONE, {FRIDAY: UP})]), FRIDAY - LENGTH, FRIDAY).batches
    assert sum(int(e["volume"]) for e in entries if e["type"] == "price") == 7


def action(at: datetime, number: int = 9) -> TapeAction:
    return TapeAction(UUID(int=number), at - timedelta(hours=6, minutes=30), at.date(), 2, 1)


def test_a_split_is_a_batch_of_its_own_before_the_first_price_of_its_session() -> None:
    tape = Tape.of([series(ONE, {FRIDAY: UP, MONDAY: UP}, action(MONDAY)), series(TWO, {FRIDAY: UP, MONDAY: UP})])
    monday = step(tape, FRIDAY, MONDAY)
    assert [kinds(batch)[:1] for batch in monday.batches] == [["action"], ["price"]]
    assert monday.batches[0] == [
        {
            "type": "action",
            "instrument_id": str(ONE),
            "action_id": str(UUID(int=9)),
            "kind": "split",
            "numerator": "2",
            "denominator": "1",
            "at": "2024-01-08T14:30:00Z",
        }
    ]
    assert [[a.action_id.int for _, a in group] for group in monday.actions] == [[9], []]
    assert not any(step(tape, FRIDAY - LENGTH, FRIDAY).actions)


def test_a_dividend_is_told_with_its_amount_before_the_first_price_of_its_ex_date() -> None:
    dividend = TapeAction(UUID(int=8), MONDAY - timedelta(hours=6, minutes=30), MONDAY.date(), amount=2500)
    monday = step(Tape.of([series(ONE, {FRIDAY: UP, MONDAY: UP}, action(MONDAY), dividend)]), FRIDAY, MONDAY)
    told, prices = monday.batches
    assert [e["kind"] for e in told] == ["split", "dividend"], "the dividend is one of the new shares"
    assert told[1] == {
        "type": "action",
        "instrument_id": str(ONE),
        "action_id": str(UUID(int=8)),
        "kind": "dividend",
        "amount": "2500",
        "at": "2024-01-08T14:30:00Z",
    }
    assert kinds(prices)[0] == "price"


def test_a_split_of_a_day_without_a_bar_is_not_lost() -> None:
    tape = Tape.of([series(ONE, {FRIDAY: UP, TUESDAY: UP}, action(MONDAY))])
    tuesday = step(tape, FRIDAY, TUESDAY)
    assert kinds(tuesday.batches[0]) == ["action"]
    closes = [e["at"] for batch in tuesday.batches for e in batch if e["type"] == "session_close"]
    assert closes == ["2024-01-08T21:00:00Z", "2024-01-09T21:00:00Z"]


def test_a_session_without_bars_closes_before_the_next_session_opens() -> None:
    [entries] = step(Tape.of([series(ONE, {FRIDAY: UP, TUESDAY: UP})]), FRIDAY, TUESDAY).batches
    assert kinds(entries)[:2] == ["session_close", "price"]


def test_an_instrument_without_a_bar_stays_silent() -> None:
    tape = Tape.of([series(ONE, {FRIDAY: UP}), series(TWO, {MONDAY: UP})])
    friday = step(tape, FRIDAY - LENGTH, FRIDAY)
    assert {e.get("instrument_id") for e in friday.batches[0]} == {str(ONE), None}
    assert friday.closes == [(ONE, 120, date(2024, 1, 5))]


def test_watermarks_are_the_times_of_all_series_once() -> None:
    tape = Tape.of([series(ONE, {FRIDAY: UP, TUESDAY: UP}), series(TWO, {FRIDAY: UP, MONDAY: UP})])
    assert list(tape.times) == [FRIDAY, MONDAY, TUESDAY]
    assert list(Tape.of([]).times) == []


def test_each_venue_closes_its_own_session() -> None:
    tape = Tape.of([series(ONE, {FRIDAY: UP}), series(TWO, {FRIDAY: UP}, venue="XNYS")])
    [entries] = step(tape, FRIDAY - LENGTH, FRIDAY).batches
    assert [e["venue"] for e in entries if e["type"] == "session_close"] == ["XNAS", "XNYS"]


def test_the_market_time_of_a_step_is_its_first_price() -> None:
    tape = Tape.of([series(ONE, {FRIDAY: UP, MONDAY: UP})])
    assert step(tape, FRIDAY, MONDAY).opens_at == MONDAY - timedelta(hours=6, minutes=30)
