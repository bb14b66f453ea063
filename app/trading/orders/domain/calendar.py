"""Decides which jobs a trading calendar asks for, and when each is due: by its own session, never by a usual time.

So an early close, a Muhurat hour, a drill of two sessions and a holiday that is declared overnight need no case of
their own. A job is named by its feed, scope (venue and segment), kind, day and turn: making it twice makes it once.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from app.market.instruments.domain import TRADING_KINDS, Session


class JobKind(StrEnum):
    """What is done, in the order in which jobs of one moment are."""

    EXPIRE = "expire"  # orders whose session or contract has ended
    OPEN = "open"  # orders that wait for the session
    SQUARE_OFF = "square_off"  # intraday orders and positions, while they can still be closed


@dataclass(frozen=True, slots=True)
class Job:
    """`turn` counts a day's sessions from 1 (`open`: one each; the others: one for the day). `until`: the close of the
    day's last session; what is later belongs to another job."""

    venue: str
    segment: str
    kind: JobKind
    day: date
    turn: int
    due_at: datetime
    until: datetime


SQUARE_OFF_BEFORE = {"CDS": timedelta(minutes=15)}
"""How long before a segment's last close intraday positions are closed, where it is not the usual time: a broker that
does it himself charges for it, and does so minutes later."""

USUAL_SQUARE_OFF_BEFORE = timedelta(minutes=10)

EXPIRE_AFTER = timedelta(minutes=30)
"""After the close: until then brokers still tell of the session's last fills."""


def cut_off(segment: str, closes_at: datetime) -> datetime:
    """From when on until the day's last close, `closes_at`, intraday positions are closed and none is opened."""
    return closes_at - SQUARE_OFF_BEFORE.get(segment, USUAL_SQUARE_OFF_BEFORE)


def jobs_of(sessions: Iterable[Session]) -> list[Job]:
    """The jobs of these sessions of continuous trading, by due time. A day's sessions must be there all or none."""
    days: defaultdict[tuple[str, str, date], list[Session]] = defaultdict(list)
    for session in sessions:
        if session.kind in TRADING_KINDS:
            days[session.venue, session.segment, session.day].append(session)
    jobs = [job for held in days.values() for job in _jobs_of_day(sorted(held, key=lambda one: one.opens_at))]
    return sorted(jobs, key=lambda job: (job.due_at, job.kind, job.venue, job.segment))


def _jobs_of_day(sessions: Sequence[Session]) -> Iterable[Job]:
    last = sessions[-1]
    scope = (last.venue, last.segment)
    for turn, session in enumerate(sessions, start=1):
        yield Job(*scope, JobKind.OPEN, session.day, turn, session.opens_at, last.closes_at)
    due_at = max(last.opens_at, cut_off(last.segment, last.closes_at))
    yield Job(*scope, JobKind.SQUARE_OFF, last.day, 1, due_at, last.closes_at)
    yield Job(*scope, JobKind.EXPIRE, last.day, 1, last.closes_at + EXPIRE_AFTER, last.closes_at)
