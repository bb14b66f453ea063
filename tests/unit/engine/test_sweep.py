"""A sweep gives what the backtest of each set gives, whatever they share."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from app.engine import sweep as sweeps
from app.engine.bars import Bars, Dividend, Split
from app.engine.document import parse_document
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import backtest
from app.engine.sweep import sweep
from app.engine.terms import Terms
from app.kernel.errors import DomainError

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]

CROSS: dict[str, Any] = {
    "version": 1, "name": "cross", "parameters": {"fast": 3, "slow": 9, "share": 0.5},
    "target": "share if sma(close, fast) > sma(close, slow) else 0", "rebalance": "on_change",
}  # fmt: skip
ROTATION: dict[str, Any] = {
    "version": 1, "name": "rotation", "parameters": {"bars": 5, "held": 1, "every": 4},
    "target": "0.5 if rank(return_(close, bars)) <= held else 0",
    "rebalance": {"when": "date_number % every == 0"},
}  # fmt: skip
BRACKET: dict[str, Any] = {
    "version": 1, "name": "bracket", "parameters": {"fast": 3, "stop": 2.0, "level": 60},
    "trades": {
        "long": {"enter": "cross_above(close, ema(close, fast)) and rsi(close, 5) < level",
                 "exit": "cross_below(close, ema(close, fast))"},
        "entry": {"type": "limit", "price": "close - 0.1 * atr(5)"},
        "stop_loss": {"percent": "stop"}, "take_profit": {"percent": 3},
    },
}  # fmt: skip
JSON_FORM: dict[str, Any] = {
    "version": 1, "name": "json", "parameters": {"window": 4},
    "target": {"op": "select", "when": {"op": "gt", "left": {"op": "close"},
               "right": {"op": "sma", "of": {"op": "close"}, "window": {"param": "window"}}}, "then": 1, "else": 0},
    "rebalance": "monthly", "sizing": {"type": "volatility", "target": 0.2, "window": 5},
}  # fmt: skip
POSITION: dict[str, Any] = {
    "version": 1, "name": "position", "parameters": {"bars": 3},
    "trades": {"long": {"enter": "close > open", "exit": "bars_held >= bars"}},
}  # fmt: skip


def grid(**values: list[float]) -> list[dict[str, float]]:
    return [dict(zip(values, one, strict=True)) for one in product(*values.values())]


@pytest.mark.parametrize("kept", [sweeps.KEPT, 60_000, 100])
@pytest.mark.parametrize(
    ("document", "sets"),
    [
        (CROSS, grid(fast=[2, 3, 4], slow=[5, 9], share=[0.3, 0.9])),
        (ROTATION, grid(bars=[3, 8], held=[1, 2], every=[2, 5])),
        (BRACKET, grid(fast=[3, 6], stop=[0.5, 2.0], level=[40, 80])),
        (JSON_FORM, grid(window=[2, 5, 9])),
        (POSITION, grid(bars=[1, 4])),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_each_trial_is_the_backtest_of_its_set(
    bars_of: Maker, slots: Slots, monkeypatch: pytest.MonkeyPatch, document: Any, sets: Any, kept: int
) -> None:
    monkeypatch.setattr(sweeps, "KEPT", kept)
    bars = bars_of(300, 3, seed=4, missing=0.03)
    account: dict[str, Any] = {
        "instruments": slots(3), "cash": 100_000_00, "schedule": schedule_named("us_equity"),
        "events": [Split(90, 1, 2, 1), Dividend(120, 0, 5000)], "terms": Terms(participation_bps=5000),
        "trade_from": 20,
    }  # fmt: skip
    trials = list(sweep(document, sets, bars, **account))
    assert [trial.parameters for trial in trials] == sets
    for trial in trials:
        program = compile_program(document, trial.parameters)
        alone = backtest(program, bars, **account)
        assert np.array_equal(trial.equity, alone.equity)
        assert (trial.cash, trial.fills, trial.charges) == (alone.cash, len(alone.fills), sum(alone.charges.values()))
        assert trial.digest == program.digest
    assert len({trial.equity.tobytes() for trial in trials}) > 1


def test_a_set_that_is_no_program_is_refused_with_its_place(bars_of: Maker, slots: Slots) -> None:
    def run(*sets: Any) -> None:
        list(sweep(CROSS, sets, bars_of(50), instruments=slots(1), cash=10**7, schedule=schedule_named("zero")))

    with pytest.raises(DomainError, match="must be from 1 to") as refused:
        run({"fast": 3}, {"fast": 0})
    assert refused.value.code == "invalid_program"
    with pytest.raises(DomainError, match="no such parameter"):
        run({"quick": 3})
    with pytest.raises(DomainError, match="needs 60 bars"):
        run({"slow": 9}, {"slow": 60})


def test_the_sets_before_one_that_cannot_run_run(bars_of: Maker, slots: Slots) -> None:
    for wrong, code in (({"fast": 0}, "invalid_program"), ({"slow": 60}, "too_few_bars")):
        found = sweep(
            CROSS, [{}, {"fast": 2}, wrong, {}], bars_of(50), instruments=slots(1), cash=10**7,
            schedule=schedule_named("zero"),
        )  # fmt: skip
        assert [next(found).parameters, next(found).parameters] == [{}, {"fast": 2}]
        with pytest.raises(DomainError) as refused:
            next(found)
        assert refused.value.code == code


def test_what_sets_have_in_common_is_one_node() -> None:
    document = parse_document(CROSS)
    lot = sweeps._Lot(document, iter(grid(fast=[2, 3], slow=[5, 6, 7])), 1000, 100)
    assert len(lot.members) == 6
    alone = compile_program(CROSS).nodes
    assert lot.program.nodes == alone + 1 + 2 + 2 * 5  # the other averages, a comparison and a choice of each set
