"""Random programs and random markets: what must hold for every one of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from app.engine.bars import Bars, Split, timeline
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import Program, compile_program
from app.engine.runtime import ProgramRuntime
from app.engine.schedule import schedule_named
from app.engine.simulation import backtest
from app.kernel.errors import DomainError
from app.kernel.money import Rounding, divide

QUIET = settings(max_examples=60, suppress_health_check=list(HealthCheck))
FIELD = st.sampled_from(["open", "high", "low", "close", "volume"]).map(lambda name: {"op": name})
WINDOW = st.one_of(
    st.builds(lambda f, n: {"op": "sma", "of": f, "window": n}, FIELD, st.integers(1, 9)),
    st.builds(
        lambda f, n, d: {"op": "stddev", "of": f, "window": n, "ddof": d}, FIELD, st.integers(2, 9), st.integers(0, 1)
    ),
)
RATIO = st.one_of(
    st.builds(lambda f, n: {"op": "zscore", "of": f, "window": n}, FIELD, st.integers(2, 9)),
    st.builds(lambda f, n: {"op": "return", "of": f, "bars": n, "skip": n // 3}, FIELD, st.integers(1, 9)),
    st.builds(lambda w, f: {"op": "div", "left": w, "right": f}, WINDOW, WINDOW),
    st.sampled_from([{"op": "weekday"}, {"op": "month"}, {"op": "day"}]),
    st.floats(-2, 2),
)


def grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pair = st.tuples(inner, inner)
    condition = st.builds(
        lambda op, p: {"op": op, "left": p[0], "right": p[1]},
        st.sampled_from(["gt", "ge", "lt", "le", "ne", "eq"]),
        pair,
    )
    logic = st.one_of(
        condition,
        st.builds(lambda a, b: {"op": "latch", "enter": a, "exit": b}, condition, condition),
        st.builds(lambda a, b: {"op": "or", "left": a, "right": {"op": "not", "of": b}}, condition, condition),
    )
    return st.one_of(
        st.builds(lambda w, p: {"op": "select", "when": w, "then": p[0], "else": p[1]}, logic, pair),
        st.builds(lambda x, n: {"op": "lag", "of": x, "bars": n}, inner, st.integers(1, 5)),
        st.builds(
            lambda op, p: {"op": op, "left": p[0], "right": p[1]}, st.sampled_from(["min", "max", "mul", "div"]), pair
        ),
    )


TARGET = st.recursive(RATIO, grow, max_leaves=8)


def market(seed: int, rows: int, slots: int) -> tuple[Bars, list[Split]]:
    rng = np.random.default_rng(seed)
    opens, closes = rng.integers(100, 130, (2, slots, rows)) * 100
    highs, lows = np.maximum(opens, closes) + rng.integers(0, 500), np.minimum(opens, closes) - rng.integers(0, 500)
    fields = np.stack([opens, highs, lows, closes, rng.integers(0, 1000, (slots, rows))]).astype(np.int64)
    days = 12053 + np.cumsum(rng.integers(1, 9, rows)).astype(np.int64)
    bars = Bars(days * 86_400_000_000, days, fields, (rng.random((slots, rows)) > 0.1).astype(np.uint8)).check()
    splits = [
        Split(int(rng.integers(0, rows)), int(rng.integers(0, slots)), int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        for _ in range(3)
    ]
    return bars, splits


def document(target: Any, monthly: bool = False, limit: bool = False) -> dict[str, Any]:
    order = {"type": "limit", "offset_bps": 40} if limit else {"type": "market"}
    rebalance = "monthly" if monthly else "on_change"
    return {"version": 1, "name": "t", "target": target, "rebalance": rebalance, "order": order}


def admitted(made: dict[str, Any]) -> Program:
    """The program, unless it adds a price to a ratio."""
    try:
        return compile_program(made)
    except DomainError as error:
        assert "follow a split differently" in error.message
        reject()


@QUIET
@given(TARGET, st.integers(0, 10**6), st.booleans())
def test_every_program_gives_the_same_state_for_every_block(
    slots: Callable[[int], list[Instrument]], target: Any, seed: int, monthly: bool
) -> None:
    program = admitted(document(target, monthly))
    bars, splits = market(seed, 90, 2)
    events = timeline(bars, splits)
    runtimes = [ProgramRuntime(program, slots(2), block=block) for block in (90, 17, 1)]
    last = [runtime.warm_up(bars, events) for runtime in runtimes]
    assert last[0].weights == last[1].weights == last[2].weights
    assert last[0].flags == last[1].flags == last[2].flags
    assert runtimes[0].state() == runtimes[1].state() == runtimes[2].state()


def last_closes(bars: Bars, splits: list[Split]) -> list[int]:
    closes = [0] * bars.slots
    for row in range(bars.rows):
        for split in sorted(splits, key=lambda s: (s.row, s.slot, s.numerator, s.denominator)):
            if split.row == row:
                restated = closes[split.slot] * split.denominator
                closes[split.slot] = divide(restated, split.numerator, Rounding.HALF_UP)
        for slot in range(bars.slots):
            closes[slot] = int(bars.fields[3, slot, row]) if bars.valid[slot, row] else closes[slot]
    return closes


@QUIET
@given(TARGET, st.integers(0, 10**6), st.booleans(), st.booleans(), st.integers(0, 50))
def test_money_is_conserved_in_every_backtest(
    slots: Callable[[int], list[Instrument]], target: Any, seed: int, monthly: bool, limit: bool, bps: int
) -> None:
    program, used = admitted(document(target, monthly, limit)), slots(3)
    bars, splits = market(seed, 120, 3)
    result = backtest(
        program,
        bars,
        instruments=used,
        cash=1_000_000,
        schedule=schedule_named("us_equity"),
        events=splits,
        slippage=SlippageModel(bps),
    )
    fills = result.fill_records()
    charged = sum(fill.charges for fill in fills)
    assert result.cash == 1_000_000 + sum(p.realised - p.cost for p in result.positions) - charged
    assert sum(result.charges.values()) == charged
    assert all(fill.cash_after >= 0 and fill.charges >= 0 and fill.quantity > 0 for fill in fills)
    assert all(position.quantity >= 0 for position in result.positions)
    closes = last_closes(bars, splits)
    worth = sum(one.scale.notional(p.quantity, c) for one, p, c in zip(used, result.positions, closes, strict=True))
    assert result.equity[-1] == result.cash + worth
    for fill in fills:
        low, high = bars.fields[2, fill.slot, fill.row], bars.fields[1, fill.slot, fill.row]
        assert bars.valid[fill.slot, fill.row]
        assert fill.cause == "market" or low <= fill.price <= high
