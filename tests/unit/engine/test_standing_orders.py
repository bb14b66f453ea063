"""Orders that stand from bar to bar: entries that stay as they are, exits by limit, and how long a position is held."""

from collections.abc import Callable
from typing import Any

import pytest

from app.engine.bars import Bars, Split
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.engine.terms import Terms
from app.kernel.errors import DomainError

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
QUIET = (100, 101, 99, 100)


def trades(enter: str = "close > 105", leave: str | None = None, **changes: Any) -> dict[str, Any]:
    """Ten units long."""
    sizing = changes.pop("sizing", {"type": "units", "units": 10})
    return {
        "version": 1, "name": "t", "sizing": sizing, "trades": {"long": {"enter": enter, "exit": leave}, **changes},
    }  # fmt: skip


def run(document: dict[str, Any], bars: Bars, slots: Slots, **options: Any) -> Result:
    settings: dict[str, Any] = {"cash": 10_000_00, "schedule": schedule_named("zero"), "instruments": slots(bars.slots)}
    return backtest(compile_program(document), bars, **settings | options)


def told(result: Result) -> list[tuple[int, str, float, str, int]]:
    """(row, side, price, reason, order) of each fill."""
    return [(f.row, f.side.value, f.price / 10_000, f.reason, f.order) for f in result.fill_records()]


RESTING = {"type": "limit", "price": 95, "valid": "till_cancelled"}


def test_an_entry_that_would_be_the_same_stays(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(*[QUIET] * 5, (96, 97, 94, 95))
    result = run(trades("close > 50", entry=RESTING), bars, slots)
    assert told(result) == [(5, "buy", 95.0, "enter", 1)]
    assert (result.orders, result.cancelled_orders) == (1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"entry": RESTING | {"price": "95 if day % 2 == 0 else 94"}},  # its price changes
        {"entry": RESTING, "stop_loss": {"distance": "1 if day % 2 == 0 else 2"}},  # its protection
        {"entry": RESTING, "share": "0.5 + 0.1 * (day % 2)"},  # its quantity
        {"entry": RESTING, "sizing": {"type": "equity", "at": "fill"}, "share": "0.5 + 0.0001 * (day % 2)"},  # budget
    ],
)
def test_an_entry_that_differs_is_replaced(by_hand: Maker, slots: Slots, changes: dict[str, Any]) -> None:
    result = run(trades("close > 50", **changes), by_hand(*[QUIET] * 4), slots)
    assert (result.orders, result.cancelled_orders) == (4, 3)


def test_an_entry_whose_price_is_no_longer_known_is_cancelled(by_hand: Maker, slots: Slots) -> None:
    entry = RESTING | {"price": "95 if close < 100.5 else close - 200"}
    bars = by_hand((99, 100, 99, 99.5), (101, 102, 100, 101), (96, 97, 80, 95))
    result = run(trades("close > 50", entry=entry), bars, slots)
    assert (len(result.fills), result.cancelled_orders) == (0, 1)


def test_a_kept_entry_leaves_the_others_as_much_as_a_new_one_would(by_hand: Maker, slots: Slots) -> None:
    """What rests for a slot does not count against its own successor: the size stays the same, and the order too."""
    bars = by_hand(*[QUIET] * 6, (96, 97, 94, 95))
    result = run(trades("close > 50", entry=RESTING, sizing={"type": "equity"}), bars, slots)
    (fill,) = result.fill_records()
    assert (fill.quantity, fill.order) == (104, 1)  # 9,900 at 95


def test_a_reversal_starts_to_count_again(by_hand: Maker, slots: Slots) -> None:
    """Long from row 2, turned short in row 4, so that three closed bars of the short are those of rows 4 to 6."""
    document = trades(leave="close < 95", time_exit=3)
    document["trades"]["short"] = {"enter": "close < 95"}
    up, down = (100, 111, 100, 110), (100, 101, 89, 90)
    bars = by_hand(QUIET, up, QUIET, down, *[QUIET] * 5)
    assert [(row, side, why) for row, side, _, why, _ in told(run(document, bars, slots))] == [
        (2, "buy", "enter"), (4, "sell", "exit"), (4, "sell", "enter"), (7, "buy", "time_exit"),
    ]  # fmt: skip


