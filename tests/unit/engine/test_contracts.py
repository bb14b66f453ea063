"""Futures and options on hand-made bars: margin, profit and loss day by day, premiums, expiry and its charges."""

from collections.abc import Callable
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from app.engine.apply import ONE, Position
from app.engine.bars import EPOCH, AnyEvent, Bars, Dividend, Expiry, Split
from app.engine.decision import Book, Holding, decide
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.runtime import Signals
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.engine.terms import Terms
from app.kernel.errors import DomainError

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
Documents = Callable[..., dict[str, Any]]
ZERO = schedule_named("zero")
CALM = (100, 101, 99, 100)
SIGNAL = (100, 111, 100, 110)  # closes above 105: enter
FILLED = (108, 112, 103, 104)  # opens at 108
LAST = (106, 113, 105, 112)
CHEAP, DEAR, BOUGHT, ENDED = (5, 5, 5, 5), (5, 8, 5, 8), (7.5, 9, 7, 8.5), (11, 13, 11, 12)  # an option's premium


def trades(units: int, *, side: str = "long", enter: str = "close > 105", **changes: Any) -> dict[str, Any]:
    rule = {"enter": enter, "exit": changes.pop("exit", None)}
    return {"version": 1, "name": "t", "trades": {side: rule, **changes}, "sizing": {"type": "units", "units": units}}


def run(document: dict[str, Any], bars: Bars, instruments: list[Instrument], **options: Any) -> Result:
    settings: dict[str, Any] = {"cash": 10_000_00, "schedule": ZERO} | options
    return backtest(compile_program(document), bars, instruments=instruments, **settings)


def futures(slots: Slots, count: int = 1, **changes: Any) -> list[Instrument]:
    return slots(count, currency="INR", kind="future", **{"multiplier": Fraction(50)} | changes)


def options(slots: Slots, **changes: Any) -> list[Instrument]:
    return slots(1, currency="INR", kind="option", **{"strike": 100_0000, "lot": 75} | changes)


def told(result: Result) -> list[tuple[int, str, int, float, str, str, float]]:
    """(row, side, quantity, price, reason, cause, cash after) of each fill."""
    return [
        (f.row, f.side.value, f.quantity, f.price / 10_000, f.reason, f.cause, f.cash_after / 100)
        for f in result.fill_records()
    ]


def test_a_long_future_is_not_paid_for_and_is_settled_at_the_close(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED, LAST)
    result = run(trades(2), bars, futures(slots), events=[Expiry(3, 0)])
    assert told(result) == [
        (2, "buy", 2, 108, "enter", "market", 10_000),  # 10,800 of value, and no cash moves
        (3, "sell", 2, 112, "expiry", "settlement", 10_400),  # 2 × 50 × (112 − 108)
    ]
    assert result.equity.tolist() == [10_000_00, 10_000_00, 9_600_00, 10_400_00]
    assert result.positions[0] == Position(0, 0, 400_00)
    assert result.fill_records()[0].notional == 10_800_00


def test_a_short_future_is_settled_at_the_price_given(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED, LAST)
    result = run(trades(2, side="short"), bars, futures(slots), events=[Expiry(3, 0, price=100_0000)])
    assert told(result) == [
        (2, "sell", 2, 108, "enter", "market", 10_000),
        (3, "buy", 2, 100, "expiry", "settlement", 10_800),
    ]
    assert result.equity.tolist() == [10_000_00, 10_000_00, 10_400_00, 10_800_00]


def test_an_expiry_without_a_bar_settles_at_the_last_close(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED, LAST, (200, 201, 199, 200))
    bars.valid[0, 4] = 0
    result = run(trades(2), bars, futures(slots), events=[Expiry(4, 0)])
    assert told(result)[1][3] == 112
    assert result.cash == 10_400_00


