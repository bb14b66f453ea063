"""Finer bars decide the order of prices within a bar: what they change, where they lack, and what contradicts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from app.engine.bars import Bars, Split
from app.engine.columns import Intrabar
from app.engine.fills import SlippageModel
from app.engine.finer import within
from app.engine.instruments import Instrument
from app.engine.layout import Field
from app.engine.program import compile_program
from app.engine.schedule import schedule_named
from app.engine.simulation import Result, backtest
from app.engine.terms import Terms
from app.kernel.errors import DomainError

Maker = Callable[..., Bars]
Slots = Callable[..., list[Instrument]]
LOWER = Intrabar.LOWER
QUIET, SIGNAL, ENTERED = (100, 101, 99, 100), (100, 111, 100, 110), (108, 112, 104, 110)
FALLING = (112, 117, 102, 104)
Quote = tuple[float, float, float, float]


def bracket(**changes: Any) -> dict[str, Any]:
    """Ten units from the open after the close of 110: at 108, stop 103, target 116."""
    rules = {"long": {"enter": "close == 110 and lag(close, 1) == 100"}, "stop_loss": {"distance": 5}}
    rules |= {"take_profit": {"distance": 8}} | changes
    return {"version": 1, "name": "t", "sizing": {"type": "units", "units": 10}, "trades": rules}


def finer_of(bars: Bars, rows: Mapping[int, Sequence[Quote]], slot: int = 0, volume: int = 100) -> Bars:
    """The finer bars of some rows of one slot, by the minute up to the row's close."""
    quotes = [(row, quote, len(group) - 1 - at) for row, group in rows.items() for at, quote in enumerate(group)]
    times = np.array([bars.times[row] - left * 60_000_000 for row, _, left in quotes], np.int64)
    fields = np.ones((5, bars.slots, len(quotes)), np.int64)
    fields[:4, slot] = np.rint(np.array([quote for _, quote, _ in quotes]).T * 10_000).astype(np.int64)
    fields[Field.VOLUME] = volume
    valid = np.zeros((bars.slots, len(quotes)), np.uint8)
    valid[slot] = 1
    return Bars(times, bars.days[[row for row, _, _ in quotes]], fields, valid)


def coarse(finer: Bars, size: int) -> Bars:
    """Every `size` bars made one."""
    rows = finer.rows // size
    shape = (finer.slots, rows, size)
    fields, valid = (finer.fields[:, :, : rows * size].reshape(5, *shape), finer.valid[:, : rows * size].reshape(shape))
    live = valid == 1
    first, last = live.argmax(axis=2)[..., None], size - 1 - live[..., ::-1].argmax(axis=2)[..., None]
    made = np.stack([
        np.take_along_axis(fields[0], first, 2)[..., 0], np.where(live, fields[1], 0).max(axis=2),
        np.where(live, fields[2], 2**60).min(axis=2), np.take_along_axis(fields[3], last, 2)[..., 0],
        np.where(live, fields[4], 0).sum(axis=2),
    ])  # fmt: skip
    known = live.any(axis=2)
    ends = slice(size - 1, rows * size, size)
    return Bars(finer.times[ends], finer.days[ends], np.where(known, made, 1), known.astype(np.uint8))


def run(document: dict[str, Any], bars: Bars, slots: Slots, finer: Bars | None = None, **options: Any) -> Result:
    settings: dict[str, Any] = {"cash": 10_000_00, "schedule": schedule_named("zero"), "instruments": slots(bars.slots)}
    settings |= {"terms": Terms(Intrabar.LOWER if finer is not None else Intrabar.PESSIMISTIC)} | options
    return backtest(compile_program(document), bars, finer=finer, **settings)


def out(result: Result) -> list[tuple[int, float, str, str]]:
    """(row, price, reason, cause) of each fill after the entry."""
    return [(f.row, f.price / 10_000, f.reason, f.cause) for f in result.fill_records()[1:]]


DIP_FIRST = [(112, 113, 110, 111), (102, 105, 102, 104), (104, 117, 104, 116), (116, 116.5, 104, 104)]
PEAK_FIRST = [(112, 117, 111, 115), (115, 115, 102, 104)]


