"""Programs of trades on hand-made bars: each order type, protection, policy and limit, at the prices that must come."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.engine.bars import Bars, Split
from app.engine.columns import Intrabar
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, SimulatedFill, backtest
from app.engine.terms import Terms
from app.kernel.errors import DomainError
from app.kernel.orders import Product, Side

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
ZERO = schedule_named("zero")
QUIET = (100, 101, 99, 100)
SIGNAL = (100, 111, 100, 110)  # closes above 105: enter
ENTER = "close > 105"


def trades(**changes: Any) -> dict[str, Any]:
    """Ten units long when the close is above 105."""
    side = changes.pop("side", "long")
    sizing = changes.pop("sizing", {"type": "units", "units": 10})
    rule = {"enter": changes.pop("enter", ENTER), "exit": changes.pop("exit", None)}
    return {"version": 1, "name": "t", "trades": {side: rule, **changes}, "sizing": sizing}


def run(document: dict[str, Any], bars: Bars, slots: Slots, **options: Any) -> Result:
    program = compile_program(document)
    settings: dict[str, Any] = {"cash": 10_000_00, "schedule": ZERO, "instruments": slots(bars.slots)} | options
    return backtest(program, bars, **settings)


def told(result: Result) -> list[tuple[int, str, float, str, str]]:
    """(row, side, price, reason, cause) of each fill."""
    return [(f.row, f.side.value, f.price / 10_000, f.reason, f.cause) for f in result.fill_records()]


def test_a_market_entry_and_its_exit_fill_at_the_next_opens(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (108, 112, 103, 104), (103, 104, 102, 103))
    result = run(trades(exit="close < 105"), bars, slots)
    assert told(result) == [(2, "buy", 108, "enter", "market"), (3, "sell", 103, "exit", "market")]
    assert result.cash == 10_000_00 - 50_00
    assert result.positions[0].is_flat


def test_an_entry_is_not_repeated_while_a_position_is_open(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, SIGNAL, SIGNAL, SIGNAL)
    assert len(run(trades(), bars, slots).fills) == 1


@pytest.mark.parametrize(
    ("bar", "fill"),
    [
        ((100, 104, 97, 102), (98.0, "trade_through")),
        ((100, 104, 98, 102), None),  # a touch is no fill
        ((96, 104, 95, 102), (96.0, "gap")),
    ],
)
def test_a_limit_entry(by_hand: Maker, slots: Slots, bar: Any, fill: Any) -> None:
    document = trades(entry={"type": "limit", "price": "close - 12"})
    found = told(run(document, by_hand(QUIET, SIGNAL, bar), slots))
    assert found == ([] if fill is None else [(2, "buy", fill[0], "enter", fill[1])])


@pytest.mark.parametrize(
    ("bar", "fill"),
    [
        ((110, 115, 109, 112), (115.0, "stop")),  # a touch triggers
        ((110, 114, 109, 112), None),
        ((118, 120, 117, 119), (118.0, "gap")),
    ],
)
def test_a_stop_entry(by_hand: Maker, slots: Slots, bar: Any, fill: Any) -> None:
    document = trades(entry={"type": "stop", "price": "close + 5"})
    found = told(run(document, by_hand(QUIET, SIGNAL, bar), slots))
    assert found == ([] if fill is None else [(2, "buy", fill[0], "enter", fill[1])])


def test_a_stop_limit_that_gaps_beyond_its_limit_rests_there(by_hand: Maker, slots: Slots) -> None:
    entry = {"type": "stop_limit", "price": "close + 5", "limit": "close + 6", "valid": "till_cancelled"}
    bars = by_hand(QUIET, SIGNAL, (118, 120, 117, 118), (119, 119, 115, 116))
    assert told(run(trades(entry=entry, enter="close == 110"), bars, slots)) == [
        (3, "buy", 116.0, "enter", "trade_through")
    ]


def test_a_short_entry_sells_and_is_covered(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (108, 112, 103, 104), (103, 104, 102, 103))
    result = run(trades(side="short", exit="close < 105"), bars, slots)
    assert told(result) == [(2, "sell", 108, "enter", "market"), (3, "buy", 103, "exit", "market")]
    assert result.cash == 10_000_00 + 50_00


def test_both_sides_at_once_enter_neither_and_a_reversal_fills_in_one_bar(by_hand: Maker, slots: Slots) -> None:
    both = {"version": 1, "name": "t", "sizing": {"type": "units", "units": 10}}
    both["trades"] = {"long": {"enter": ENTER}, "short": {"enter": ENTER}}
    bars = by_hand(QUIET, SIGNAL, QUIET, (90, 91, 89, 90), QUIET)
    assert len(run(both, bars, slots).fills) == 0
    both["trades"] = {"long": {"enter": ENTER, "exit": "close < 95"}, "short": {"enter": "close < 95"}}
    assert [(row, side, reason) for row, side, _, reason, _ in told(run(both, bars, slots))] == [
        (2, "buy", "enter"), (4, "sell", "exit"), (4, "sell", "enter"),
    ]  # fmt: skip


BRACKET = {"stop_loss": {"distance": 5}, "take_profit": {"distance": 8}}


@pytest.mark.parametrize(
    ("bars", "fills", "ambiguous"),
    [
        # entered at the open of 108: stop 103, target 116
        ([(108, 112, 104, 110), (110, 117, 109, 112)], [(3, 116.0, "take_profit", "trade_through")], 0),
        ([(108, 112, 104, 110), (110, 111, 102, 104)], [(3, 103.0, "stop_loss", "stop")], 0),
        ([(108, 112, 104, 110), (100, 101, 99, 100)], [(3, 100.0, "stop_loss", "gap")], 0),
        ([(108, 112, 104, 110), (118, 119, 117, 118)], [(3, 118.0, "take_profit", "gap")], 0),
        ([(108, 109, 102, 104)], [(2, 103.0, "stop_loss", "stop")], 0),  # in the bar of its entry
        ([(108, 117, 107, 112)], [(2, 116.0, "take_profit", "trade_through")], 0),
        ([(108, 112, 104, 110), (110, 117, 102, 112)], [(3, 103.0, "stop_loss", "stop")], 1),  # the stop comes first
    ],
)
def test_a_bracket_leaves_by_one_of_its_legs(
    by_hand: Maker, slots: Slots, bars: Any, fills: Any, ambiguous: int
) -> None:
    result = run(trades(enter="close == 110 and lag(close, 1) == 100", **BRACKET), by_hand(QUIET, SIGNAL, *bars), slots)
    assert told(result)[1:] == [(row, "sell", price, reason, cause) for row, price, reason, cause in fills]
    assert result.ambiguous_bars == ambiguous
    assert result.positions[0].is_flat


def test_the_path_policy_follows_the_bars_direction(by_hand: Maker, slots: Slots) -> None:
    document = trades(enter="close == 110 and lag(close, 1) == 100", **BRACKET)
    falling = by_hand(QUIET, SIGNAL, (108, 112, 104, 110), (112, 117, 102, 104))  # a falling bar: its high first
    path = run(document, falling, slots, terms=Terms(intrabar=Intrabar.PATH))
    assert told(path)[1:] == [(3, "sell", 116.0, "take_profit", "trade_through")]
    assert path.ambiguous_bars == 1
    assert told(run(document, falling, slots))[1:] == [(3, "sell", 103.0, "stop_loss", "stop")]


def test_a_target_within_the_bar_of_a_limit_entry_counts_only_at_the_close(by_hand: Maker, slots: Slots) -> None:
    # limit 98: the high of 107 may lie before the low of 97
    document = trades(enter="close == 110", entry={"type": "limit", "price": "close - 12"}, **BRACKET)
    unsure = run(document, by_hand(QUIET, SIGNAL, (100, 107, 97, 102), (103, 104, 101, 103)), slots)
    assert told(unsure) == [(2, "buy", 98.0, "enter", "trade_through")]
    assert unsure.ambiguous_bars == 1
    closed_above = run(document, by_hand(QUIET, SIGNAL, (100, 108, 97, 107)), slots)
    assert told(closed_above)[1:] == [(2, "sell", 106.0, "take_profit", "trade_through")]
    assert closed_above.ambiguous_bars == 0
    both = run(document, by_hand(QUIET, SIGNAL, (100, 107, 92, 95)), slots)
    assert told(both)[1:] == [(2, "sell", 93.0, "stop_loss", "stop")]


def test_a_stop_within_the_bar_of_a_stop_entry_counts_against_it(by_hand: Maker, slots: Slots) -> None:
    document = trades(enter="close == 110", entry={"type": "stop", "price": "close + 5"}, stop_loss={"distance": 4})
    result = run(document, by_hand(QUIET, SIGNAL, (110, 116, 108, 114)), slots)
    assert told(result)[1:] == [(2, "sell", 111.0, "stop_loss", "stop")]
    assert result.ambiguous_bars == 1


def test_distances_in_percent_are_of_the_entry_price(by_hand: Maker, slots: Slots) -> None:
    document = trades(enter="close == 110", stop_loss={"percent": 0.3}, take_profit={"percent": 0.6})
    result = run(document, by_hand(QUIET, SIGNAL, (200, 201.3, 199.5, 200)), slots)
    assert told(result)[1:] == [(2, "sell", 201.2, "take_profit", "trade_through")]


def test_a_trailing_stop_follows_the_best_price(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (110, 114, 109, 113), (113, 120, 112, 119), (119, 120, 114, 115))
    result = run(trades(enter="close == 110", trailing_stop={"distance": 5}), bars, slots)
    assert told(result)[1:] == [(4, "sell", 115.0, "trailing_stop", "stop")]


def test_a_trailing_stop_follows_no_more_than_the_close_of_the_bar_that_activated_it(
    by_hand: Maker, slots: Slots
) -> None:
    """Its high of 130 may have come before the entry."""
    bars = by_hand(QUIET, SIGNAL, (110, 130, 109, 112), (112, 113, 106, 110))
    result = run(trades(enter="close == 110", trailing_stop={"distance": 5}), bars, slots)
    assert told(result)[1:] == [(3, "sell", 107.0, "trailing_stop", "stop")]


def test_a_time_exit_counts_closed_bars(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, QUIET, QUIET, QUIET, QUIET)
    assert told(run(trades(time_exit=2), bars, slots))[1:] == [(4, "sell", 100.0, "time_exit", "market")]


@pytest.mark.parametrize(
    ("sizing", "quantity"),
    [
        ({"type": "units", "units": 7}, 7),
        ({"type": "cash", "cash": 1000}, 9),  # at the deciding close of 110
        ({"type": "equity"}, 90),  # 99 % of 10,000
        ({"type": "risk", "risk_bps": 100}, 20),  # 100 at risk, 5 apiece
    ],
)
def test_sizing(by_hand: Maker, slots: Slots, sizing: dict[str, Any], quantity: int) -> None:
    document = trades(sizing=sizing, stop_loss={"distance": 5})
    (fill,) = run(document, by_hand(QUIET, SIGNAL, (110, 111, 109, 110)), slots).fill_records()
    assert fill.quantity == quantity


def test_all_in_at_the_fill_pays_exactly_what_there_is(by_hand: Maker, slots: Slots) -> None:
    document = trades(sizing={"type": "equity", "at": "fill"}) | {"reserve_bps": 0}
    result = run(document, by_hand(QUIET, SIGNAL, (120, 121, 119, 120)), slots, schedule=schedule_named("flat_bps"))
    (fill,) = result.fill_records()
    assert fill.quantity == 83  # 83 × 120 × 1.001 = 9,969.96; 84 would cost 10,090.08
    assert result.cash >= 0
    assert result.unaffordable_orders == 0


def test_participation_fills_the_rest_later(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, QUIET, QUIET, QUIET)
    bars.fields[4] = 40  # 10 %: 4 units a bar
    result = run(trades(stop_loss={"distance": 50}), bars, slots, terms=Terms(participation_bps=1000), sessions=[])
    assert [f.quantity for f in result.fill_records()] == [4, 4, 2]


def test_an_exit_takes_the_unfilled_rest_of_its_entry_with_it(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, QUIET, (90, 91, 89, 90), QUIET, QUIET)
    bars.fields[4] = 40
    document = trades(enter="close == 110", stop_loss={"distance": 5})
    result = run(document, bars, slots, terms=Terms(participation_bps=1000), sessions=[])
    assert [(f.side, f.quantity) for f in result.fill_records()] == [(Side.BUY, 4), (Side.SELL, 4)]
    assert result.positions[0].is_flat


def test_an_entry_for_one_bar_and_one_for_the_day_expire(by_hand: Maker, slots: Slots) -> None:
    for valid in ("bar", "day"):
        document = trades(enter="close == 110", entry={"type": "limit", "price": "close - 20", "valid": valid})
        result = run(document, by_hand(QUIET, SIGNAL, QUIET, (85, 86, 84, 85)), slots)
        assert (len(result.fills), result.expired_orders) == (0, 1)
    kept = trades(enter="close == 110", entry={"type": "limit", "price": "close - 20", "valid": "till_cancelled"})
    assert len(run(kept, by_hand(QUIET, SIGNAL, QUIET, (85, 86, 84, 85)), slots).fills) == 1


def test_exits_follow_a_split(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (110, 112, 109, 110), (55, 56, 54, 55), (55, 56, 51, 52))
    result = run(trades(enter="close == 110", stop_loss={"distance": 6}), bars, slots, events=[Split(3, 0, 2, 1)])
    (_, out) = result.fill_records()
    assert (out.quantity, out.price, out.reason) == (20, 52_0000, "stop_loss")


def test_intraday_positions_are_squared_off_at_the_last_close(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (110, 112, 109, 111), QUIET)
    result = run(trades(enter="close == 110"), bars, slots, instruments=slots(1, product=Product.INTRADAY),
                 slippage=SlippageModel(10))  # fmt: skip
    assert told(result) == [(2, "buy", 110.11, "enter", "market"), (2, "sell", 110.88, "square_off", "market")]


def test_a_short_that_loses_too_much_is_called(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (100, 101, 99, 100), (160, 161, 159, 160), (165, 166, 164, 165))
    document = trades(side="short", enter="close == 110", sizing={"type": "units", "units": 90})
    result = run(document, bars, slots)
    assert [f.reason for f in result.fill_records()] == ["enter"]  # equity 4,600 of 14,400
    called = run(document, bars, slots, terms=Terms(maintenance_bps=4000))
    assert told(called)[1:] == [(4, "buy", 165.0, "margin_call", "market")]
    assert called.margin_calls == 1


def test_borrowed_shares_cost_by_the_day(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (100, 101, 99, 100), QUIET, QUIET)
    result = run(trades(side="short", enter="close == 110"), bars, slots, terms=Terms(borrow_bps=3650))
    assert result.borrow_cost == 2 * 1_00  # 1,000 × 36.5 % / 365, twice
    assert result.cash == 10_000_00 + 1_000_00 - 2_00


def test_idle_cash_earns_interest_by_the_day(by_hand: Maker, slots: Slots) -> None:
    """10 % of 10,000 is 2.7397… a day: floored each time, over the weekend once for three days."""
    bars = by_hand(*[QUIET] * 4)
    bars.days[:] = [12053, 12054, 12057, 12057]
    bars.times[:] = bars.days * 86_400_000_000 + [0, 0, 0, 1]
    result = run(trades(enter="close > 200"), bars, slots, terms=Terms(interest_bps=1000))
    assert result.equity.tolist() == [10_000_00, 10_002_73, 10_010_95, 10_010_95]  # 2.73, then 8.2214… of 10,002.73
    assert (result.interest, result.cash) == (10_95, 10_010_95)
    assert "interest" in result.assumptions
    later = run(trades(enter="close > 200"), bars, slots, terms=Terms(interest_bps=1000), trade_from=1)
    assert later.equity.tolist() == [10_000_00, 10_000_00, 10_008_21, 10_008_21]  # not while it only warms up
    without = run(trades(enter="close > 200"), bars, slots)
    assert without.interest == 0 and "interest" not in without.assumptions


def test_only_cash_that_is_no_proceeds_of_a_short_earns_interest(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (100, 101, 99, 100), QUIET, QUIET)
    options: dict[str, Any] = {"terms": Terms(interest_bps=3650)}
    short = run(trades(side="short", enter="close == 110"), bars, slots, **options)
    assert short.interest == 1000 + 1001 + 1002 + 1003  # of 10,000.00 and what it earned, and not of the 1,000 sold
    long = run(trades(enter="close == 110"), bars, slots, **options)
    assert long.interest == 1000 + 1001 + 902 + 902  # 9,000 and interest after the purchase of row 2
    assert {run(trades(), bars, slots, block=size, **options).sha256() for size in (4096, 7, 1)} == {
        run(trades(), bars, slots, block=bars.rows, **options).sha256()
    }


def test_leverage_needs_its_margin(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (100, 101, 99, 100))
    document = trades(enter="close == 110", sizing={"type": "units", "units": 300})
    (fill,) = run(document, bars, slots, terms=Terms(margin_bps=2500)).fill_records()
    assert fill.quantity == 300
    (small,) = run(document, bars, slots).fill_records()
    assert small.quantity == 90


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"trades": {}}, "trades"),
        ({"trades": {"long": {"enter": "close"}}}, "trades.long.enter"),
        ({"trades": {"long": {"enter": ENTER}, "entry": {"type": "limit"}}}, "trades.entry.limit.price"),
        ({"trades": {"long": {"enter": ENTER}, "entry": {"type": "limit", "price": "volume"}}}, "trades.entry.price"),
        ({"trades": {"long": {"enter": ENTER}, "stop_loss": {}}}, "trades.stop_loss"),
        ({"trades": {"long": {"enter": ENTER}, "time_exit": 0}}, "trades.time_exit"),
        ({"sizing": {"type": "risk", "risk_bps": 50}}, "sizing"),
        ({"target": 1}, "program"),
        ({"rebalance": "monthly"}, "program"),
        ({"order": {"type": "limit"}}, "order"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(DomainError) as caught:
        compile_program(trades() | change)
    assert caught.value.param == path


@pytest.mark.parametrize("name", ["participation_bps", "margin_bps", "maintenance_bps", "borrow_bps", "interest_bps"])
def test_terms_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(DomainError) as caught:
        Terms(**{name: -1})  # type: ignore[arg-type]
    assert caught.value.param == name


ABOVE, BELOW = (f"cross_{way}(ema(close, 5), ema(close, 12))" for way in ("above", "below"))
BUSY = {
    "long": {
        "enter": "cross_above(ema(close, 5), ema(close, 12))",
        "exit": "cross_below(ema(close, 5), ema(close, 12))",
    },
    "short": {"enter": "cross_below(ema(close, 5), ema(close, 12))"},
    "entry": {"type": "limit", "price": "close - 0.2 * atr(14)", "valid": "till_cancelled"},
    "stop_loss": {"percent": 2},
    "take_profit": {"distance": "2 * atr(14)"},
    "trailing_stop": {"percent": 3},
    "time_exit": 15,
}


@pytest.mark.parametrize("policy", [Intrabar.PESSIMISTIC, Intrabar.PATH])
def test_blocks_do_not_matter_and_the_money_adds_up(bars_of: Maker, slots: Slots, policy: Intrabar) -> None:
    bars = bars_of(900, 3, seed=5, missing=0.03)
    document = {"version": 1, "name": "t", "trades": BUSY, "sizing": {"type": "risk", "risk_bps": 100}}
    options: dict[str, Any] = {
        "terms": Terms(intrabar=policy, participation_bps=100, margin_bps=5000, borrow_bps=300),
        "schedule": schedule_named("us_equity"), "events": [Split(300, 0, 3, 2)], "slippage": SlippageModel(5),
    }  # fmt: skip
    whole = run(document, bars, slots, block=bars.rows, **options)
    assert len(whole.fills) > 100
    assert {f.reason for f in whole.fill_records()} >= {"enter", "exit", "stop_loss", "take_profit", "trailing_stop"}
    for block in (4096, 7, 1):
        assert run(document, bars, slots, block=block, **options).sha256() == whole.sha256()
    moved = sum(-f.side.sign * f.notional - f.charges for f in whole.fill_records())
    fractions = whole.cash - 10_000_00 - moved + whole.borrow_cost  # what the split paid for half a share
    assert abs(fractions) < 100_00
    held = [sum(f.side.sign * f.quantity for f in _of(whole, slot)) for slot in (1, 2)]
    assert held == [whole.positions[slot].quantity for slot in (1, 2)]


def _of(result: Result, slot: int) -> list[SimulatedFill]:
    return [fill for fill in result.fill_records() if fill.slot == slot]


def test_no_position_is_ever_larger_than_what_protects_it(bars_of: Maker, slots: Slots) -> None:
    """Exits are one-cancels-other: a position never turns by them, and each fill of an exit closes."""
    bars = bars_of(900, 1, seed=9)
    document = {"version": 1, "name": "t", "trades": BUSY, "sizing": {"type": "units", "units": 20}}
    held = 0
    for fill in run(document, bars, slots, terms=Terms(participation_bps=5)).fill_records():
        signed = fill.side.sign * fill.quantity
        if fill.reason != "enter":
            assert held * signed < 0 and abs(signed) <= abs(held)
        held += signed
    assert np.isfinite(held)