def test_profit_and_loss_of_every_day_sum_to_the_equity(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    """A clearing house's own way of counting: each day to its close, and each trade from its price to that close."""
    bars = bars_of(600, seed=4)
    document = cross_program(2, 5, sizing={"type": "units", "units": 3})
    result = run(document, bars, futures(slots), cash=100_000_00)
    fills = {fill.row: fill for fill in result.fill_records()}
    held, before, account = 0, 0, 100_000_00
    for row, close in enumerate(bars.fields[3, 0].tolist()):
        account += held * (close - before) * 50 // 100
        if row in fills:
            traded = fills[row].side.sign * fills[row].quantity
            account += traded * (close - fills[row].price) * 50 // 100
            held += traded
        assert account == result.equity[row]
        before = close
    assert len(fills) > 50


def test_an_entry_is_capped_by_the_margin_not_by_the_value(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED)
    (fill,) = run(trades(20), bars, futures(slots)).fill_records()
    assert fill.quantity == 9  # 9,900 after reserve / 20 % / (110 × 50)
    (fill,) = run(trades(20), bars, futures(slots), terms=Terms(future_margin_bps=4_000)).fill_records()
    assert fill.quantity == 4


def test_a_gap_that_the_margin_does_not_cover_is_refused(by_hand: Maker, slots: Slots) -> None:
    gap = (120, 121, 119, 120)  # 9 × 120 × 50 × 20 % = 10,800
    result = run(trades(20), by_hand(CALM, SIGNAL, gap), futures(slots))
    assert (len(result.fills), result.unaffordable_orders) == (0, 1)


def test_a_loss_below_the_margin_closes_everything(by_hand: Maker, slots: Slots) -> None:
    fallen, after = (107, 107, 100, 100), (99, 100, 98, 99)
    result = run(trades(20), by_hand(CALM, SIGNAL, (108, 110, 107, 108), fallen, after), futures(slots))
    assert told(result) == [
        (2, "buy", 9, 108, "enter", "market", 10_000),
        (4, "sell", 9, 99, "margin_call", "market", 10_000 - 9 * 50 * 9),
    ]  # 6,400 of equity is below 80 % of the margin of 9,000
    assert result.margin_calls == 1
    kept = by_hand(CALM, SIGNAL, (108, 110, 107, 108), fallen)
    assert run(trades(20), kept, futures(slots), terms=Terms(contract_call_bps=7_000)).margin_calls == 0


def test_targets_spend_margin_on_futures_and_cash_on_shares(
    by_hand: Maker, slots: Slots, program_of: Documents
) -> None:
    one = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (110, 111, 109, 110))
    bars = Bars(one.times, one.days, np.repeat(one.fields, 2, axis=1).copy(), np.repeat(one.valid, 2, axis=0).copy())
    above = {"op": "gt", "left": {"op": "close"}, "right": 100}

    def quantities(weight: float) -> list[int]:
        document = program_of({"op": "select", "when": above, "then": weight, "else": 0})
        both = [*slots(1), *slots(1, kind="future")]
        return [fill.quantity for fill in run(document, bars, both).fill_records()]

    assert quantities(0.5) == [45, 45]
    assert quantities(1) == [75, 75]  # 90 each would take 9,900 + 1,980 of 9,900


def test_targets_turn_a_future_round_through_zero(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED, (104, 105, 99, 100), (102, 103, 101, 102))
    above = {"op": "gt", "left": {"op": "close"}, "right": 105}
    document = program_of(
        {"op": "select", "when": above, "then": 1, "else": -1}, short=True, sizing={"type": "units", "units": 2}
    )
    result = run(document, bars, futures(slots))
    assert told(result) == [
        (2, "buy", 2, 108, "enter", "market", 10_000),
        (3, "sell", 4, 104, "exit", "market", 9_600),  # 2 × 50 × (104 − 108) is realised, two more are sold
    ]
    assert result.positions[0] == Position(-2, -10_400_00, -400_00)
    assert result.equity.tolist()[2:] == [9_600_00, 10_000_00, 9_800_00]


def test_a_bought_option_is_paid_in_full_and_settled_at_its_worth(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CHEAP, DEAR, BOUGHT, ENDED)
    result = run(trades(75, enter="close > 7"), bars, options(slots), events=[Expiry(3, 0)])
    assert told(result) == [
        (2, "buy", 75, 7.5, "enter", "market", 9_437.50),
        (3, "sell", 75, 12, "expiry", "settlement", 10_337.50),
    ]
    assert result.equity.tolist() == [10_000_00, 10_000_00, 10_075_00, 10_337_50]


def test_an_option_that_expires_worthless_loses_its_premium(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CHEAP, DEAR, BOUGHT, ENDED)
    result = run(trades(75, enter="close > 7"), bars, options(slots), events=[Expiry(3, 0, price=0)])
    assert told(result)[1] == (3, "sell", 75, 0, "expiry", "settlement", 9_437.50)
    assert result.positions[0] == Position(0, 0, -562_50)


@pytest.mark.parametrize(("price", "cash"), [(0, 10_562_50), (12_0000, 9_662_50)])
def test_a_written_option_receives_its_premium_and_pays_its_worth(
    by_hand: Maker, slots: Slots, price: int, cash: int
) -> None:
    bars = by_hand(CHEAP, DEAR, BOUGHT, ENDED)
    document = trades(75, side="short", enter="close > 7")
    result = run(document, bars, options(slots), events=[Expiry(3, 0, price=price)])
    assert told(result)[0] == (2, "sell", 75, 7.5, "enter", "market", 10_562.50)
    assert result.equity[2] == 10_562_50 - 75 * 8_50
    assert result.cash == cash


