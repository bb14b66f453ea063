"""The backtest: hand-made bars, an independent book of the same work, and identity under every cutting into blocks."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from app.engine.bars import Bars, Dividend, Expiry, SessionClose, Split
from app.engine.fills import SlippageModel
from app.engine.instruments import Instrument
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.kernel.errors import DomainError
from app.kernel.orders import Side

ZERO = schedule_named("zero")
FLAT = schedule_named("flat_bps")
Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
Documents = Callable[..., dict[str, Any]]

CLOSE_ABOVE_100 = {
    "op": "select",
    "when": {"op": "gt", "left": {"op": "close"}, "right": 100},
    "then": 1,
    "else": 0,
}


def run(document: dict[str, Any], bars: Bars, slots: Slots, **options: Any) -> Result:
    program = compile_program(document)
    settings: dict[str, Any] = {"cash": 10_000_00, "schedule": ZERO, "instruments": slots(bars.slots)} | options
    return backtest(program, bars, **settings)


def test_a_market_order_fills_at_the_next_open(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (105, 120, 100, 115), (115, 116, 114, 115))
    result = run(program_of(CLOSE_ABOVE_100), bars, slots)
    (fill,) = result.fill_records()
    assert (fill.row, fill.price, fill.side, fill.reason, fill.cause) == (2, 105_0000, Side.BUY, "enter", "market")
    assert fill.quantity == 90  # 99 % of 10,000 at the deciding close of 110
    assert result.equity.tolist() == [10_000_00, 10_000_00, 10_900_00, 10_900_00]


def test_slippage_is_paid_against_the_order(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (105, 120, 100, 115), (115, 116, 90, 95), (94, 96, 90, 95))
    result = run(program_of(CLOSE_ABOVE_100), bars, slots, slippage=SlippageModel(10))
    buy, sell = result.fill_records()
    assert (buy.price, sell.price) == (105_1100, 93_9000)
    assert sell.reason == "exit"
    assert result.positions[0].quantity == 0


def limit_buy(bps: int) -> dict[str, Any]:
    return {"order": {"type": "limit", "offset_bps": bps}}


def test_a_limit_that_is_only_touched_does_not_fill(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (112, 120, 99, 115))
    result = run(program_of(CLOSE_ABOVE_100, **limit_buy(1000)), bars, slots)  # limit 99
    assert len(result.fills) == 0
    assert result.expired_orders == 1


def test_a_limit_that_is_traded_through_fills_at_the_limit(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (112, 120, 98, 115))
    (fill,) = run(program_of(CLOSE_ABOVE_100, **limit_buy(1000)), bars, slots).fill_records()
    assert (fill.price, fill.cause) == (99_0000, "trade_through")


def test_a_gap_through_the_limit_fills_at_the_open(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (97, 120, 96, 115))
    (fill,) = run(program_of(CLOSE_ABOVE_100, **limit_buy(1000)), bars, slots).fill_records()
    assert (fill.price, fill.cause) == (97_0000, "gap")


def test_a_day_order_expires_and_one_without_a_session_end_rests(
    by_hand: Maker, slots: Slots, program_of: Documents
) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (112, 120, 105, 115), (112, 120, 98, 115))
    document = program_of(CLOSE_ABOVE_100, **limit_buy(1000))
    assert len(run(document, bars, slots).fills) == 0
    (fill,) = run(document, bars, slots, sessions=[]).fill_records()
    assert (fill.row, fill.price) == (3, 99_0000)


def test_an_unfilled_exit_is_sent_again_until_flat(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand(
        (90, 91, 89, 90), (90, 111, 90, 110), (97, 120, 96, 115), (99, 99, 90, 90), (90, 97, 90, 91), (95, 99, 90, 92)
    )
    result = run(program_of(CLOSE_ABOVE_100, **limit_buy(800)), bars, slots)
    buy, sell = result.fill_records()
    assert buy.side is Side.BUY
    assert (sell.row, sell.price, sell.reason) == (5, 98_2800, "exit")
    assert result.orders == 3  # the exit after row 3 expired, the one after row 4 filled


def test_a_missing_bar_fills_nothing_and_keeps_the_last_value(
    by_hand: Maker, slots: Slots, program_of: Documents
) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (1, 1, 1, 1), (105, 106, 104, 105))
    bars.valid[0, 2] = 0
    result = run(program_of(CLOSE_ABOVE_100), bars, slots, sessions=[])
    (fill,) = result.fill_records()
    assert (fill.row, fill.price) == (3, 105_0000)
    assert result.equity[2] == 10_000_00


def test_a_buy_that_cash_no_longer_covers_is_dropped_whole(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (150, 151, 149, 150))
    result = run(program_of(CLOSE_ABOVE_100), bars, slots)
    assert (len(result.fills), result.unaffordable_orders, result.cash) == (0, 1, 10_000_00)


def test_a_split_moves_units_not_equity_and_leaves_the_signal_alone(
    by_hand: Maker, slots: Slots, cross_program: Documents
) -> None:
    whole = by_hand(*[(100 + i, 101 + i, 99 + i, 100 + i) for i in range(6)], *[(108, 109, 107, 108)] * 4)
    halved = by_hand(*[(100 + i, 101 + i, 99 + i, 100 + i) for i in range(6)], *[(54, 55, 53, 54)] * 4)
    document = cross_program(2, 4, tolerance_bps=0)
    document["target"]["then"] = {
        "op": "select",
        "when": {"op": "gt", "left": {"op": "close"}, "right": 0},
        "then": 1,
        "else": 0,
    }
    options = {"sessions": None, "schedule": FLAT}
    plain = run(document, whole, slots, **options)
    split = run(document, halved, slots, events=[Split(6, 0, 2, 1)], **options)
    assert plain.equity.tolist() == split.equity.tolist()
    assert split.positions[0].quantity == 2 * plain.positions[0].quantity
    assert split.positions[0].cost == plain.positions[0].cost


def test_a_dividend_is_cash_on_the_ex_date(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (110, 111, 109, 110), (110, 111, 109, 110))
    document = program_of(CLOSE_ABOVE_100)
    plain, paid = run(document, bars, slots), run(document, bars, slots, events=[Dividend(3, 0, 5000)])
    assert paid.cash - plain.cash == plain.positions[0].quantity * 50


def test_a_split_cancels_what_rests(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    bars = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (112, 120, 105, 115), (50, 60, 40, 55))
    document = program_of(CLOSE_ABOVE_100, **limit_buy(1000))
    result = run(document, bars, slots, sessions=[], events=[Split(3, 0, 2, 1)])
    assert (len(result.fills), result.expired_orders) == (0, 1)


def test_rows_before_trade_from_only_warm_up(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    bars = bars_of(200)
    result = run(cross_program(3, 8), bars, slots, trade_from=120)
    assert result.fills[0, 0] > 120
    assert (result.equity[:121] == 10_000_00).all()


def test_buys_are_scaled_to_the_cash_there_is(by_hand: Maker, slots: Slots, program_of: Documents) -> None:
    one = by_hand((90, 91, 89, 90), (90, 111, 90, 110), (110, 111, 109, 110))
    bars = Bars(one.times, one.days, np.repeat(one.fields, 3, axis=1).copy(), np.repeat(one.valid, 3, axis=0).copy())
    result = run(program_of(CLOSE_ABOVE_100), bars, slots)
    assert [fill.quantity for fill in result.fill_records()] == [30, 30, 30]


def reference_cross(bars: Bars, fast: int, slow: int, cash: int) -> tuple[list[tuple[int, ...]], list[int]]:
    """The same strategy written plainly, in fractions and Python integers: all-in at 99 %, 0.1 % a side."""
    opens, closes = bars.fields[0, 0].tolist(), bars.fields[3, 0].tolist()
    fills: list[tuple[int, ...]] = []
    equity: list[int] = []
    held, order, above = 0, 0, None
    for row in range(bars.rows):
        if order:
            price = opens[row]
            notional = (abs(order) * price + 50) // 100
            fee = (notional * 1 + 500) // 1000
            if order < 0 or notional + fee <= cash:
                held, cash = held + order, cash - (notional if order > 0 else -notional) - fee
                fills.append((row, 1 if order > 0 else -1, abs(order), price, notional, fee, cash))
            order = 0
        worth = cash + (held * closes[row] + 50) // 100
        equity.append(worth)
        if row + 1 < slow:
            continue
        now = Fraction(sum(closes[row + 1 - fast : row + 1]), fast) > Fraction(
            sum(closes[row + 1 - slow : row + 1]), slow
        )
        if above is not None and now and not above and not held:
            order = min((worth * 99 // 100) * 100 // closes[row], (cash * 99 // 100) * 100 // closes[row])
        elif not now and held:
            order = -held
        above = now
    return fills, equity


@pytest.mark.parametrize(("fast", "slow", "seed"), [(2, 5, 1), (5, 20, 2), (10, 30, 3)])
def test_a_crossover_agrees_with_a_book_kept_in_plain_python(
    bars_of: Maker, slots: Slots, cross_program: Documents, fast: int, slow: int, seed: int
) -> None:
    bars = bars_of(1500, seed=seed, move=0.004)
    result = run(cross_program(fast, slow), bars, slots, cash=1_000_000_00, schedule=FLAT)
    fills, equity = reference_cross(bars, fast, slow, 1_000_000_00)
    columns = [0, 2, 3, 4, 5, 6, 10]
    assert [tuple(row) for row in result.fills[:, columns].tolist()] == fills
    assert result.equity.tolist() == equity
    assert len(fills) > 20


def test_every_cutting_into_blocks_gives_the_same_bytes(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    bars = bars_of(5000, 3, seed=5, missing=0.03, move=0.005)
    splits = [Split(1000, 0, 2, 1), Split(4096, 1, 3, 2), Split(4097, 2, 1, 5), Split(4777, 0, 1, 2)]
    documents = [
        cross_program(4, 15, weight=0.3),
        cross_program(4, 15, weight=0.3, order={"type": "limit", "offset_bps": 20}, rebalance="monthly"),
    ]
    for document in documents:
        options = {"schedule": FLAT, "events": splits, "slippage": SlippageModel(5)}
        hashes = {run(document, bars, slots, block=block, **options).sha256() for block in (5000, 4096, 7, 1)}
        assert len(hashes) == 1
        assert len(run(document, bars, slots, **options).fills) > 100


def test_decisions_do_not_change_when_the_future_is_cut_off(
    bars_of: Maker, slots: Slots, cross_program: Documents
) -> None:
    bars = bars_of(800, 2, seed=9)
    whole = run(cross_program(3, 9, weight=0.5), bars, slots)
    for rows in (50, 333, 799):
        part = Bars(bars.times[:rows], bars.days[:rows], bars.fields[:, :, :rows].copy(), bars.valid[:, :rows].copy())
        cut = run(cross_program(3, 9, weight=0.5), part, slots)
        assert cut.equity.tolist() == whole.equity[:rows].tolist()
        assert cut.fills.tolist() == whole.fills[whole.fills[:, 0] < rows].tolist()


def test_a_shuffled_future_changes_nothing_before_it(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    bars = bars_of(600, seed=11)
    order = np.concatenate([np.arange(300), 300 + np.random.default_rng(0).permutation(300)])
    other = Bars(bars.times, bars.days, bars.fields[:, :, order].copy(), bars.valid)
    first, second = (run(cross_program(3, 9), b, slots) for b in (bars, other))
    assert first.equity[:300].tolist() == second.equity[:300].tolist()


def test_the_result_states_its_assumptions(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    result = run(cross_program(2, 5), bars_of(100), slots, schedule=FLAT, slippage=SlippageModel(3))
    assert "3 bps" in result.assumptions["slippage"]
    assert result.charges == {"commission": int(result.fills[:, 6].sum())}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cash": 0}, "invalid_cash"),
        ({"trade_from": 999}, "invalid_range"),
        ({"block": 0}, "invalid_range"),
        ({"events": [Expiry(1, 0)]}, "invalid_event"),
        ({"events": [Split(999, 0, 2, 1)]}, "invalid_event"),
        ({"events": [Split(1, 5, 2, 1)]}, "invalid_event"),
        ({"events": [Split(1, 0, 0, 1)]}, "invalid_event"),
        ({"events": [Dividend(1, 0, -1)]}, "invalid_event"),
        ({"sessions": [SessionClose(999)]}, "invalid_event"),
        ({"schedule": schedule_named("nse_equity")}, "charges_unknown"),
    ],
)
def test_what_cannot_run_is_refused_with_a_code(
    bars_of: Maker, slots: Slots, cross_program: Documents, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(DomainError) as error:
        run(cross_program(2, 5), bars_of(50), slots, **changes)
    assert error.value.code == code


def test_a_time_before_the_schedule_is_refused(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    with pytest.raises(DomainError) as error:
        run(
            cross_program(2, 5),
            bars_of(50),
            slots,
            instruments=slots(1, currency="INR"),
            schedule=schedule_named("nse_equity"),
        )
    assert error.value.code == "charges_unknown"


def test_bars_must_fit_the_instruments(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    with pytest.raises(DomainError, match="2 series for 1"):
        run(cross_program(2, 5), bars_of(50, 2), slots, instruments=slots(1))
    with pytest.raises(DomainError, match="needs 5 bars to begin; there are 4"):
        run(cross_program(2, 5), bars_of(4), slots)
    with pytest.raises(DomainError, match="no bars"):
        run(cross_program(2, 5), bars_of(0), slots)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "swap"}, "equity, future or option"),
        ({"multiplier": Fraction(2)}, "Only futures and options"),
        ({"kind": "future", "multiplier": Fraction(0)}, "above 0"),
        ({"kind": "future", "multiplier": Fraction(10**6), "price_exp": 0}, "too far"),
        ({"kind": "option"}, "needs its strike"),
        ({"kind": "future", "strike": 100}, "needs its strike"),
        ({"kind": "option", "strike": 0}, "positive"),
        ({"price_exp": 12}, "Exponents"),
        ({"lot": 0}, "positive"),
    ],
)
def test_instruments_the_engine_cannot_run_are_refused(
    bars_of: Maker, slots: Slots, cross_program: Documents, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(DomainError, match=words) as error:
        run(cross_program(2, 5), bars_of(50), slots, instruments=slots(1, **change))
    assert error.value.code == "unsupported_instrument"


def test_one_currency_per_run(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    mixed = [*slots(1), *slots(1, currency="INR")]
    with pytest.raises(DomainError, match="one currency"):
        run(cross_program(2, 5), bars_of(50, 2), slots, instruments=mixed)
    with pytest.raises(DomainError, match="at least one"):
        run(cross_program(2, 5), bars_of(50, 0), slots, instruments=[])


def test_more_fills_than_the_buffer_holds_lose_nothing(bars_of: Maker, slots: Slots, cross_program: Documents) -> None:
    bars = bars_of(6000, 2, seed=13, move=0.002)
    document = cross_program(1, 2, weight=0.5)
    whole = run(document, bars, slots, cash=10**12, block=6000)
    assert len(whole.fills) > 2 * 2048
    assert whole.sha256() == run(document, bars, slots, cash=10**12, block=100).sha256()
    assert np.diff(whole.fills[:, 0]).min() >= 0


def test_orders_that_pile_up_without_sessions_end_the_run_with_a_code(
    by_hand: Maker, slots: Slots, cross_program: Documents
) -> None:
    saw = [(price, price + 5, price - 5, price) for low in range(4000, 3000, -10) for price in (low, low + 5)]
    document = cross_program(1, 2, order={"type": "limit", "offset_bps": 5000})
    with pytest.raises(DomainError) as error:
        run(document, by_hand(*saw), slots, cash=10**12, sessions=[])
    assert error.value.code == "too_many_orders"
