"""Runs a program over bars, a block or one bar at a time, with state that lives in flat arrays.

Signal state is a pure function of the bars and splits seen since the first one. It is never stored per bar: a driver
that lost it builds a new runtime and warms it up on the same bars, and gets the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from app.engine.bars import Bars, Int64, day_number
from app.engine.columns import EVENT, Event, Kind, Setting
from app.engine.instruments import Instrument, scales, static_array
from app.engine.layout import BLOCK, FIELDS, SIGNAL, WEIGHT, Flag
from app.engine.program import Program
from app.kernel.errors import invalid

if TYPE_CHECKING:
    from app.engine.kernels.book import Machine, Market

_NO_EVENTS = np.zeros((0, EVENT), np.int64)
Row = Sequence[int]
"""Open, high, low, close at `price_exp`, volume at `qty_exp`."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What a program says after one bar. Per slot: the target weight at `layout.WEIGHT` and a `layout.Flag`."""

    weights: tuple[int, ...]
    flags: tuple[int, ...]

    @property
    def rebalances(self) -> bool:
        return Flag.REBALANCE in self.flags

    def weight(self, slot: int) -> float:
        """For display."""
        return self.weights[slot] / WEIGHT


class ProgramRuntime:
    """One program on one list of instruments. Not safe for concurrent use. Raises `too_few_instruments`."""

    def __init__(self, program: Program, instruments: Sequence[Instrument], *, block: int = BLOCK) -> None:
        slots = len(instruments)
        if slots < program.instruments:
            reason = f"The program reads instrument {program.instruments} of its list; the list has {slots}."
            raise invalid("too_few_instruments", reason, param="instruments")
        self.program = program
        self.slots = slots
        self._scales = scales(static_array(instruments))
        self._ints = np.zeros((slots, program.ints), np.int64)
        self._floats = np.zeros((slots, program.floats), np.float64)
        self._signal = np.zeros((slots, SIGNAL), np.int64)
        self._fields = np.zeros((FIELDS, slots, 1), np.int64)
        self._valid = np.zeros((slots, 1), np.uint8)
        self._day = np.zeros(1, np.int64)
        self._weights = np.zeros((1, slots), np.int64)
        self._flags = np.zeros((1, slots), np.uint8)
        self._block = block
        self._machines: dict[int, Machine] = {}

    def machine(self, size: int) -> "Machine":
        """The program and its state, with columns for blocks of `size` rows."""
        from app.engine.kernels.book import Machine

        found = self._machines.get(size)
        if found is None:
            program, shape = self.program, (self.slots, self.program.nodes, size)
            found = self._machines[size] = Machine(
                program.code, program.constants, program.outputs, self._scales, self._ints, self._floats, self._signal,
                np.zeros(shape, np.float64), np.zeros(shape, np.uint8),
            )  # fmt: skip
        return found

    def warm_up(self, bars: Bars, events: Int64 | None = None) -> Signals:
        """Take in closed bars (and the splits of their `timeline`); the signals after the last one."""
        if bars.slots != self.slots:
            raise invalid("invalid_bars", f"{bars.slots} series for {self.slots} instruments.", param="bars")
        size = self._block
        weights, flags = np.zeros((size, self.slots), np.int64), np.zeros((size, self.slots), np.uint8)
        last = 0
        for start in range(0, bars.rows, size):
            end = min(start + size, bars.rows)
            self.advance(bars, events, start, end, weights, flags)
            last = end - start - 1
        return Signals(tuple(weights[last].tolist()), tuple(flags[last].tolist()))

    def on_bar(
        self, day: date | int, rows: Sequence[Row | None], splits: Sequence[tuple[int, int, int]] = ()
    ) -> Signals:
        """Take in one closed bar: per slot its row, None where it is missing. `day`: the venue's trading date.

        `splits`: (slot, numerator, denominator) effective before this bar, each given once.
        """
        from app.engine.kernels import machine
        from app.engine.kernels.book import Market

        for slot, numerator, denominator in splits:
            machine.split(self.machine(1), 0, self.program.early, slot, numerator, denominator)
        for slot, row in enumerate(rows):
            self._valid[slot, 0] = row is not None
            if row is not None:
                self._fields[:, slot, 0] = row
        self._day[0] = day_number(day) if isinstance(day, date) else day
        self._compute(1, Market(self._fields, self._valid, self._day, _NO_EVENTS), self._weights, self._flags, 0, 1, 0)
        return Signals(tuple(self._weights[0].tolist()), tuple(self._flags[0].tolist()))

    def advance(
        self, bars: Bars, events: Int64 | None, start: int, end: int, weights: Int64, flags: npt.NDArray[np.uint8]
    ) -> None:
        """Rows [start, end), at most one block, into weights and flags (rows, slots), from their first row on.

        A split cuts the block in two: what the state remembers is restated between them.
        """
        from app.engine.kernels import machine
        from app.engine.kernels.book import Market

        market = Market(bars.fields, bars.valid, bars.days, _NO_EVENTS)
        at = start
        for stop, split in _cuts(events, start, end):
            if stop > at:
                self._compute(self._block, market, weights, flags, at, stop, start)
                at = stop
            if split is not None:
                machine.split(self.machine(self._block), 0, self.program.early, *split)

    def _compute(
        self, size: int, market: "Market", weights: Int64, flags: npt.NDArray[np.uint8], start: int, end: int, base: int
    ) -> None:
        """The nodes that depend on bars alone; the signals too, where they do."""
        from app.engine.kernels import machine

        program, columns = self.program, self.machine(size)
        machine.run(columns, market, 0, program.early, start, end, base)
        if program.early == program.nodes and not program.trades:
            least = -int(program.settings[Setting.SHORT])
            machine.signals(columns, market, weights, flags, program.target, program.rule, least, start, end, base)

    def state(self) -> bytes:
        """The whole signal state, for comparing two runtimes or moving one between processes of one machine type."""
        return self._ints.tobytes() + self._floats.tobytes() + self._signal.tobytes()

    def restore(self, state: bytes) -> None:
        """Take over `state` of a runtime of the same program and number of instruments."""
        if len(state) != len(self.state()):
            raise invalid("invalid_state", "The state belongs to another program.", param="state")
        at = 0
        for array in (self._ints, self._floats, self._signal):
            array[:] = np.frombuffer(state, array.dtype, array.size, at).reshape(array.shape)
            at += array.nbytes


def _cuts(events: Int64 | None, start: int, end: int) -> list[tuple[int, tuple[int, int, int] | None]]:
    cuts: list[tuple[int, tuple[int, int, int] | None]] = []
    if events is not None and len(events):
        low, high = np.searchsorted(events[:, Event.ROW], [start, end])
        within = events[low:high]
        for event in within[within[:, Event.KIND] == Kind.SPLIT]:
            split = (int(event[Event.SLOT]), int(event[Event.A]), int(event[Event.B]))
            cuts.append((int(event[Event.ROW]), split))
    return [*cuts, (end, None)]
