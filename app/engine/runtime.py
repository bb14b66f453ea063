"""Runs a program over bars, a block or one bar at a time, with state that lives in flat arrays.

Signal state is a pure function of the bars and splits seen since the first one. It is never stored per bar: a driver
that lost it builds a new runtime and warms it up on the same bars, and gets the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.engine.bars import Bars, Int64, day_number
from app.engine.columns import EVENT, Event, Kind, Setting
from app.engine.instruments import Instrument, scales, static_array
from app.engine.layout import BLOCK, FIELDS, SIGNAL, WEIGHT, Code, Flag, Op
from app.engine.program import Program
from app.kernel.errors import invalid

if TYPE_CHECKING:
    from app.engine.kernels.book import Machine

_NO_EVENTS = np.zeros((0, EVENT), np.int64)
_CACHED, _HELD = 2**18, 2**22
"""Bytes of columns: of one instrument, of all."""
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


def block_of(program: Program, slots: int) -> int:
    """Rows of a block: the columns of one instrument stay in the second-level cache, those of all in the third."""
    per_row = 9 * program.nodes
    return min(BLOCK, max(_CACHED // per_row, 64), max(_HELD // (per_row * slots), 16))


class Pass:
    """One run of a program over one market, block by block, into weights and flags (slots, block)."""

    def __init__(self, runtime: "ProgramRuntime", market: Any, weights: Int64, flags: npt.NDArray[np.uint8]) -> None:
        """`market`: a `book.Market`, or a part of it that other calls take, too."""
        from app.engine.kernels import native

        program = runtime.program
        machine = runtime.part(weights.shape[1])
        self._early, self._target, self._rule = program.early, program.target, program.rule
        self._sparse, self._gate = program.sparse, program.gate
        self._least = -int(program.settings[Setting.SHORT])
        self._run = native.bind("run", machine, market)
        self._split = partial(native.bind, "split", machine)
        self._signal = runtime.machine(weights.shape[1]).signal
        self._signals = native.bind("signals", machine, market, weights, flags)
        self._signalling = program.early == program.nodes and not program.trades

    def advance(self, start: int, end: int, splits: Sequence[tuple[int, int, int, int]] = ()) -> None:
        """Rows [start, end), at most one block: the nodes that depend on bars alone, and the signals where they do.

        `splits`: (row, slot, numerator, denominator), by row. They cut the block: what the state remembers is restated
        between its parts.
        """
        at = start
        for row, slot, numerator, denominator in splits:
            self._compute(at, row, start)
            at = row
            self._split()(0, self._early, slot, numerator, denominator)
        self._compute(at, end, start)

    def signal(self, target: int, rule: int, start: int, end: int) -> None:
        """Signals of another target and rule, from nothing known, of the columns there are."""
        self._signal[:] = 0
        self._signals(target, rule, self._gate, self._least, start, end, start)

    def _compute(self, start: int, end: int, base: int) -> None:
        if end > start:
            self._run(0, self._early, self._sparse, self._gate, start, end, base)
            if self._signalling:
                self._signals(self._target, self._rule, self._gate, self._least, start, end, base)


class ProgramRuntime:
    """One program on one list of instruments. Not safe for concurrent use. Raises `too_few_instruments`."""

    def __init__(self, program: Program, instruments: Sequence[Instrument], *, block: int | None = None) -> None:
        slots = len(instruments)
        if slots < program.instruments:
            reason = f"The program reads instrument {program.instruments} of its list; the list has {slots}."
            raise invalid("too_few_instruments", reason, param="instruments")
        self.program = program
        self.slots = slots
        self.block = block_of(program, slots) if block is None else block
        self._scales = scales(static_array(instruments))
        self._ints = np.zeros((slots, program.ints), np.int64)
        self._floats = np.zeros((slots, program.floats), np.float64)
        self._signal = np.zeros((slots, SIGNAL), np.int64)
        self._fields = np.zeros((FIELDS, slots, 1), np.int64)
        self._valid = np.zeros((slots, 1), np.uint8)
        self._day = np.zeros(1, np.int64)
        self._weights = np.zeros((slots, 1), np.int64)
        self._flags = np.zeros((slots, 1), np.uint8)
        self._machines: dict[int, Machine] = {}
        self._parts: dict[int, Any] = {}
        self._live: Pass | None = None

    def machine(self, size: int) -> "Machine":
        """The program and its state, with columns for blocks of `size` rows."""
        from app.engine.kernels.book import Machine

        found = self._machines.get(size)
        if found is None:
            program, shape = self.program, (self.slots, self.program.nodes, size)
            columns, ops = np.zeros(shape, np.float64), program.code[:, Code.OP]
            for node in np.flatnonzero(ops == Op.CONST):
                columns[:, node] = program.constants[node]
            columns[:, ops == Op.INSTRUMENT] = np.arange(1.0, self.slots + 1.0)[:, None, None]
            found = self._machines[size] = Machine(
                program.code, program.constants, program.outputs, self._scales, self._ints, self._floats, self._signal,
                columns, np.zeros(shape, np.uint8), np.zeros(self.slots), np.zeros(size + 1, np.int64),
            )  # fmt: skip
        return found

    def part(self, size: int) -> Any:
        """`machine`, as several calls take it."""
        from app.engine.kernels import native
        from app.engine.kernels.book import Machine

        if size not in self._parts:
            self._parts[size] = native.part(Machine, self.machine(size))
        return self._parts[size]

    def over(self, bars: Bars, weights: Int64, flags: npt.NDArray[np.uint8]) -> Pass:
        """This program over these bars; weights i8 and flags u1, (slots, block), are written from each block's first
        place on."""
        from app.engine.kernels.book import Market

        return Pass(self, Market(bars.fields, bars.valid, bars.days, _NO_EVENTS, _NO_EVENTS), weights, flags)

    def warm_up(self, bars: Bars, events: Int64 | None = None) -> Signals:
        """Take in closed bars (and the splits of their `timeline`); the signals after the last one."""
        if bars.slots != self.slots:
            raise invalid("invalid_bars", f"{bars.slots} series for {self.slots} instruments.", param="bars")
        weights = np.zeros((self.slots, self.block), np.int64)
        flags = np.zeros((self.slots, self.block), np.uint8)
        over, last = self.over(bars, weights, flags), 0
        for start in range(0, bars.rows, self.block):
            end = min(start + self.block, bars.rows)
            over.advance(start, end, splits_of(events, start, end))
            last = end - start - 1
        return Signals(tuple(weights[:, last].tolist()), tuple(flags[:, last].tolist()))

    def on_bar(
        self, day: date | int, rows: Sequence[Row | None], splits: Sequence[tuple[int, int, int]] = ()
    ) -> Signals:
        """Take in one closed bar: per slot its row, None where it is missing. `day`: the venue's trading date.

        `splits`: (slot, numerator, denominator) effective before this bar, each given once.
        """
        if self._live is None:
            from app.engine.kernels.book import Market

            market = Market(self._fields, self._valid, self._day, _NO_EVENTS, _NO_EVENTS)
            self._live = Pass(self, market, self._weights, self._flags)
        for slot, row in enumerate(rows):
            self._valid[slot, 0] = row is not None
            if row is not None:
                self._fields[:, slot, 0] = row
        self._day[0] = day_number(day) if isinstance(day, date) else day
        self._live.advance(0, 1, [(0, *split) for split in splits])
        return Signals(tuple(self._weights[:, 0].tolist()), tuple(self._flags[:, 0].tolist()))

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


def splits_of(events: Int64 | None, start: int, end: int) -> list[tuple[int, int, int, int]]:
    """(row, slot, numerator, denominator) of each split of a `timeline` in rows [start, end)."""
    if events is None or len(events) == 0:
        return []
    low, high = np.searchsorted(events[:, Event.ROW], [start, end])
    within = events[low:high]
    columns = [Event.ROW, Event.SLOT, Event.A, Event.B]
    return [tuple(row) for row in within[within[:, Event.KIND] == Kind.SPLIT][:, columns].tolist()]
