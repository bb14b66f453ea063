"""The firewall passes what the engine runs, and finds a strategy that was shown the future."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.engine.bars import Bars
from app.engine.firewall import BLOCKS, Check, Run, verify
from app.engine.instruments import Instrument
from app.engine.program import Program, compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import backtest
from app.trading.strategies.service.definitions import templates

SHUFFLE = np.random.default_rng(1).permutation
CASH = 1_000_000_00


def runner(program: Program, instruments: list[Instrument], shown: Callable[[Bars], Bars] = lambda bars: bars) -> Run:
    def run(bars: Bars, block: int) -> Any:
        return backtest(
            program, shown(bars), instruments=instruments, cash=CASH, schedule=schedule_named("us_equity"), block=block
        )

    return run


def found_by(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.passed}


@pytest.mark.parametrize("name", sorted(templates()))
def test_every_library_strategy_passes(name: str, bars_of: Any, slots: Any) -> None:
    template = templates()[name]
    program = compile_program(template.build(template.parse({}), 2))
    checks = list(
        verify(
            runner(program, slots(2)),
            bars_of(900, 2, missing=0.02),
            warm_up=program.warm_up,
            permutation=SHUFFLE,
            cuts=4,
        )
    )
    assert found_by(checks) == set()
    assert [check.name for check in checks] == ["blocks"] * len(BLOCKS) + ["prefix", "shuffled_future"] * 4


def test_a_strategy_that_sees_the_next_bar_is_found(bars_of: Any, slots: Any, cross_program: Any) -> None:
    def tomorrow(bars: Bars) -> Bars:
        return replace(bars, fields=np.ascontiguousarray(np.roll(bars.fields, -1, axis=2)))

    program = compile_program(cross_program(3, 8))
    checks = list(
        verify(runner(program, slots(1), tomorrow), bars_of(400), warm_up=program.warm_up, permutation=SHUFFLE)
    )
    assert found_by(checks) == {"prefix", "shuffled_future"}


def test_a_strategy_scaled_by_the_whole_history_is_found(bars_of: Any, slots: Any, cross_program: Any) -> None:
    def demeaned(bars: Bars) -> Bars:
        lift = int(bars.fields[:4].mean()) // 100 * 100
        fields = bars.fields.copy()
        fields[:4] += lift
        return replace(bars, fields=fields)

    program = compile_program(cross_program(3, 8))
    checks = list(
        verify(runner(program, slots(1), demeaned), bars_of(400), warm_up=program.warm_up, permutation=SHUFFLE)
    )
    assert "prefix" in found_by(checks)


def test_too_few_bars_for_a_cut_leave_the_block_tests(bars_of: Any, slots: Any, cross_program: Any) -> None:
    program = compile_program(cross_program(3, 8))
    checks = list(verify(runner(program, slots(1)), bars_of(8), warm_up=program.warm_up, permutation=SHUFFLE))
    assert [check.name for check in checks] == ["blocks"] * len(BLOCKS)
