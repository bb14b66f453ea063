"""Jobs follow the sessions as they are, whatever their times."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.instruments.domain import Session
from app.market.instruments.service import load_calendar
from app.trading.orders.domain.calendar import EXPIRE_AFTER, Job, JobKind, jobs_of

CALENDAR = load_calendar()


def _of(venue: str, segment: str, day: str) -> list[Job]:
    wanted = (venue, segment, date.fromisoformat(day))
    return jobs_of(one for one in CALENDAR if (one.venue, one.segment, one.day) == wanted)


def _due(jobs: list[Job], kind: JobKind) -> list[str]:
    return [(job.due_at + timedelta(hours=5, minutes=30)).strftime("%H:%M") for job in jobs if job.kind is kind]


@pytest.mark.parametrize(
    ("segment", "day", "opens", "cut_off"),
    [
        ("CM", "2026-07-31", ["09:15"], ["15:20"]),
        ("CM_FO", "2026-07-31", ["09:15"], ["15:20"]),
        ("CM_FO", "2026-08-03", ["09:15"], ["15:05"]),  # the closing auction takes the last quarter of an hour
        ("FO", "2026-08-03", ["09:15"], ["15:30"]),
        ("CDS", "2026-08-03", ["09:00"], ["16:45"]),
        ("CM", "2024-11-01", ["18:00"], ["18:50"]),  # Muhurat: the evening of a holiday
        ("CM", "2024-03-02", ["09:15", "11:30"], ["12:20"]),  # a drill: two sessions, one day
        ("CM", "2024-01-20", ["09:15"], ["15:20"]),  # a Saturday in place of a Monday
        ("CM", "2024-01-22", [], []),
        ("CM", "2026-11-24", [], []),  # a holiday
    ],
)
def test_an_indian_session_is_opened_and_squared_off_by_its_own_times(
    segment: str, day: str, opens: list[str], cut_off: list[str]
) -> None:
    jobs = _of("XNSE", segment, day)
    assert _due(jobs, JobKind.OPEN) == opens
    assert _due(jobs, JobKind.SQUARE_OFF) == cut_off
    assert [job.turn for job in jobs if job.kind is JobKind.OPEN] == list(range(1, len(opens) + 1))
    assert len([job for job in jobs if job.kind is JobKind.EXPIRE]) == len(cut_off)


def test_an_early_close_is_squared_off_early() -> None:
    usual, early = (
        next(job for job in _of("XNAS", "EQ", day) if job.kind is JobKind.SQUARE_OFF)
        for day in ("2026-11-25", "2026-11-27")
    )
    assert (usual.due_at, early.due_at) == (
        datetime(2026, 11, 25, 20, 50, tzinfo=UTC),
        datetime(2026, 11, 27, 17, 50, tzinfo=UTC),
    )
    assert early.until == datetime(2026, 11, 27, 18, 0, tzinfo=UTC)


def test_auctions_and_windows_around_a_session_ask_for_nothing() -> None:
    around = [one for one in CALENDAR if one.kind in ("pre_open", "closing_auction", "post_close")]
    assert around and jobs_of(around) == []


@st.composite
def days(draw: st.DrawFn) -> list[Session]:
    """Up to five days of one to three sessions that follow each other."""
    made = []
    for number in draw(st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True)):
        day = date(2026, 3, 2) + timedelta(days=number)
        at = datetime.combine(day, time(3), UTC)
        for _ in range(draw(st.integers(1, 3))):
            opens = at + timedelta(minutes=draw(st.integers(1, 90)))
            at = opens + timedelta(minutes=draw(st.integers(1, 300)))
            made.append(Session("XNSE", "CM", day, "special", opens, at, "test"))
    return made


@given(days())
def test_whatever_the_sessions_each_day_is_opened_then_squared_off_within_it_then_expired(held: list[Session]) -> None:
    jobs = jobs_of(held)
    assert [job.due_at for job in jobs] == sorted(job.due_at for job in jobs)
    assert len({(job.kind, job.day, job.turn) for job in jobs}) == len(jobs)
    for day in {one.day for one in held}:
        sessions = [one for one in held if one.day == day]
        of_day = [job for job in jobs if job.day == day]
        close = max(one.closes_at for one in sessions)
        assert sorted(job.due_at for job in of_day if job.kind is JobKind.OPEN) == sorted(
            one.opens_at for one in sessions
        )
        (cut_off,) = [job for job in of_day if job.kind is JobKind.SQUARE_OFF]
        assert any(one.opens_at <= cut_off.due_at < one.closes_at for one in sessions)
        assert close - cut_off.due_at <= timedelta(minutes=15)
        (end,) = [job for job in of_day if job.kind is JobKind.EXPIRE]
        assert end.due_at == close + EXPIRE_AFTER
        assert {job.until for job in of_day} == {close}