def test_a_written_option_ties_up_a_share_of_its_strike(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CHEAP, DEAR, BOUGHT)
    document = trades(75, side="short", enter="close > 7")
    poor: dict[str, Any] = {"cash": 1_000_00}  # 20 % of 75 × 100 are 1,500
    assert len(run(document, bars, options(slots), **poor).fills) == 0
    assert len(run(document, bars, options(slots), **poor, terms=Terms(short_option_margin_bps=1_000)).fills) == 1
    called = by_hand(CHEAP, DEAR, (7.5, 30, 7, 30), (31, 31, 31, 31))
    result = run(document, called, options(slots), cash=2_000_00)  # 2,562.50 − 2,250 is below 80 % of 1,500
    assert [fill.reason for fill in result.fill_records()] == ["enter", "margin_call"]


def test_a_long_option_is_never_called(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CHEAP, DEAR, BOUGHT, (0.05, 0.05, 0.05, 0.05), (0.05, 0.05, 0.05, 0.05))
    result = run(trades(1_200, enter="close > 7"), bars, options(slots))
    assert [fill.quantity for fill in result.fill_records()] == [1_200]
    assert result.margin_calls == 0


def test_nothing_works_and_nothing_trades_after_the_expiry(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CALM, SIGNAL, (112, 113, 109, 112), (90, 111, 89, 110), SIGNAL, SIGNAL)
    document = trades(2, entry={"type": "limit", "price": "close - 12", "valid": "till_cancelled"})
    alive = run(document, bars, futures(slots))
    assert len(alive.fills) == 1
    dead = run(document, bars, futures(slots), events=[Expiry(2, 0)])
    assert (len(dead.fills), dead.expired_orders, dead.orders) == (0, 1, 1)


def test_targets_leave_an_expired_contract_alone(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED, SIGNAL, SIGNAL, SIGNAL)
    above = {"op": "gt", "left": {"op": "close"}, "right": 105}
    document = program_of({"op": "select", "when": above, "then": 1, "else": 0.5})
    result = run(document, bars, futures(slots, multiplier=ONE), events=[Expiry(3, 0)])
    assert [fill.reason for fill in result.fill_records()][-1] == "expiry"
    assert result.fills[-1, 0] == 3


APRIL_2025 = date(2025, 4, 21).toordinal() - EPOCH


def test_futures_are_charged_on_their_value_and_nothing_at_expiry(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED, LAST, day=APRIL_2025)
    result = run(trades(2), bars, futures(slots), events=[Expiry(3, 0)], schedule=schedule_named("nse_futures"))
    # of 10,800: 0.03 %, tax on sales only, 183 and 10 a crore, 0.002 % to the rupee, 18 % of 3.44844
    assert result.charges == {"brokerage": 324, "stt": 0, "exchange": 20, "sebi": 1, "stamp": 0, "gst": 62}
    assert [fill.charges for fill in result.fill_records()] == [407, 0]
    assert result.cash == 10_400_00 - 407


@pytest.mark.parametrize(("price", "tax"), [(None, 113_00), (12_0000, 113_00), (0, 0)])
def test_an_exercised_option_pays_tax_on_its_worth(by_hand: Maker, slots: Slots, price: int | None, tax: int) -> None:
    bars = by_hand(CHEAP, DEAR, BOUGHT, ENDED, day=APRIL_2025)
    document = trades(7_500, enter="close > 7")
    charged = {"schedule": schedule_named("nse_options"), "cash": 100_000_00}
    result = run(document, bars, options(slots), events=[Expiry(3, 0, price=price)], **charged)
    # of a premium of 56,250: 20, 3,553 and 10 a crore, 0.003 % to the rupee, 18 % of 40.041875; 0.125 % of 90,000
    assert result.charges == {
        "brokerage": 20_00, "stt": tax, "exchange": 19_99, "sebi": 6, "stamp": 2_00, "gst": 7_21,
    }  # fmt: skip
    assert [fill.charges for fill in result.fill_records()] == [49_26, tax]
    written = run(
        trades(7_500, side="short", enter="close > 7"), bars, options(slots),
        events=[Expiry(3, 0, price=price)], schedule=schedule_named("nse_options"), cash=400_000_00,
    )  # fmt: skip
    assert written.fill_records()[1].charges == 0  # the buyer's tax


def test_an_exercise_of_unknown_cost_is_refused_not_free(by_hand: Maker, slots: Slots) -> None:
    """Until August 2019 the tax was on the settlement value of the underlying, which an option's bars do not say."""
    bars = by_hand(CHEAP, DEAR, BOUGHT, ENDED, day=date(2019, 8, 26).toordinal() - EPOCH)
    charged = {"schedule": schedule_named("nse_options"), "cash": 100_000_00}
    with pytest.raises(DomainError, match="what an exercise cost on 2019-08-29") as refused:
        run(trades(75, enter="close > 7"), bars, options(slots), events=[Expiry(3, 0)], **charged)
    assert (refused.value.code, refused.value.param) == ("charges_unknown", "charges")
    for events in ([], [Expiry(3, 0, price=0)]):
        assert run(trades(75, enter="close > 7"), bars, options(slots), events=events, **charged).charges["stt"] == 0


