"""When venues trade: the calendar's data files against the tape, and the rules that expand them."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, time

import pytest

from app.market.instruments.domain import (
    TRADING_KINDS,
    Hours,
    Session,
    SpecialSession,
    expand_calendar,
    session_at,
)
from app.market.instruments.service import load_calendar


@pytest.fixture(scope="module")
def calendar() -> dict[tuple[str, str, date], list[Session]]:
    days: defaultdict[tuple[str, str, date], list[Session]] = defaultdict(list)
    for session in load_calendar():
        days[session.venue, session.segment, session.day].append(session)
    return dict(days)


Calendar = dict[tuple[str, str, date], list[Session]]


def trading(calendar: Calendar, venue: str, segment: str, day: date) -> list[tuple[datetime, datetime]]:
    sessions = calendar.get((venue, segment, day), [])
    return [(s.opens_at, s.closes_at) for s in sessions if s.kind in TRADING_KINDS]


def utc(day: date, opens: str, closes: str) -> tuple[datetime, datetime]:
    return tuple(datetime.combine(day, time.fromisoformat(t), UTC) for t in (opens, closes))  # type: ignore[return-value]


def test_no_session_is_listed_twice(calendar: Calendar) -> None:
    counts = Counter((s.venue, s.segment, s.opens_at) for day in calendar.values() for s in day)
    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("venue", ["XNYS", "XNAS"])
@pytest.mark.parametrize(
    "closed", ["2001-09-11", "2001-09-14", "2004-06-11", "2007-01-02", "2012-10-29", "2012-10-30", "2025-01-09"]
)
def test_the_exceptional_us_closures_are_closed(calendar: Calendar, venue: str, closed: str) -> None:
    assert not trading(calendar, venue, "EQ", date.fromisoformat(closed))


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        ("2003-01-02", "14:30", "21:00"),  # winter time
        ("2003-07-01", "13:30", "20:00"),  # summer time
        ("2003-07-03", "13:30", "17:00"),  # early close
        ("2007-03-12", "13:30", "20:00"),  # the first summer day under the law of 2005, three weeks earlier
        ("2006-03-13", "14:30", "21:00"),
        ("2024-11-29", "14:30", "18:00"),
    ],
)
def test_us_sessions_follow_new_york_time(calendar: Calendar, day: str, opens: str, closes: str) -> None:
    on = date.fromisoformat(day)
    assert trading(calendar, "XNYS", "EQ", on) == [utc(on, opens, closes)]


def test_us_years_have_their_known_number_of_trading_days(calendar: Calendar) -> None:
    years = Counter(day.year for venue, _, day in calendar if venue == "XNYS")
    assert [years[y] for y in (2000, 2001, 2002, 2003, 2004, 2008, 2012)] == [252, 248, 252, 252, 252, 253, 250]
    assert [years[y] for y in (2024, 2025, 2026)] == [252, 250, 251]


def test_indian_cash_years_have_their_known_number_of_trading_days(calendar: Calendar) -> None:
    """Weekdays less closures, plus special weekend days and the muhurat days: 262 - 17 + 3 + 1 in 2024, and so on."""
    for venue in ("XNSE", "XBOM"):
        days = {d for v, segment, d in calendar if (v, segment) == (venue, "CM") and trading(calendar, v, segment, d)}
        years = Counter(d.year for d in days)
        weekends = sorted(d.isoformat() for d in days if d.weekday() > 4)
        assert weekends == ["2024-01-20", "2024-03-02", "2024-05-18", "2025-02-01", "2026-02-01", "2026-11-08"]
        assert [years[y] for y in (2024, 2025, 2026)] == [249, 249, 247]


def test_equity_derivatives_close_ten_minutes_later_since_august_2026(calendar: Calendar) -> None:
    before, after = date(2026, 7, 31), date(2026, 8, 3)
    assert trading(calendar, "XNSE", "FO", before) == [utc(before, "03:45", "10:00")]
    assert trading(calendar, "XNSE", "FO", after) == [utc(after, "03:45", "10:10")]


def test_cash_stocks_with_derivatives_stop_for_the_closing_auction_since_august_2026(calendar: Calendar) -> None:
    before, after = date(2026, 7, 31), date(2026, 8, 3)
    assert trading(calendar, "XNSE", "CM_FO", before) == [utc(before, "03:45", "10:00")]
    assert trading(calendar, "XNSE", "CM_FO", after) == [utc(after, "03:45", "09:45")]
    assert trading(calendar, "XNSE", "CM", after) == [utc(after, "03:45", "10:00")]
    auction = [s for s in calendar["XNSE", "CM_FO", after] if s.kind == "closing_auction"]
    assert [(s.opens_at, s.closes_at) for s in auction] == [utc(after, "09:45", "10:05")]
    assert not [s for s in calendar["XNSE", "CM_FO", before] if s.kind == "closing_auction"]


def test_the_pre_open_entry_window_is_longer_since_september_2026(calendar: Calendar) -> None:
    for day, closes in ((date(2026, 9, 4), "03:38"), (date(2026, 9, 7), "03:40")):
        window = [s for s in calendar["XNSE", "CM", day] if s.kind == "pre_open"]
        assert [(s.opens_at, s.closes_at) for s in window] == [utc(day, "03:30", closes)]


def test_muhurat_trading_is_open_on_a_closed_day(calendar: Calendar) -> None:
    diwali = date(2025, 10, 21)
    for segment in ("CM", "FO", "CDS"):
        assert trading(calendar, "XNSE", segment, diwali) == [utc(diwali, "08:15", "09:15")]
        assert not trading(calendar, "XNSE", segment, date(2025, 10, 22))


def test_the_switch_over_drills_have_two_sessions(calendar: Calendar) -> None:
    day = date(2024, 3, 2)
    assert trading(calendar, "XNSE", "CM", day) == [utc(day, "03:45", "04:30"), utc(day, "06:00", "07:00")]
    assert not trading(calendar, "XNSE", "CDS", day)


def test_currency_derivatives_keep_their_own_holidays(calendar: Calendar) -> None:
    for closed in (date(2025, 9, 8), date(2026, 4, 1), date(2026, 8, 26)):
        assert not trading(calendar, "XNSE", "CDS", closed)
        assert trading(calendar, "XNSE", "CM", closed)
    moved = date(2025, 9, 5)
    assert trading(calendar, "XNSE", "CDS", moved) == [utc(moved, "03:30", "11:30")]


def test_every_session_names_its_source(calendar: Calendar) -> None:
    assert all(s.source for day in calendar.values() for s in day)


HOURS = Hours(
    "XTST", "EQ", "regular", "America/New_York", time(9, 30), time(16), date(2024, 1, 1), date(2024, 1, 9), "t"
)


def test_weekends_and_closures_have_no_session() -> None:
    days = [s.day.day for s in expand_calendar([HOURS], {("XTST", "EQ"): frozenset({date(2024, 1, 1)})}, [])]
    assert days == [2, 3, 4, 5, 8, 9]


def test_a_special_session_replaces_the_day_and_beats_a_closure() -> None:
    special = SpecialSession("XTST", "EQ", date(2024, 1, 6), "special", time(10), time(11), "t")
    early = SpecialSession("XTST", "EQ", date(2024, 1, 3), "early_close", time(9, 30), time(13), "t")
    closed = {("XTST", "EQ"): frozenset({date(2024, 1, 3)})}
    sessions = {s.day.day: s for s in expand_calendar([HOURS], closed, [special, early])}
    assert sorted(sessions) == [1, 2, 3, 4, 5, 6, 8, 9]
    assert sessions[3].closes_at == datetime(2024, 1, 3, 18, tzinfo=UTC)
    assert sessions[6].kind == "special"


def test_a_session_is_open_at_its_opening_time_and_over_at_its_close() -> None:
    sessions = expand_calendar([HOURS], {}, [])
    second = sessions[1]
    assert session_at(sessions, second.opens_at) == second
    assert session_at(sessions, sessions[0].closes_at) == second
    assert session_at(sessions, second.closes_at) == sessions[2]
    assert session_at(sessions, sessions[-1].closes_at) is None
