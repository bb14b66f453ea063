"""Decides what a replayed bar looks like on the stream: which entries, at which market times, in which order. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from operator import itemgetter
from uuid import UUID

import numpy as np

from app.engine.fills import bar_path
from app.kernel.times import format_time
from app.market.data.domain import PRICES, Bars, from_us, to_us
from app.market.instruments.domain import Session

Entry = dict[str, str]

_ACTION, _PRICE, _BAR, _SESSION_CLOSE = range(4)


@dataclass(frozen=True, slots=True)
class TapeAction:
    """A split, `numerator` new units for `denominator` old, or a cash dividend of `amount` a unit at `price_exp`.

    `effective_at` is the session open of the ex-date.
    """

    action_id: UUID
    effective_at: datetime
    ex_date: date
    numerator: int | None = None
    denominator: int | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class TapeSeries:
    """One instrument of a tape: its raw bars, its corporate actions, and its venue's sessions by close time."""

    instrument_id: UUID
    venue: str
    bars: Bars
    actions: Sequence[TapeAction]
    sessions: dict[datetime, Session]


@dataclass(frozen=True, slots=True)
class Step:
    """Everything between two watermarks.

    `batches` are published one after the other; after each the feed waits until it has been applied. All but the last
    end with corporate actions. `actions` are those of each batch, by position. `closes`: (instrument, price, day).
    """

    at: datetime
    opens_at: datetime
    batches: list[list[Entry]]
    actions: list[list[tuple[UUID, TapeAction]]]
    closes: list[tuple[UUID, int, date]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tape:
    """All series of a feed. `times`: the close times of all bars, each once: its watermarks, oldest first."""

    series: Sequence[TapeSeries]
    times: Sequence[datetime]
    session_closes: Sequence[tuple[datetime, str]]

    @classmethod
    def of(cls, series: Sequence[TapeSeries]) -> "Tape":
        arrays = [one.bars.at_us for one in series if len(one.bars)]
        times = [from_us(int(at)) for at in np.unique(np.concatenate(arrays))] if arrays else []
        return cls(series, times, sorted({(close, one.venue) for one in series for close in one.sessions}))

    def closes_between(self, after: datetime, at: datetime) -> Sequence[tuple[datetime, str]]:
        """Session closes and their venues, later than `after`, up to `at`."""
        low = bisect_right(self.session_closes, after, key=itemgetter(0))
        return self.session_closes[low : bisect_right(self.session_closes, at, key=itemgetter(0))]


def build_step(tape: Tape, *, after: datetime, at: datetime, interval: str, length: timedelta) -> Step:
    """What happens from `after`, exclusive, to the bar time `at`, inclusive.

    Entries are in market time; at one time actions come before prices, prices before bars, bars before the close of
    the session. A bar's prices are its open, the two extremes and its close, spread evenly over it.
    """
    timeline: list[tuple[datetime, int, int, int, Entry, tuple[UUID, TapeAction] | None]] = []
    closes: list[tuple[UUID, int, date]] = []
    opens: list[datetime] = []
    for rank, one in enumerate(tape.series):
        for action in one.actions:
            if after < action.effective_at <= at:
                entry = _action_entry(one.instrument_id, action)
                timeline.append((action.effective_at, _ACTION, rank, 0, entry, (one.instrument_id, action)))
        index = int(np.searchsorted(one.bars.at_us, to_us(at)))
        if index == len(one.bars) or one.bars.at_us[index] != to_us(at):
            continue
        session = one.sessions.get(at) if interval == "1d" else None
        opened = session.opens_at if session else at if interval == "1d" else at - length
        values = {name: int(getattr(one.bars, name)[index]) for name in (*PRICES, "volume")}
        path = bar_path(**values)
        for number, event in enumerate(path):
            moment = opened + (at - opened) * number / (len(path) - 1)
            price = {
                "type": "price",
                "instrument_id": str(one.instrument_id),
                "price": str(event.price),
                "volume": str(event.volume),
                "at": format_time(moment),
                "first": "1" if event.first else "0",
            }
            timeline.append((moment, _PRICE, rank, number, price, None))
        texts = {name: str(value) for name, value in values.items()}
        bar = {
            "type": "bar",
            "instrument_id": str(one.instrument_id),
            "interval": interval,
            "at": format_time(at),
            **texts,
        }
        timeline.append((at, _BAR, rank, 0, bar, None))
        closes.append((one.instrument_id, values["close"], session.day if session else at.date()))
        opens.append(opened)
    for rank, (close, venue) in enumerate(tape.closes_between(after, at)):
        closing = {"type": "session_close", "venue": venue, "at": format_time(close)}
        timeline.append((close, _SESSION_CLOSE, rank, 0, closing, None))
    timeline.sort(key=lambda item: item[:4])
    batches, actions = _batches([(entry, action) for *_, entry, action in timeline])
    return Step(at, max(after, min(opens, default=at)), batches, actions, closes)


def watermark_entry(interval: str, at: datetime) -> Entry:
    """Says that everything up to `at` is complete."""
    return {"type": "watermark", "interval": interval, "at": format_time(at)}


def _batches(
    timeline: list[tuple[Entry, tuple[UUID, TapeAction] | None]],
) -> tuple[list[list[Entry]], list[list[tuple[UUID, TapeAction]]]]:
    """Cut the timeline after each run of actions, so that they can be waited for."""
    batches: list[list[Entry]] = [[]]
    actions: list[list[tuple[UUID, TapeAction]]] = [[]]
    for entry, action in timeline:
        if action is None and actions[-1]:
            batches.append([])
            actions.append([])
        batches[-1].append(entry)
        if action is not None:
            actions[-1].append(action)
    if actions[-1]:
        batches.append([])
        actions.append([])
    return batches, actions


def _action_entry(instrument_id: UUID, action: TapeAction) -> Entry:
    if action.amount is None:
        terms = {"kind": "split", "numerator": str(action.numerator), "denominator": str(action.denominator)}
    else:
        terms = {"kind": "dividend", "amount": str(action.amount)}
    return {
        "type": "action",
        "instrument_id": str(instrument_id),
        "action_id": str(action.action_id),
        **terms,
        "at": format_time(action.effective_at),
    }