def test_shorts_of_futures_borrow_nothing(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED, LAST)
    assert run(trades(2, side="short"), bars, futures(slots), terms=Terms(borrow_bps=1_000)).borrow_cost == 0
    shares = run(trades(20, side="short"), bars, slots(1, currency="INR"), terms=Terms(borrow_bps=1_000))
    assert shares.borrow_cost > 0


def worth(instruments: list[Instrument], bars: Bars, result: Result) -> int:
    """Of the positions left, at each slot's last close."""
    closes = [int(bars.fields[3, slot][bars.valid[slot] == 1][-1]) for slot in range(bars.slots)]
    parts = zip(instruments, result.positions, closes, strict=True)
    return sum(one.scale.worth(position, close) for one, position, close in parts)


def test_every_cutting_into_blocks_gives_the_same_bytes(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    bars = bars_of(4500, 3, seed=8, missing=0.02, move=0.005)
    mixed = [
        *slots(1, currency="INR"), *futures(slots, multiplier=Fraction(5)),
        *slots(1, currency="INR", kind="option", strike=50_0000),
    ]  # fmt: skip
    events: list[AnyEvent] = [Split(1000, 0, 2, 1), Split(2000, 1, 3, 2), Expiry(4096, 1), Expiry(4400, 2, 2_0000)]
    both = {"version": 1, "name": "t", "sizing": {"type": "units", "units": 30}}
    both["trades"] = {
        "long": {"enter": "cross_above(close, sma(close, 4))", "exit": "cross_below(close, sma(close, 4))"},
        "short": {"enter": "cross_below(close, sma(close, 9))", "exit": "open_profit > 2"},
        "stop_loss": {"percent": 3},
    }
    for document in (cross_program(4, 15, weight=0.3), both):
        given_ = {"events": events, "schedule": schedule_named("flat_bps"), "cash": 100_000_00}
        results = [run(document, bars, mixed, block=block, **given_) for block in (4500, 4096, 7, 1)]
        assert len({result.sha256() for result in results}) == 1
        reasons = {fill.reason for fill in results[0].fill_records()}
        assert len(results[0].fills) > 100
        assert results[0].equity[-1] == results[0].cash + worth(mixed, bars, results[0])
        assert "expiry" in reasons or document is not both


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([Expiry(1, 0), Expiry(2, 0)], "only a contract expires, and once"),
        ([Expiry(1, 1)], "only a contract expires"),
        ([Dividend(1, 0, 5)], "pays no dividend"),
        ([Split(1, 2, 2, 1)], "strike would change"),
        ([Expiry(1, 0, -5)], "price out of range"),
        ([Expiry(9, 0)], "outside the 3 bars"),
        ([Expiry(1, 7)], "slot that does not exist"),
    ],
)
def test_events_that_do_not_fit_are_refused(by_hand: Maker, slots: Slots, events: Any, words: str) -> None:
    one = by_hand(CALM, SIGNAL, FILLED)
    bars = Bars(one.times, one.days, np.repeat(one.fields, 3, axis=1).copy(), np.repeat(one.valid, 3, axis=0).copy())
    with pytest.raises(DomainError, match=words) as refused:
        run(trades(1), bars, [*futures(slots), *slots(1, currency="INR"), *options(slots)], events=events)
    assert (refused.value.code, refused.value.param) == ("invalid_event", "events")


@pytest.mark.parametrize(
    ("term", "value"),
    [("future_margin_bps", 99), ("short_option_margin_bps", 10_001), ("contract_call_bps", -1)],
)
def test_margins_out_of_range_are_refused(term: str, value: int) -> None:
    changes: dict[str, Any] = {term: value}
    with pytest.raises(DomainError, match="must be from") as refused:
        Terms(**changes)
    assert refused.value.param == term


def test_the_result_says_how_contracts_were_held(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(CALM, SIGNAL, FILLED)
    result = run(trades(1), bars, futures(slots), terms=Terms(future_margin_bps=1_234))
    assert "1234 bps" in result.assumptions["contracts"]
    assert "delivered" in result.assumptions["expiry"]
    assert "contracts" not in run(trades(1), bars, slots(1)).assumptions


def test_deployments_refuse_contracts(slots: Slots, cross_program: Documents) -> None:
    with pytest.raises(DomainError, match="backtests only"):
        decide(
            compile_program(cross_program(2, 4)), futures(slots), Signals((0,), (0,)), Book(1, (Holding(),))
        )  # fmt: skip
