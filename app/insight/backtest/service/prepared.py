"""A run with everything it needs, whether of files or of stored bars: simulate it, write its document."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from app.engine.bars import EPOCH, AnyEvent, Bars, day_number
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import Program
from app.engine.schedule import Schedule
from app.engine.simulation import Result, backtest
from app.engine.terms import Terms
from app.insight.backtest.domain import Source, result_document
from app.kernel.errors import conflict, invalid


@dataclass(frozen=True, slots=True)
class Prepared:
    """`cash` in minor units; `first_row`: the first that may decide; `events`: splits, dividends and expiries; `finer`:
    finer bars, and what they were read from."""

    program: Program
    bars: Bars
    instruments: list[Instrument]
    sources: list[Source]
    cash: int
    schedule: Schedule
    slippage: SlippageModel
    terms: Terms
    first_row: int
    events: Sequence[AnyEvent] = ()
    finer: Bars | None = None
    finer_sources: Sequence[Source] = ()

    def run(self, bars: Bars, *, block: int | None = None, on_block: Callable[[int], None] | None = None) -> Result:
        """Simulate on `bars`: the run's own, or what a look-ahead test made of them."""
        return backtest(
            self.program, bars, instruments=self.instruments, cash=self.cash,
            schedule=self.schedule.trading_from(trading_day(self.bars, self.first_row)),
            slippage=self.slippage, terms=self.terms, events=[one for one in self.events if one.row < bars.rows],
            trade_from=min(self.first_row, bars.rows), block=block, on_block=on_block,
            finer=self.finer,
        )  # fmt: skip

    def document(
        self, on_block: Callable[[int], None] | None = None, *, most_fills: int | None = None
    ) -> dict[str, Any]:
        """Run it, and say what came of it. Raises `too_many_fills`, and what `run` raises."""
        result = self.run(self.bars, on_block=on_block)
        if most_fills is not None and len(result.fills) > most_fills:
            reason = f"It traded {len(result.fills):,} times, and a result holds {most_fills:,}: use fewer bars."
            raise conflict("too_many_fills", reason)
        return result_document(
            self.program, self.bars, result, instruments=self.instruments, sources=self.sources,
            first_row=self.first_row, finer=self.finer_sources,
        )  # fmt: skip


def trading_day(bars: Bars, row: int) -> date:
    """Of one bar time."""
    return date.fromordinal(int(bars.days[row]) + EPOCH)


def first_row(bars: Bars, start: date | None) -> int:
    """Of the first trading date from `start` on. Raises `invalid_range`."""
    first = 0 if start is None else int(np.searchsorted(bars.days, day_number(start)))
    if first >= bars.rows:
        raise invalid("invalid_range", "No bar lies in the range from start to end.", param="start")
    return first


def cut(bars: Bars, end: date | None) -> Bars:
    """Without the bars after the trading date `end`."""
    if end is None:
        return bars
    rows = int(np.searchsorted(bars.days, day_number(end), side="right"))
    fields, valid = np.ascontiguousarray(bars.fields[:, :, :rows]), np.ascontiguousarray(bars.valid[:, :rows])
    return Bars(bars.times[:rows], bars.days[:rows], fields, valid)
