"""Words of the session, of the universe and of the position; rules, shorts and volatility targets."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.engine.bars import Bars, Split
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.runtime import ProgramRuntime
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.engine.terms import Terms
from app.kernel.errors import DomainError

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
ZERO = schedule_named("zero")


def target(expression: str, when: str = "1 == 1", **changes: Any) -> dict[str, Any]:
    return {"version": 1, "name": "t", "target": expression, "rebalance": {"when": when}, **changes}


def run(document: dict[str, Any], bars: Bars, slots: Slots, **options: Any) -> Result:
    program = compile_program(document)
    settings: dict[str, Any] = {"cash": 10_000_00, "schedule": ZERO, "instruments": slots(bars.slots)} | options
    return backtest(program, bars, **settings)


def column(expression: str, bars: Bars, slots: Slots, block: int = 64) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(slots, rows) values, NaN where unknown."""
    program = compile_program(target(expression))
    runtime = ProgramRuntime(program, slots(bars.slots), block=block)
    weights, flags = np.zeros((bars.slots, block), np.int64), np.zeros((bars.slots, block), np.uint8)
    found = []
    for start in range(0, bars.rows, block):
        end = min(start + block, bars.rows)
        runtime.over(bars, weights, flags).advance(start, end)
        machine = runtime.machine(block)
        values, known = (
            machine.columns[:, program.target, : end - start],
            machine.known[:, program.target, : end - start],
        )
        found.append(np.where(known == 1, values, np.nan))
    return np.concatenate(found, axis=1)


