"""Signals of one program on one list of instruments, computed once for every deployment that runs it.

A cache: a process that lost it warms up on the same bars and has the same bits. It never reads past the bar it is asked
for, although the files hold the future of a replayed market.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import numpy as np

from app.engine.bars import Bars, Split, align, day_number, timeline
from app.engine.instruments import Instrument
from app.engine.program import Program
from app.engine.runtime import ProgramRuntime, Signals
from app.market.data.service import load_bars
from app.market.instruments.service import splits_of

CACHED = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar time: the signals after it, and each instrument's last close (0: none yet)."""

    at: datetime
    signals: Signals
    closes: tuple[int, ...]


@dataclass(slots=True)
class _Running:
    runtime: ProgramRuntime
    at: datetime
    closes: list[int]


class SignalBook:
    """The cache of one process. Not safe for two callers of the same program at once."""

    def __init__(self, pool: asyncpg.Pool, data_dir: Path) -> None:
        self._pool = pool
        self._data_dir = data_dir
        self._running: OrderedDict[tuple[str, tuple[UUID, ...], str], _Running] = OrderedDict()

    async def bars(
        self, program: Program, instruments: Sequence[Instrument], interval: str, *, after: datetime, until: datetime
    ) -> list[Bar]:
        """The bars that closed in (after, until], each with its signals, oldest first."""
        key = (program.digest, tuple(one.instrument_id for one in instruments), interval)
        running = self._running.get(key)
        if running is None or running.at != after:
            running = await self._rebuild(program, instruments, interval, until=after)
            self._running[key] = running
            while len(self._running) > CACHED:
                self._running.popitem(last=False)
        self._running.move_to_end(key)
        try:
            return await self._advance(running, instruments, interval, until=until)
        except BaseException:
            del self._running[key]  # half advanced: the next caller rebuilds it
            raise

    async def _load(
        self, instruments: Sequence[Instrument], interval: str, start: datetime | None, end: datetime
    ) -> Bars:
        series = []
        for one in instruments:
            found = await load_bars(self._pool, self._data_dir, one.instrument_id, interval, start, end)
            days = found.at_us // 86_400_000_000 + day_number(_EPOCH.date())
            columns = {name: getattr(found, name) for name in ("open", "high", "low", "close", "volume")}
            series.append({"times": found.at_us, "days": days, **columns})
        return align(series)

    async def _splits(
        self, instruments: Sequence[Instrument], bars: Bars, after: datetime | None, until: datetime
    ) -> list[Split]:
        """The splits effective in (after, until], at the row of the first bar that closes behind them."""
        found = []
        for slot, one in enumerate(instruments):
            for split in await splits_of(self._pool, one.instrument_id):
                at = split.effective_at
                row = int(np.searchsorted(bars.times, _us(at)))
                if (after is None or at > after) and at <= until and row < bars.rows:
                    found.append(Split(row=row, slot=slot, numerator=split.numerator, denominator=split.denominator))
        return found

    async def _rebuild(
        self, program: Program, instruments: Sequence[Instrument], interval: str, *, until: datetime
    ) -> _Running:
        runtime = ProgramRuntime(program, instruments)
        bars = await self._load(instruments, interval, None, until)
        if bars.rows:
            splits = await self._splits(instruments, bars, None, until)
            runtime.warm_up(bars, timeline(bars, splits) if splits else None)
        return _Running(runtime, until, _last_closes(bars))

    async def _advance(
        self, running: _Running, instruments: Sequence[Instrument], interval: str, *, until: datetime
    ) -> list[Bar]:
        bars = await self._load(instruments, interval, running.at + _TICK, until)
        splits = await self._splits(instruments, bars, running.at, until)
        answer = []
        for row in range(bars.rows):
            fields, valid = bars.fields[:, :, row], bars.valid[:, row]
            rows = [tuple(fields[:, slot].tolist()) if valid[slot] else None for slot in range(bars.slots)]
            due = [(s.slot, s.numerator, s.denominator) for s in splits if s.row == row]
            for slot, numerator, denominator in due:
                running.closes[slot] = running.closes[slot] * denominator // numerator
            signals = running.runtime.on_bar(int(bars.days[row]), rows, due)
            for slot, values in enumerate(rows):
                if values is not None:
                    running.closes[slot] = values[3]
            answer.append(Bar(_EPOCH + timedelta(microseconds=int(bars.times[row])), signals, tuple(running.closes)))
        running.at = until
        return answer


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _TICK


def _last_closes(bars: Bars) -> list[int]:
    closes = []
    for slot in range(bars.slots):
        rows = np.flatnonzero(bars.valid[slot])
        closes.append(int(bars.fields[3, slot, rows[-1]]) if len(rows) else 0)
    return closes
