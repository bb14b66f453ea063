"""Mean reversion against its definition."""

from collections.abc import Callable

import numpy as np
import pytest

from app.engine.bars import Bars
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.kernel.errors import DomainError
from app.trading.strategies.library.mean_reversion import PLUGIN


def test_it_buys_below_the_entry_and_sells_at_the_exit(
    walks: Callable[[int, int, int], Bars], shares: Callable[[int], list[Instrument]]
) -> None:
    bars = walks(600, 2, 10)
    runtime = ProgramRuntime(compile_program(PLUGIN.build(PLUGIN.parse({"entry_z": -1.2}), 2)), shares(2))
    held = [False, False]
    turns = 0
    for row in range(600):
        rows = [tuple(int(v) for v in bars.fields[:, slot, row]) for slot in range(2)]
        said = runtime.on_bar(int(bars.days[row]), rows)
        if row < 19:
            continue
        for slot in range(2):
            window = bars.fields[3, slot, row - 19 : row + 1].astype(np.float64)
            score = (window[-1] - window.mean()) / window.std()
            before = held[slot]
            held[slot] = score < 0.0 if before else score < -1.2
            turns += held[slot] != before
        assert [weight > 0 for weight in said.weights] == held
    assert turns > 20


def test_the_exit_must_be_above_the_entry() -> None:
    with pytest.raises(DomainError, match="exit_z must be above"):
        PLUGIN.parse({"entry_z": -1.0, "exit_z": -1.5})
    with pytest.raises(DomainError) as error:
        PLUGIN.parse({"window": 2})
    assert error.value.param == "parameters.window"