def intraday(bars: Bars, per_day: int) -> Bars:
    rows = np.arange(bars.rows)
    return Bars(bars.times, 12053 + rows // per_day, bars.fields, bars.valid)


def test_bar_of_day_counts_from_one(bars_of: Maker, slots: Slots) -> None:
    bars = intraday(bars_of(40), 7)
    for block in (64, 3):
        assert column("bar_of_day", bars, slots, block)[0].tolist() == [row % 7 + 1 for row in range(40)]


def test_the_opening_range_is_known_once_its_bars_closed(bars_of: Maker, slots: Slots) -> None:
    bars = intraday(bars_of(60), 10)
    high = bars.fields[1, 0].reshape(6, 10)[:, :3].max(axis=1) / 10_000
    low = bars.fields[2, 0].reshape(6, 10)[:, :3].min(axis=1) / 10_000
    for word, extreme in (("opening_high", high), ("opening_low", low)):
        for block in (64, 7, 1):
            found = column(f"{word}(3)", bars, slots, block)[0].reshape(6, 10)
            assert np.isnan(found[:, :2]).all()
            assert (found[:, 2:] == extreme[:, None]).all()


def test_volatility_is_the_sample_deviation_of_returns(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(120)
    closes = bars.fields[3, 0].astype(float)
    returns = closes[1:] / closes[:-1] - 1
    expected = [np.std(returns[i - 19 : i + 1], ddof=1) * np.sqrt(252) for i in range(19, len(returns))]
    for block in (64, 7):
        found = column("volatility(close, 20)", bars, slots, block)[0]
        assert np.isnan(found[:20]).all()
        assert found[20:].tolist() == pytest.approx(expected, rel=1e-12)


def test_mod_and_sqrt(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(30)
    closes = bars.fields[3, 0] / 10_000
    assert column("close % 7", bars, slots)[0].tolist() == pytest.approx((closes % 7).tolist(), abs=1e-12)
    assert (
        column("sqrt(close / lag(close, 1))", bars, slots)[0][1:].tolist() == np.sqrt(closes[1:] / closes[:-1]).tolist()
    )
    assert np.isnan(column("sqrt(0 - 4)", bars, slots)).all()


def test_rank_orders_the_universe_with_ties_by_slot_and_leaves_out_what_is_unknown(
    bars_of: Maker, slots: Slots
) -> None:
    bars = bars_of(50, 4, missing=0.2)
    bars.fields[:, 2] = bars.fields[:, 0]  # a tie in every row
    bars.valid[2] = bars.valid[0]
    closes, live = bars.fields[3], bars.valid == 1
    for block in (64, 7, 1):
        found = column("rank(close)", bars, slots, block)
        for row in range(bars.rows):
            order = sorted((slot for slot in range(4) if live[slot, row]), key=lambda s: (-int(closes[s, row]), s))
            for slot in range(4):
                expected = order.index(slot) + 1 if slot in order else np.nan
                assert found[slot, row] == pytest.approx(expected, nan_ok=True)


def test_another_instruments_value_is_known_where_both_have_a_bar(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(80, 3, missing=0.2)
    live = bars.valid == 1
    for block in (64, 7, 1):
        own, peer = (
            column(text, bars, slots, block) for text in ("growth", "of_instrument(growth, 2) + 10 * instrument")
        )
        closes = bars.fields[3] / 10_000
        first = closes[np.arange(3), live.argmax(axis=1)]
        assert np.array_equal(own, np.where(live, closes / first[:, None], np.nan), equal_nan=True)
        for slot in range(3):
            expected = np.where(live[slot], own[1] + 10 * (slot + 1), np.nan)
            assert np.array_equal(peer[slot], expected, equal_nan=True)


def test_a_program_names_an_instrument_that_the_run_lacks(bars_of: Maker, slots: Slots) -> None:
    with pytest.raises(DomainError, match="reads instrument 5 of its list; the list has 3") as error:
        column("of_instrument(growth, 5)", bars_of(20, 3), slots)
    assert error.value.param == "instruments"


def test_the_strongest_of_a_universe_is_held(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(200, 4)
    result = run(target("1 if rank(return_(close, 20)) <= 2 else 0", "date_number % 5 == 0") | {"target": (
        "0.5 if rank(return_(close, 20)) <= 2 else 0")}, bars, slots)  # fmt: skip
    held = [0] * 4
    for fill in result.fill_records():
        held[fill.slot] += fill.side.sign * fill.quantity
    assert sum(1 for one in held if one) == 2
    assert {int(bars.days[f.row - 1]) % 5 for f in result.fill_records() if f.reason != "exit"} == {0}


def test_position_words_see_the_book(by_hand: Maker, slots: Slots) -> None:
    """Bought once while flat; sold after two closed bars; bought again."""
    bars = by_hand(*[(100, 101, 99, 100)] * 8)
    rule = target("0 if bars_held >= 2 else 1", "flat or bars_held >= 2")
    found = [(f.row, f.side.value) for f in run(rule, bars, slots).fill_records()]
    assert found == [(1, "buy"), (3, "sell"), (4, "buy"), (6, "sell"), (7, "buy")]


def test_entry_price_and_open_profit(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(
        (100, 101, 99, 100), (100, 101, 99, 100), (100, 112, 99, 111), (111, 112, 110, 111), (90, 91, 89, 90)
    )
    for leave in ("open_profit > 10", "close > entry_price * 1.1"):
        rule = target(f"0 if {leave} else 1", f"flat or {leave}")
        assert [(f.row, f.side.value) for f in run(rule, bars, slots).fill_records()][:2] == [(1, "buy"), (3, "sell")]


def test_long_and_short_targets_turn_in_one_order(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(300)
    document = {"version": 1, "name": "t", "target": "1 if close > sma(close, 20) else -1", "rebalance": "on_change"}
    result = run(document | {"short": True, "reserve_bps": 1500}, bars, slots, terms=Terms(maintenance_bps=0))
    sides = [f.side.sign * f.quantity for f in result.fill_records()]
    held = np.cumsum(sides)
    assert (held > 0).any() and (held < 0).any()
    assert all(a * b < 0 for a, b in zip(held, held[1:], strict=False))
    assert (run(document, bars, slots).fills[:, 2] != 0).all()
    assert min(np.cumsum([f.side.sign * f.quantity for f in run(document, bars, slots).fill_records()])) == 0


def test_what_depends_on_the_position_is_the_same_by_blocks_and_after_a_split(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(400, 3, seed=4, missing=0.05)
    document = target(
        "0 if lag(open_profit, 1) > 4 or bars_held > 9 else 0.3 if rank(close) < 3 or close > 0.9 * entry_price else 0",
        "flat or lag(open_profit, 1) > 4 or bars_held > 9",
    )
    options: dict[str, Any] = {"events": [Split(150, 0, 2, 1), Split(151, 1, 1, 3)]}
    whole = run(document, bars, slots, block=bars.rows, **options)
    assert len(whole.fills) > 30
    assert {run(document, bars, slots, block=size, **options).sha256() for size in (4096, 7, 1)} == {whole.sha256()}


def test_a_volatility_target_scales_the_position(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(200)
    plain = target("1", "month_changed")
    scaled = plain | {"sizing": {"type": "volatility", "target": 0.08}}
    by_hand = target("min(1, 0.08 / volatility(close, 20))", "month_changed")
    assert run(scaled, bars, slots).sha256() == run(by_hand, bars, slots).sha256()
    assert run(scaled, bars, slots).fills[0, 3] < run(plain, bars, slots).fills[0, 3]


@pytest.mark.parametrize("live", ["1", "1 if rank(close) < 3 else 0"])
def test_programs_of_bars_alone_can_be_deployed(live: str) -> None:
    assert compile_program(target(live)).live


@pytest.mark.parametrize(
    "document",
    [
        target("1 if flat else 0"), target("1", "flat"), target("-1", short=True),
        target("1", sizing={"type": "equity", "at": "fill"}),
        {"version": 1, "name": "t", "trades": {"long": {"enter": "close > 1"}}},
    ],
)  # fmt: skip
def test_what_deployments_cannot_run_yet_says_so(document: dict[str, Any]) -> None:
    assert not compile_program(document).live


def test_risk_sizing_needs_trades() -> None:
    with pytest.raises(DomainError, match="trades with a stop-loss"):
        compile_program(target("1", sizing={"type": "risk", "risk_bps": 100}))
