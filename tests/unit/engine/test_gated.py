"""What a rule gates is computed at its rows only, and is the same as if it were computed on every bar."""

from collections.abc import Callable
from typing import Any

import pytest

from app.engine.bars import Bars, Split
from app.engine.instruments import Instrument
from app.engine.layout import Code, Op
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.engine.sweep import sweep

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
SPLITS = [Split(37, 1, 2, 1), Split(200, 3, 1, 2), Split(201, 0, 3, 1)]
RULES = [
    "date_number % 5 == 0",
    "month_changed",
    "close > lag(close, 1)",
    "rank(return_(close, 4)) == 1",
    "return_(close, 20) > 0.05 and weekday == 4",
    "close < 0",
]
TARGETS = [
    "0.1 if rank(return_(close, 20)) <= 3 else 0",
    "0.3 if rank(return_(close, 20, 3)) <= 2 and close > sma(close, 10) else 0",
    "min(0.3, abs(return_(close, 5))) if rank(close) <= 2 or return_(close, 9) > 0.1 else lag(0.2, 2)",
    "0.25 if zscore(close, 9) < 0 and not (day == 3) else return_(close, 4) % 0.3",
    "0.2 if of_instrument(return_(close, 3), 2) > return_(close, 3) else 0",
    "0.1 * rank(0 - volatility(close, 5)) if latch(close > 40, close < 30) else 0 * rank(5)",
]


def document(target: str, rule: str) -> dict[str, Any]:
    return {"version": 1, "name": "gated", "target": target, "rebalance": {"when": rule}}


def run(target: str, rule: str, bars: Bars, slots: Slots, block: int | None = None) -> Result:
    return backtest(
        compile_program(document(target, rule)), bars, instruments=slots(5), cash=10**8,
        schedule=schedule_named("flat_bps"), events=SPLITS, block=block,
    )  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_gated_target_trades_as_one_that_is_computed_on_every_bar(
    target: str, rule: str, bars_of: Maker, slots: Slots
) -> None:
    every = f"({target}) if bars_held >= 0 else 0"  # a position word: decided row by row, nothing is gated
    for missing in (0.0, 0.15):
        bars = bars_of(300, 5, missing=missing, seed=5)
        expected = run(every, rule, bars, slots)
        for block in (None, 300, 64, 7, 1):
            found = run(target, rule, bars, slots, block)
            assert found.sha256() == expected.sha256()
        assert len(expected.fills) > 0 or rule == "close < 0"


def test_returns_ranks_and_choices_are_gated_and_what_remembers_is_not() -> None:
    program = compile_program(document("0.1 if rank(return_(close, 20)) <= 3 else 0", "weekday == 4"))
    ops = program.code[:, Code.OP].tolist()
    assert program.gate == program.when < program.sparse
    assert {Op.RETURN, Op.RANK, Op.LE, Op.SELECT} <= set(ops[program.sparse :])
    assert not {Op.RETURN, Op.RANK, Op.FIELD} & set(ops[: program.sparse])
    remembering = compile_program(document("0.1 if lag(return_(close, 3), 2) > 0 else 0", "weekday == 4"))
    ops = remembering.code[:, Code.OP].tolist()
    assert {Op.RETURN, Op.LAG} <= set(ops[: remembering.sparse])
    assert ops[remembering.sparse :].count(Op.GATHER) == 1
    for plain in ("0.2", "close > 3 and bars_held > 2"):
        ungated = compile_program(document(f"1 if {plain} else 0" if "close" in plain else plain, "weekday == 4"))
        assert ungated.gate == -1


def test_the_sets_of_a_sweep_share_what_they_gate(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(300, 5, missing=0.1, seed=6)
    given = document("0.1 if rank(return_(close, n)) <= 3 else 0", "weekday == 4") | {"parameters": {"n": 5}}
    sets = [{"n": n} for n in (5, 20, 30)]
    account: dict[str, Any] = {"instruments": slots(5), "cash": 10**8, "schedule": schedule_named("flat_bps")}
    trials = list(sweep(given, sets, bars, events=SPLITS, **account))
    for trial, values in zip(trials, sets, strict=True):
        alone = backtest(compile_program(given, values), bars, events=SPLITS, **account)
        assert (trial.equity == alone.equity).all()
        assert trial.fills == len(alone.fills) > 0
