"""Time-series momentum against its definition."""

from collections.abc import Callable
from datetime import date

import pytest

from app.engine.bars import EPOCH, Bars
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.kernel.errors import DomainError
from app.trading.strategies.library.momentum import PLUGIN


def test_it_holds_what_rose_over_twelve_months_without_the_last(
    walks: Callable[[int, int, int], Bars], shares: Callable[[int], list[Instrument]]
) -> None:
    bars = walks(700, 3, 9)
    program = compile_program(PLUGIN.build(PLUGIN.parse({}), 3))
    runtime = ProgramRuntime(program, shares(3))
    months, held = [], [False] * 3
    for row in range(700):
        rows = [tuple(int(v) for v in bars.fields[:, slot, row]) for slot in range(3)]
        said = runtime.on_bar(int(bars.days[row]), rows)
        if said.rebalances:
            rose = [bars.fields[3, s, row - 21] > bars.fields[3, s, row - 252] for s in range(3)]
            held = [weight > 0 for weight in said.weights]
            assert held == rose
            months.append(date.fromordinal(int(bars.days[row]) + EPOCH))
        assert [weight > 0 for weight in said.weights] == held  # between decisions nothing changes
    assert len(months) == len({(d.year, d.month) for d in months}) == 21
    assert all(day.day <= 3 for day in months)
    assert program.warm_up == 253


def test_the_skip_must_be_shorter_than_the_lookback() -> None:
    with pytest.raises(DomainError, match="skip_months must be less"):
        PLUGIN.parse({"lookback_months": 3, "skip_months": 3})
    with pytest.raises(DomainError) as error:
        PLUGIN.parse({"lookback_months": 1})
    assert error.value.param == "parameters.lookback_months"
