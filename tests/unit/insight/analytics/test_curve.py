"""Equity curves and round trips of histories worked out by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest

from app.insight.analytics.domain import (
    Action,
    CashEntry,
    History,
    Point,
    Trade,
    assess,
    equity_curve,
    returns_curve,
)
from app.kernel.orders import Product, Side
from app.market.data.domain import Bars, to_us

BOOK, OTHER_BOOK, STOCK, OTHER = (UUID(int=number) for number in (1, 2, 3, 4))
D1 = datetime(2024, 1, 2, 21, tzinfo=UTC)
OPENED = D1 - timedelta(days=1)


def close_of(day: int) -> datetime:
    return D1 + timedelta(days=day - 1)


def open_of(day: int) -> datetime:
    return close_of(day) - timedelta(hours=6)


def bars(closes: dict[int, int]) -> Bars:
    """Daily bars by day number; prices at four decimals, whole units."""
    at = np.array([to_us(close_of(day)) for day in closes], dtype=np.int64)
    price = np.array(list(closes.values()), dtype=np.int64)
    return Bars(4, 0, at, price, price, price, price, np.ones(len(at), dtype=np.int64))


def bought(day: int, quantity: int, notional: int, charges: int = 0, *, instrument: UUID = STOCK) -> Trade:
    return Trade(open_of(day), BOOK, instrument, Product.DELIVERY, Side.BUY, quantity, notional, charges)


def sold(day: int, quantity: int, notional: int, charges: int = 0, *, instrument: UUID = STOCK) -> Trade:
    return replace(bought(day, quantity, notional, charges, instrument=instrument), side=Side.SELL)


def history(
    *trades: Trade, prices: dict[UUID, Bars], actions: tuple[Action, ...] = (), more: tuple[CashEntry, ...] = ()
) -> History:
    """An account opened with 1,000.00, its ledger as the fills booked it."""
    booked = [CashEntry(t.at, "fill", -t.side.sign * t.notional - t.charges) for t in trades]
    paid = [CashEntry(a.at, "split_cash", a.cash) for a in actions if a.cash]
    return History([CashEntry(OPENED, "funding", 100_000), *booked, *paid, *more], trades, actions, prices, 2)


ONE_TRIP = history(
    bought(2, 10, 50_000, 100),
    sold(4, 10, 55_000, 110),
    prices={STOCK: bars({1: 490_000, 2: 505_000, 3: 520_055, 4: 560_000, 5: 570_000})},
)


def test_equity_is_cash_plus_positions_at_every_close() -> None:
    curve = equity_curve(ONE_TRIP, start=OPENED, as_of=close_of(5))
    assert (curve.start, curve.initial) == (OPENED, 100_000)
    assert [(point.day, point.equity, point.cash) for point in curve.points] == [
        (date(2024, 1, 2), 100_000, 100_000),
        (date(2024, 1, 3), 49_900 + 50_500, 49_900),
        (date(2024, 1, 4), 49_900 + 52_006, 49_900),  # 52005.5 cents, half up
        (date(2024, 1, 5), 104_790, 104_790),
        (date(2024, 1, 6), 104_790, 104_790),
    ]


def test_what_happened_behind_the_watermark_is_not_in_the_curve() -> None:
    found = assess(ONE_TRIP, as_of=close_of(3))
    assert [point.equity for point in found.curve.points] == [100_000, 100_400, 101_906]
    assert (found.trades, found.charges, found.win_rate.value) == (0, 100, None)
    assert found.win_rate.reason == "no round trip is closed yet"


def test_round_trips_are_net_of_charges() -> None:
    found = assess(ONE_TRIP, as_of=close_of(5))
    assert (found.trades, found.charges, found.win_rate.value) == (1, 210, 1.0)
    assert (found.profit_factor.value, found.profit_factor.reason) == (None, "no round trip lost money")
    assert found.performance.total_return.value == pytest.approx(0.0479)
    dear = history(bought(2, 10, 50_000, 3_000), sold(4, 10, 55_000, 3_000), prices=ONE_TRIP.bars)  # type: ignore[arg-type]
    assert assess(dear, as_of=close_of(5)).win_rate.value == 0.0


def test_a_split_does_not_move_the_equity() -> None:
    split = Action(open_of(3), BOOK, STOCK, Product.DELIVERY, 2, 1, before=11, after=22, cash=0)
    before_and_after = {1: 400_000, 2: 400_000, 3: 200_000, 4: 210_000}
    found = history(bought(2, 11, 44_000), prices={STOCK: bars(before_and_after)}, actions=(split,))
    curve = equity_curve(found, start=OPENED, as_of=close_of(4))
    assert [point.equity for point in curve.points] == [100_000, 100_000, 100_000, 102_200]


def test_a_split_on_a_day_without_a_bar_restates_the_last_close() -> None:
    split = Action(open_of(3), BOOK, STOCK, Product.DELIVERY, 3, 2, before=10, after=15, cash=0)
    prices = {STOCK: bars({1: 300_000, 2: 300_000, 4: 200_000}), OTHER: bars({3: 10_000})}
    found = history(bought(2, 10, 30_000), prices=prices, actions=(split,))
    curve = equity_curve(found, start=OPENED, as_of=close_of(4))
    assert [point.equity for point in curve.points] == [100_000] * 4


def test_a_split_that_two_books_hold_restates_the_price_once() -> None:
    splits = tuple(
        Action(open_of(3), book, STOCK, Product.DELIVERY, 2, 1, before=10, after=20, cash=0)
        for book in (BOOK, OTHER_BOOK)
    )
    trades = bought(2, 10, 30_000), replace(bought(2, 10, 30_000), book_id=OTHER_BOOK)
    prices = {STOCK: bars({1: 300_000, 2: 300_000}), OTHER: bars({3: 10_000})}
    curve = equity_curve(history(*trades, prices=prices, actions=splits), start=OPENED, as_of=close_of(3))
    assert [point.equity for point in curve.points] == [100_000] * 3


def intraday(trade: Trade) -> Trade:
    return replace(trade, product=Product.INTRADAY)


def test_what_is_held_for_delivery_is_not_closed_by_an_intraday_sale_of_the_same_share() -> None:
    held = bought(2, 10, 50_000), sold(4, 10, 55_000)
    short = intraday(sold(3, 10, 49_000)), intraday(bought(3, 10, 48_000))
    found = assess(history(*held, *short, prices=ONE_TRIP.bars), as_of=close_of(5))  # type: ignore[arg-type]
    assert (found.trades, found.win_rate.value, found.profit_factor.reason) == (2, 1.0, "no round trip lost money")


def test_each_product_is_a_position_of_its_own_and_rounded_once() -> None:
    both = bought(2, 1, 5_000), intraday(bought(2, 1, 5_000))
    curve = equity_curve(history(*both, prices={STOCK: bars({2: 505_050})}), start=OPENED, as_of=close_of(2))
    assert [point.equity for point in curve.points] == [90_000 + 2 * 5_051], "50.505 is 50.51, twice"


def test_a_split_restates_long_and_short_each_by_itself() -> None:
    split = Action(open_of(3), BOOK, STOCK, Product.DELIVERY, 3, 2, before=5, after=7, cash=2_000)
    other = replace(split, before=-5, after=-7, cash=-2_000, product=Product.INTRADAY)
    trades = bought(2, 5, 30_000), intraday(sold(2, 5, 30_000))
    later = sold(4, 7, 28_700), intraday(bought(4, 7, 28_000))
    prices = {STOCK: bars({1: 600_000, 2: 600_000, 3: 400_000, 4: 410_000})}
    found = assess(history(*trades, *later, prices=prices, actions=(split, other)), as_of=close_of(4))
    assert [point.equity for point in found.curve.points] == [100_000] * 3 + [100_700]
    assert (found.trades, found.win_rate.value) == (2, 0.5), "700 won, and nothing"


def test_the_fraction_that_a_split_pays_is_cash() -> None:
    split = Action(open_of(3), BOOK, STOCK, Product.DELIVERY, 1, 2, before=5, after=2, cash=8_000)
    prices = {STOCK: bars({1: 800_000, 2: 800_000, 3: 1_600_000})}
    found = history(bought(2, 5, 40_000), prices=prices, actions=(split,))
    last = equity_curve(found, start=OPENED, as_of=close_of(3)).points[-1]
    assert (last.equity, last.cash) == (68_000 + 32_000, 68_000)


def test_a_dividend_is_profit_and_a_deposit_is_none() -> None:
    more = (CashEntry(open_of(2), "dividend", 1_000), CashEntry(open_of(3), "deposit", 101_000))
    found = history(prices={STOCK: bars({1: 1, 2: 1, 3: 1})}, more=more)
    curve = equity_curve(found, start=OPENED, as_of=close_of(3))
    assert [(point.equity, point.flow) for point in curve.points] == [(100_000, 0), (101_000, 0), (202_000, 101_000)]
    assert returns_curve(curve) == [100_000, 101_000, 101_000]
    assert assess(found, as_of=close_of(3)).performance.total_return.value == pytest.approx(0.01)


def test_returns_after_a_deposit_weigh_by_time_and_not_by_money() -> None:
    trades = bought(1, 100, 100_000), bought(3, 10, 20_000)
    deposit = CashEntry(open_of(2), "deposit", 20_000)
    prices = {STOCK: bars({1: 100_000, 2: 200_000, 3: 100_000})}
    found = history(*trades, prices=prices, more=(deposit,))
    curve = equity_curve(found, start=OPENED, as_of=close_of(3))
    assert [point.equity for point in curve.points] == [100_000, 220_000, 110_000]
    assert returns_curve(curve) == [100_000, 200_000, 100_000]


def test_an_account_funded_by_the_wall_clock_begins_before_its_first_fill() -> None:
    late = [CashEntry(datetime(2031, 1, 1, tzinfo=UTC), "funding", 100_000), *ONE_TRIP.cash[1:]]
    found = assess(replace(ONE_TRIP, cash=late), as_of=close_of(5))
    assert (found.curve.initial, found.curve.start) == (100_000, open_of(2) - timedelta(microseconds=1))
    assert [point.equity for point in found.curve.points] == [100_400, 101_906, 104_790, 104_790]
    assert all(point.flow == 0 for point in found.curve.points)


def test_a_deployment_is_judged_from_the_equity_it_began_with() -> None:
    found = assess(ONE_TRIP, as_of=close_of(5), since=close_of(2))
    assert (found.curve.initial, found.curve.start) == (100_400, close_of(2))
    assert found.curve.points[0] == Point(date(2024, 1, 4), 101_906, 49_900)
    assert found.charges == 110, "what was charged before it began is not its own"


def test_an_account_that_never_traded_has_no_figures_and_says_why() -> None:
    found = assess(History([CashEntry(OPENED, "funding", 100_000)], (), (), {}, 2), as_of=close_of(5))
    assert (found.curve.initial, list(found.curve.points)) == (100_000, [])
    assert (found.performance.sharpe.value, found.performance.sharpe.reason) == (None, "the curve has no period yet")