def test_a_position_that_one_order_turns_counts_from_one(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(*[QUIET] * 9)
    document = {
        "version": 1, "name": "t", "short": True, "reserve_bps": 1000, "sizing": {"type": "units", "units": 10},
        "target": "-1 if long else 1", "rebalance": {"when": "flat or bars_held == 2"},
    }  # fmt: skip
    rows = [f.row for f in run(document, bars, slots, terms=Terms(maintenance_bps=0)).fill_records()]
    assert rows == [1, 3, 5, 7]


SIGNAL = (100, 111, 100, 110)
EXIT = {"type": "limit", "price": "close + 2"}
LEAVING = {"enter": "close == 110", "leave": "close < 105"}


def test_an_exit_by_limit_rests_at_its_price_until_it_is_filled(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (108, 109, 103, 104), (104, 106, 103, 105.5), (105.5, 107, 105, 106))
    result = run(trades(**LEAVING, exit_order=EXIT), bars, slots)  # the condition holds at 104 only
    assert told(result) == [(2, "buy", 108.0, "enter", 1), (4, "sell", 106.0, "exit", 2)]
    gap = by_hand(QUIET, SIGNAL, (108, 109, 103, 104), (109, 110, 108, 109))
    assert told(run(trades(**LEAVING, exit_order=EXIT), gap, slots))[1:] == [(3, "sell", 109.0, "exit", 2)]


def test_an_exit_by_limit_moves_with_the_bars_on_which_its_condition_holds(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (108, 109, 103, 104), (104, 104.5, 99, 100), (100, 103, 99, 100))
    result = run(trades(**LEAVING, exit_order=EXIT), bars, slots)
    assert told(result)[1:] == [(4, "sell", 102.0, "exit", 2)]
    assert (result.orders, result.cancelled_orders) == (2, 0)


def test_an_exit_by_limit_takes_the_place_of_the_take_profit_and_leaves_the_stop(by_hand: Maker, slots: Slots) -> None:
    document = trades(**LEAVING, exit_order=EXIT, take_profit={"distance": 12}, stop_loss={"distance": 9})
    start = (QUIET, SIGNAL, (108, 109, 103, 104))
    up = run(document, by_hand(*start, (104, 107, 103, 106)), slots)
    assert told(up)[1:] == [(3, "sell", 106.0, "exit", 3)]
    assert up.positions[0].is_flat and up.ambiguous_bars == 0
    down = run(document, by_hand(*start, (104, 105, 98, 100), (100, 110, 100, 109)), slots)
    assert told(down)[1:] == [(3, "sell", 99.0, "stop_loss", 2)]
    assert down.positions[0].is_flat


def test_an_exit_by_limit_for_one_bar_gives_its_place_back(by_hand: Maker, slots: Slots) -> None:
    """At 104 it asks for 106; at 105.5 the condition does not hold, and the take-profit of 120 is back."""
    document = trades(**LEAVING, exit_order=EXIT | {"valid": "bar"}, take_profit={"distance": 12})
    bars = by_hand(
        QUIET, SIGNAL, (108, 109, 103, 104), (104, 105.6, 103, 105.5), (105.5, 118, 105, 117), (117, 122, 116, 121)
    )
    result = run(document, bars, slots)
    assert told(result)[1:] == [(5, "sell", 120.0, "take_profit", 2)]
    assert (result.orders, result.expired_orders) == (2, 1)
    alone = run(trades(**LEAVING, exit_order=EXIT | {"valid": "bar"}), bars, slots)
    assert (len(alone.fills), alone.orders, alone.expired_orders) == (1, 2, 1)


def test_an_exit_by_limit_for_one_bar_stays_while_its_condition_holds(by_hand: Maker, slots: Slots) -> None:
    document = trades(**LEAVING, exit_order=EXIT | {"valid": "bar"}, take_profit={"distance": 12})
    bars = by_hand(QUIET, SIGNAL, (108, 109, 103, 104), (104, 104.5, 99, 100), (100, 103, 99, 100))
    assert told(run(document, bars, slots))[1:] == [(4, "sell", 102.0, "exit", 2)]


def test_a_missing_bar_does_not_use_up_an_exit_for_one_bar(by_hand: Maker, slots: Slots) -> None:
    document = trades(**LEAVING, exit_order=EXIT | {"valid": "bar"}, take_profit={"distance": 12})
    bars = by_hand(QUIET, SIGNAL, (108, 109, 103, 104), (1, 1, 1, 1), (104, 107, 103, 106))
    bars.valid[0, 3] = 0
    assert told(run(document, bars, slots))[1:] == [(4, "sell", 106.0, "exit", 2)]


def test_an_unknown_price_changes_nothing(by_hand: Maker, slots: Slots) -> None:
    document = trades(**LEAVING, exit_order={"type": "limit", "price": "106 if close > 103 else close - 500"})
    bars = by_hand(QUIET, SIGNAL, (108, 109, 103, 104), (104, 105, 99, 100), (100, 107, 99, 106))
    assert told(run(document, bars, slots))[1:] == [(4, "sell", 106.0, "exit", 2)]
    never = document | {"trades": document["trades"] | {"exit_order": EXIT | {"price": "close - 500"}}}
    assert len(run(never, bars, slots).fills) == 1


def test_time_exits_are_market_orders_beside_an_exit_by_limit(by_hand: Maker, slots: Slots) -> None:
    document = trades(**LEAVING, exit_order=EXIT | {"price": "close + 50"}, time_exit=3)
    bars = by_hand(QUIET, SIGNAL, *[QUIET] * 5)
    result = run(document, bars, slots)
    assert told(result)[1:] == [(5, "sell", 100.0, "time_exit", 3)]
    assert result.positions[0].is_flat


def test_no_entry_is_decided_beside_an_exit_by_limit(by_hand: Maker, slots: Slots) -> None:
    document = trades(**LEAVING, exit_order=EXIT | {"price": "close + 50"})
    document["trades"]["short"] = {"enter": "close < 105"}
    result = run(document, by_hand(QUIET, SIGNAL, *[QUIET] * 5), slots)
    assert [(f.row, f.side.value) for f in result.fill_records()] == [(1, "sell")]
    document["trades"]["long"]["enter"], document["trades"]["short"]["enter"] = "close == 110", "day == 4"
    held = run(document, by_hand(QUIET, SIGNAL, *[QUIET] * 5), slots)
    assert [(f.row, f.side.value) for f in held.fill_records()] == [(2, "buy")]


def test_an_exit_by_limit_covers_a_short(by_hand: Maker, slots: Slots) -> None:
    document = trades(**LEAVING, exit_order={"type": "limit", "price": "close - 1.005"})
    document["trades"] = {"short": document["trades"]["long"], "exit_order": document["trades"]["exit_order"]}
    bars = by_hand(QUIET, SIGNAL, (108, 109, 103, 104), (104, 105, 102.9, 104))
    assert told(run(document, bars, slots)) == [(2, "sell", 108.0, "enter", 1), (3, "buy", 102.99, "exit", 2)]


def test_an_exit_by_limit_and_what_it_replaced_follow_a_split(by_hand: Maker, slots: Slots) -> None:
    document = trades(**LEAVING, exit_order=EXIT | {"valid": "bar"}, take_profit={"distance": 12})
    bars = by_hand(QUIET, SIGNAL, (108, 109, 103, 104), (52, 52.9, 52, 52.75), (53, 61, 53, 60))
    halved = trades("close == 110", "close == 104", exit_order=EXIT | {"valid": "bar"}, take_profit={"distance": 12})
    result = run(halved, bars, slots, events=[Split(3, 0, 2, 1)])
    assert [(f.row, f.quantity, f.price, f.reason) for f in result.fill_records()][1:] == [
        (4, 20, 60_0000, "take_profit")
    ]
    at_once = run(document, by_hand(*[QUIET, SIGNAL, (108, 109, 103, 104)], (52, 53.5, 52, 53)), slots,
                  events=[Split(3, 0, 2, 1)])  # fmt: skip
    assert told(at_once)[1:] == [(3, "sell", 53.0, "exit", 2)]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"exit_order": EXIT}, "trades.exit_order"),  # no condition
        ({"leave": "close < 1", "exit_order": EXIT | {"price": "volume"}}, "trades.exit_order.price"),
        ({"leave": "close < 1", "exit_order": {"type": "limit"}}, "trades.exit_order.limit.price"),
        ({"leave": "close < 1", "exit_order": EXIT | {"valid": "day"}}, "trades.exit_order.limit.valid"),
    ],
)
def test_an_exit_that_cannot_be_meant_is_refused_by_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(DomainError) as caught:
        compile_program(trades(**change))
    assert caught.value.param == path


def test_market_exits_are_what_nothing_said_means() -> None:
    said = trades(leave="close < 1", exit_order={"type": "market"})
    assert compile_program(said).digest == compile_program(trades(leave="close < 1")).digest
    limits = [trades(leave="close < 1", exit_order=EXIT | {"valid": valid}) for valid in ("bar", "till_cancelled")]
    assert len({compile_program(one).digest for one in [said, *limits]}) == 3
