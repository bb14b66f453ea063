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