def test_each_policy_leaves_by_the_order_of_prices_that_it_supposes(by_hand: Maker, slots: Slots) -> None:
    """Stop 103 and target 116 lie in one bar, which falls; only its finer bars know what came first."""
    bars = by_hand(QUIET, SIGNAL, ENTERED, FALLING)
    pessimistic = run(bracket(), bars, slots)
    assert (out(pessimistic), pessimistic.ambiguous_bars) == ([(3, 103.0, "stop_loss", "stop")], 1)
    path = run(bracket(), bars, slots, terms=Terms(Intrabar.PATH))
    assert (out(path), path.ambiguous_bars) == ([(3, 116.0, "take_profit", "trade_through")], 1)
    dip = run(bracket(), bars, slots, finer_of(bars, {3: DIP_FIRST}))
    assert (out(dip), dip.ambiguous_bars) == ([(3, 102.0, "stop_loss", "gap")], 0)  # between two finer bars
    peak = run(bracket(), bars, slots, finer_of(bars, {3: PEAK_FIRST}))
    assert (out(peak), peak.ambiguous_bars) == ([(3, 116.0, "take_profit", "trade_through")], 0)


def test_a_finer_bar_that_holds_both_is_ambiguous_and_pessimistic(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, ENTERED, FALLING)
    result = run(bracket(), bars, slots, finer_of(bars, {3: [(112, 113, 110, 112), (112, 117, 102, 104)]}))
    assert (out(result), result.ambiguous_bars) == ([(3, 103.0, "stop_loss", "stop")], 1)


def test_what_is_activated_in_one_finer_bar_is_sure_in_the_next(by_hand: Maker, slots: Slots) -> None:
    """Limit 98, target 106: the bar alone cannot say whether the high of 107 came after the low of 97."""
    document = bracket(entry={"type": "limit", "price": "close - 12"})
    bars = by_hand(QUIET, SIGNAL, (100, 107, 97, 102))
    assert run(document, bars, slots).ambiguous_bars == 1
    after = run(document, bars, slots, finer_of(bars, {2: [(100, 101, 97, 99), (99, 107, 99, 102)]}))
    assert (out(after), after.ambiguous_bars) == ([(2, 106.0, "take_profit", "trade_through")], 0)
    before = run(document, bars, slots, finer_of(bars, {2: [(100, 107, 99, 99), (99, 103, 97, 102)]}))
    assert (out(before), before.ambiguous_bars) == ([], 0)


def test_a_trailing_stop_follows_the_finer_bars(by_hand: Maker, slots: Slots) -> None:
    document = bracket(stop_loss=None, take_profit=None, trailing_stop={"distance": 5})
    bars = by_hand(QUIET, SIGNAL, ENTERED, (110, 120, 109, 116))
    assert out(run(document, bars, slots)) == []  # it follows the high of 120 after the bar
    turning = finer_of(bars, {3: [(110, 120, 109, 119), (119, 119, 114, 116)]})
    assert out(run(document, bars, slots, turning)) == [(3, 115.0, "trailing_stop", "stop")]


def test_a_trailing_stop_follows_the_close_of_the_finer_bar_that_activated_it(by_hand: Maker, slots: Slots) -> None:
    document = bracket(stop_loss=None, take_profit=None, trailing_stop={"distance": 5})
    bars = by_hand(QUIET, SIGNAL, (110, 130, 106, 107))
    finer = finer_of(bars, {2: [(110, 130, 109, 112), (112, 113, 108, 109), (109, 109, 106, 107)]})
    assert out(run(document, bars, slots, finer)) == [(2, 108.0, "trailing_stop", "stop")]  # 113 less 5, not 130


def test_volume_is_capped_in_each_finer_bar(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, (100, 101, 99, 100), QUIET)
    finer = finer_of(bars, {2: [(100, 101, 100, 100), (100, 100, 99, 99), (99, 100, 99, 100)]}, volume=30)
    result = run(bracket(stop_loss=None), bars, slots, finer, terms=Terms(LOWER, participation_bps=1000), sessions=[])
    assert [(f.row, f.quantity, f.price) for f in result.fill_records()] == [
        (2, 3, 100_0000), (2, 3, 100_0000), (2, 3, 99_0000), (3, 1, 100_0000),
    ]  # fmt: skip


