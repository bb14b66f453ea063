"""The three drivers: whole, bar by bar, rebuilt. Signals and state agree bit for bit."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest

from app.engine.bars import EPOCH, Bars, Split, timeline
from app.engine.instruments import Instrument
from app.engine.layout import WEIGHT, Flag
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime, Signals
from app.kernel.errors import DomainError

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
Documents = Callable[..., dict[str, Any]]
CLOSE = {"op": "close"}

LAGGED = {"op": "mul", "left": 3, "right": {"op": "lag", "of": CLOSE, "bars": 6}}
EVERYTHING = {
    "op": "select",
    "when": {
        "op": "latch",
        "enter": {
            "op": "and",
            "left": {"op": "lt", "left": {"op": "zscore", "of": CLOSE, "window": 9}, "right": -0.5},
            "right": {"op": "gt", "left": {"op": "stddev", "of": {"op": "volume"}, "window": 5}, "right": 0},
        },
        "exit": {
            "op": "or",
            "left": {"op": "gt", "left": {"op": "return", "of": CLOSE, "bars": 8, "skip": 2}, "right": 0.03},
            "right": {"op": "month_changed"},
        },
    },
    "then": {
        "op": "min",
        "left": 1,
        "right": {"op": "div", "left": {"op": "sma", "of": CLOSE, "window": 4}, "right": LAGGED},
    },
    "else": 0,
}


def part(bars: Bars, start: int, end: int) -> Bars:
    return Bars(
        bars.times[start:end],
        bars.days[start:end],
        bars.fields[:, :, start:end].copy(),
        bars.valid[:, start:end].copy(),
    )


def feed(runtime: ProgramRuntime, bars: Bars, splits: list[Split], start: int, end: int) -> list[Signals]:
    found = []
    for row in range(start, end):
        rows = [
            tuple(int(v) for v in bars.fields[:, slot, row]) if bars.valid[slot, row] else None
            for slot in range(bars.slots)
        ]
        due = [(s.slot, s.numerator, s.denominator) for s in splits if s.row == row]
        found.append(runtime.on_bar(date.fromordinal(int(bars.days[row]) + EPOCH), rows, due))
    return found


@pytest.mark.parametrize("rebalance", ["on_change", "monthly"])
def test_whole_stepwise_and_rebuilt_agree_bit_for_bit(
    bars_of: Maker, slots: Slots, program_of: Documents, rebalance: str
) -> None:
    bars = bars_of(900, 3, seed=4, missing=0.04)
    splits = [Split(200, 0, 2, 1), Split(200, 2, 1, 3), Split(640, 1, 3, 2)]
    events = timeline(bars, splits)
    program, used = compile_program(program_of(EVERYTHING, rebalance=rebalance)), slots(3)
    whole = ProgramRuntime(program, used, block=256)
    last = whole.warm_up(bars, events)
    single = ProgramRuntime(program, used)
    signals = feed(single, bars, splits, 0, 900)
    assert signals[-1] == last
    assert single.state() == whole.state()
    assert sum(s.rebalances for s in signals) > 10
    for cut in (1, 200, 201, 517, 899):
        rebuilt = ProgramRuntime(program, used)
        before = part(bars, 0, cut)
        rebuilt.warm_up(before, timeline(before, [s for s in splits if s.row < cut]))
        assert feed(rebuilt, bars, splits, cut, 900) == signals[cut:]
        assert rebuilt.state() == whole.state()


def test_a_restored_state_continues_where_it_was(bars_of: Maker, slots: Slots, program_of: Documents) -> None:
    bars = bars_of(120, 2, seed=8)
    program = compile_program(program_of(EVERYTHING))
    first, second = ProgramRuntime(program, slots(2)), ProgramRuntime(program, slots(2))
    feed(first, bars, [], 0, 60)
    second.restore(first.state())
    assert feed(second, bars, [], 60, 120) == feed(first, bars, [], 60, 120)
    with pytest.raises(DomainError, match="another program"):
        second.restore(b"")


def test_the_first_known_target_trades_nothing_on_change(
    by_hand: Maker, slots: Slots, cross_program: Documents
) -> None:
    runtime = ProgramRuntime(compile_program(cross_program(1, 2)), slots(1))
    bars = by_hand((1, 1, 1, 1), (2, 2, 2, 2), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3))
    flags = [signal.flags[0] for signal in feed(runtime, bars, [], 0, 5)]
    assert flags == [Flag.UNKNOWN, Flag.HOLD, Flag.REBALANCE, Flag.REBALANCE, Flag.HOLD]


def test_monthly_rebalances_at_the_first_bar_of_a_month(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand(*[(3, 3, 3, 3)] * 40, day=date(2024, 1, 30).toordinal() - EPOCH)
    bars.valid[0, 2] = 0  # 1 February is missing
    runtime = ProgramRuntime(compile_program(program_of(0.5, rebalance="monthly")), slots(1))
    signals = feed(runtime, bars, [], 0, 40)
    assert [row for row, signal in enumerate(signals) if signal.rebalances] == [3, 31]
    assert signals[2].flags == (Flag.UNKNOWN,)
    assert signals[3].weight(0) == 0.5


def test_weights_are_clipped_to_long_only(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((3, 3, 3, 3))
    for target, weight in ((-2, 0), (7, WEIGHT), (1 / 3, 333_333_333)):
        assert ProgramRuntime(compile_program(program_of(target)), slots(1)).warm_up(bars).weights == (weight,)


def test_bars_of_another_width_are_refused(bars_of: Maker, slots: Slots, program_of: Documents) -> None:
    with pytest.raises(DomainError, match="2 series for 1"):
        ProgramRuntime(compile_program(program_of(1)), slots(1)).warm_up(bars_of(5, 2))


def test_warming_up_on_nothing_knows_nothing(bars_of: Maker, slots: Slots, program_of: Documents) -> None:
    signals = ProgramRuntime(compile_program(program_of(1)), slots(2)).warm_up(bars_of(0, 2))
    assert signals.flags == (Flag.UNKNOWN, Flag.UNKNOWN)


def test_a_target_is_known_after_its_warm_up_and_not_before(
    bars_of: Maker, slots: Slots, program_of: Documents
) -> None:
    lagged = {"op": "lag", "of": {"op": "sma", "of": CLOSE, "window": 10}, "bars": 3}
    program = compile_program(
        program_of({"op": "div", "left": lagged, "right": {"op": "mul", "left": CLOSE, "right": 2}})
    )
    signals = feed(ProgramRuntime(program, slots(1)), bars_of(30), [], 0, 30)
    known = [row for row, signal in enumerate(signals) if signal.flags[0] != Flag.UNKNOWN]
    assert known[0] == program.warm_up - 1
    assert np.diff(known).tolist() == [1] * (len(known) - 1)
