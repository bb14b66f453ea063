"""Runs a program over bars, a block or one bar at a time, with state that lives in flat arrays.

Signal state is a pure function of the bars and splits seen since the first one. It is never stored per bar: a driver
that lost it builds a new runtime and warms it up on the same bars, and gets the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from app.engine.bars import Bars, Int64, day_number
from app.engine.instruments import Instrument, scales, static_array
from app.engine.layout import BLOCK, FIELDS, SIGNAL, WEIGHT, Event, Flag, Kind
from app.engine.program import Program
from app.kernel.errors import invalid

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
    """One program on one list of instruments. Not safe for concurrent use."""

    def __init__(self, program: Program, instruments: Sequence[Instrument], *, block: int = BLOCK) -> None:
        slots = len(instruments)
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
        self._one = self._registers(1)
        self._many: tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]] | None = None
        self._block = block

    def _registers(self, size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
        shape = (self.slots, self.program.nodes, size)
        return np.zeros(shape, np.float64), np.zeros(shape, np.uint8)

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

        for slot, numerator, denominator in splits:
            machine.split(self.program.code, self._ints, self._floats, slot, numerator, denominator)
        for slot, row in enumerate(rows):
            self._valid[slot, 0] = row is not None
            if row is not None:
                self._fields[:, slot, 0] = row
        self._day[0] = day_number(day) if isinstance(day, date) else day
        registers, known = self._one
        program = self.program
        machine.run(
            program.code, program.constants, self._scales, self._fields, self._valid, self._day, self._ints,
            self._floats, registers, known, 0, 1,
        )  # fmt: skip
        machine.signals(
            registers, known, self._day, self._signal, self._weights, self._flags, program.target,
            int(program.rebalance), 0, 1, 0,
        )  # fmt: skip
        return Signals(tuple(self._weights[0].tolist()), tuple(self._flags[0].tolist()))

    def advance(
        self, bars: Bars, events: Int64 | None, start: int, end: int, weights: Int64, flags: npt.NDArray[np.uint8]
    ) -> None:
        """Rows [start, end), at most one block, into weights and flags (rows, slots), from their first row on.

        A split cuts the block in two: what the state remembers is restated between them.
        """
        from app.engine.kernels import machine

        if self._many is None:
            self._many = self._registers(self._block)
        registers, known = self._many
        program = self.program
        at = start
        for stop, split in _cuts(events, start, end):
            if stop > at:
                machine.run(
                    program.code, program.constants, self._scales, bars.fields, bars.valid, bars.days, self._ints,
                    self._floats, registers, known, at, stop,
                )  # fmt: skip
                machine.signals(
                    registers, known, bars.days, self._signal, weights, flags, program.target,
                    int(program.rebalance), at, stop, start,
                )  # fmt: skip
                at = stop
            if split is not None:
                machine.split(program.code, self._ints, self._floats, *split)

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