def test_more_fills_than_the_buffer_holds_are_all_kept(by_hand: Maker, slots: Slots) -> None:
    """One order of 9,870 fills one unit in each of 21 finer bars of 470 rows."""
    flat = (100.0, 100.0, 100.0, 100.0)
    bars = by_hand(flat, (100, 110, 100, 110), *[flat] * 475)
    finer = finer_of(bars, {row: [flat] * 21 for row in range(2, 477)}, volume=10)
    document = bracket(stop_loss=None, take_profit=None) | {"sizing": {"type": "units", "units": 470 * 21}}
    options: dict[str, Any] = {"terms": Terms(LOWER, participation_bps=1000), "sessions": [], "cash": 10_000_000_00}
    result = run(document, bars, slots, finer, **options)
    assert [f.row for f in result.fill_records()] == [2 + at // 21 for at in range(470 * 21)]
    assert {(f.quantity, f.price) for f in result.fill_records()} == {(1, 100_0000)}


def test_a_bar_without_finer_ones_stands_alone_and_is_counted(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, ENTERED, FALLING)
    result = run(bracket(), bars, slots, finer_of(bars, {2: [(108, 112, 107, 111), (111, 111, 104, 110)]}))
    assert (out(result), result.ambiguous_bars) == ([(3, 103.0, "stop_loss", "stop")], 1)
    assert result.assumptions["finer"] == "2 bars have no finer ones and stand alone"  # rows 1 and 3


def test_slots_with_and_without_finer_bars_trade_in_one_row(by_hand: Maker, slots: Slots) -> None:
    one = by_hand(QUIET, SIGNAL, ENTERED, FALLING)
    bars = Bars(one.times, one.days, np.repeat(one.fields, 2, axis=1), np.repeat(one.valid, 2, axis=0))
    result = run(bracket(), bars, slots, finer_of(bars, {3: PEAK_FIRST}, slot=1))
    assert {(f.slot, f.price, f.reason) for f in result.fill_records()[2:]} == {
        (0, 103_0000, "stop_loss"), (1, 116_0000, "take_profit"),
    }  # fmt: skip


def test_a_split_comes_before_the_first_finer_bar(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, ENTERED, (56, 58.5, 51, 52))
    finer = finer_of(bars, {3: [(56, 58.5, 55, 57), (57, 57, 51, 52)]})
    result = run(bracket(), bars, slots, finer, events=[Split(3, 0, 2, 1)])
    (_, left) = result.fill_records()
    assert (left.quantity, left.price, left.reason) == (20, 58_0000, "take_profit")


@pytest.mark.parametrize(
    ("quotes", "reason"),
    [
        ([(111, 117, 102, 104)], "the open of the finer bars is 1110000, of the bar 1120000"),
        ([(112, 118, 102, 104)], "the high"),
        ([(112, 117, 103, 104)], "the low"),
        ([(112, 117, 110, 111), (111, 112, 102, 105)], "the close"),
    ],
)
def test_finer_bars_that_do_not_make_the_bar_are_refused(
    by_hand: Maker, slots: Slots, quotes: list[Quote], reason: str
) -> None:
    bars = by_hand(QUIET, SIGNAL, ENTERED, FALLING)
    with pytest.raises(DomainError, match=f"Row 3, slot 0: {reason}") as caught:
        run(bracket(), bars, slots, finer_of(bars, {2: [ENTERED], 3: quotes}))
    assert caught.value.param == "finer"


def test_finer_bars_where_the_bar_is_missing_are_refused(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, ENTERED, FALLING)
    bars.valid[0, 2] = 0
    with pytest.raises(DomainError, match="Row 2, slot 0: there are finer bars, and no bar"):
        run(bracket(), bars, slots, finer_of(bars, {2: [ENTERED]}))


def test_finer_bars_before_the_second_row_and_after_the_last_are_left_out(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, ENTERED, FALLING)
    longer = by_hand(QUIET, SIGNAL, ENTERED, FALLING, QUIET)
    found = within(bars.check(), finer_of(longer, {0: [(1, 2, 1, 2)] * 3, 3: PEAK_FIRST, 4: [(7, 8, 7, 8)]}))
    assert found.spans.tolist() == [3, 3, 3, 3, 5]
    assert (found.alone.tolist(), found.lacking, found.most) == ([[1, 1, 1, 0]], 2, 2)


def test_finer_bars_and_the_policy_lower_need_each_other(by_hand: Maker, slots: Slots) -> None:
    bars = by_hand(QUIET, SIGNAL, ENTERED, FALLING)
    with pytest.raises(DomainError) as caught:
        run(bracket(), bars, slots, terms=Terms(LOWER))
    assert (caught.value.code, caught.value.param) == ("invalid_terms", "finer")
    with pytest.raises(DomainError) as caught:
        run(bracket(), bars, slots, finer_of(bars, {3: PEAK_FIRST}), terms=Terms())
    assert (caught.value.code, caught.value.param) == ("invalid_terms", "intrabar")
    with pytest.raises(DomainError, match="2 finer series for 1"):
        within(bars.check(), by_two(by_hand(QUIET)))


def by_two(bars: Bars) -> Bars:
    return Bars(bars.times, bars.days, np.repeat(bars.fields, 2, axis=1), np.repeat(bars.valid, 2, axis=0))


BUSY = {
    "long": {
        "enter": "cross_above(ema(close, 3), ema(close, 8))", "exit": "cross_below(ema(close, 3), ema(close, 8))",
    },
    "short": {"enter": "cross_below(ema(close, 3), ema(close, 8))"},
    "entry": {"type": "limit", "price": "close - 0.1 * atr(5)", "valid": "till_cancelled"},
    "exit_order": {"type": "limit", "price": "close + 0.3 * atr(5)"},
    "stop_loss": {"percent": 4}, "take_profit": {"distance": "1.5 * atr(5)"}, "time_exit": 15,
}  # fmt: skip
FREE: dict[str, Any] = {"schedule": schedule_named("us_equity"), "slippage": SlippageModel(5)}


def busy(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "name": "t", "trades": BUSY | changes, "sizing": {"type": "risk", "risk_bps": 100}}


@pytest.mark.parametrize("trailing", [None, {"percent": 3}])
def test_blocks_and_skipped_rows_do_not_matter(bars_of: Maker, slots: Slots, trailing: Any) -> None:
    finer = bars_of(3000, 2, seed=5, missing=0.1, move=0.008)
    bars, document = coarse(finer, 5), busy(trailing_stop=trailing)
    terms: dict[str, Any] = {"participation_bps": 100, "maintenance_bps": 0}
    whole = run(document, bars, slots, finer, block=bars.rows, terms=Terms(LOWER, **terms), **FREE)
    assert len(whole.fills) > 60
    stop = "stop_loss" if trailing is None else "trailing_stop"
    assert {f.reason for f in whole.fill_records()} >= {"enter", "exit", stop, "take_profit"}
    for block in (4096, 7, 1):
        again = run(document, bars, slots, finer, block=block, terms=Terms(LOWER, **terms), **FREE)
        assert again.sha256() == whole.sha256()
    assert run(document, bars, slots, terms=Terms(**terms), **FREE).sha256() != whole.sha256()


def test_rows_that_are_skipped_have_no_fills(bars_of: Maker, slots: Slots) -> None:
    """The rate at which nothing is borrowed costs nothing, and makes the simulator look at every row."""
    finer = bars_of(3000, 2, seed=8, missing=0.1, move=0.008)
    bars, document = coarse(finer, 5), busy()
    del document["trades"]["short"]
    for terms in ({}, {"participation_bps": 100}):
        skipping = run(document, bars, slots, finer, terms=Terms(LOWER, **terms), **FREE)
        stepping = run(document, bars, slots, finer, terms=Terms(LOWER, borrow_bps=1, **terms), **FREE)
        assert len(skipping.fills) > 40
        assert skipping.sha256() == stepping.sha256()


def test_a_bar_that_is_its_own_finer_bar_trades_as_it_does_alone(bars_of: Maker, slots: Slots) -> None:
    bars = bars_of(600, 3, seed=3, missing=0.05)
    for document in (busy(), busy(trailing_stop={"percent": 3}, entry={"type": "market"})):
        alone = run(document, bars, slots, **FREE)
        assert len(alone.fills) > 60
        assert run(document, bars, slots, bars, **FREE).sha256() == alone.sha256()
