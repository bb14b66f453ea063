"""FIFO round trips worked out by hand, and the sums that hold for every history."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.orders import Side
from app.quant.trips import Execution, RoundTrip, UnitSplit, profit_factor, round_trips, win_rate

T0 = datetime(2024, 1, 2, tzinfo=UTC)


def at(days: int) -> datetime:
    return T0 + timedelta(days=days)


def test_a_sale_closes_the_oldest_lot_first() -> None:
    history = [
        Execution(at(0), Side.BUY, 10, 1000, 10),
        Execution(at(1), Side.BUY, 10, 2000, 20),
        Execution(at(2), Side.SELL, 15, 2250, 15),
    ]
    assert round_trips(history) == [
        RoundTrip(at(0), at(2), Side.BUY, 10, 1000, 1500, 20, 480),
        RoundTrip(at(1), at(2), Side.BUY, 5, 1000, 750, 15, -265),
    ]


def test_a_fill_through_zero_closes_and_opens_the_other_side() -> None:
    history = [
        Execution(at(0), Side.BUY, 1, 100),
        Execution(at(1), Side.SELL, 3, 330),
        Execution(at(2), Side.BUY, 2, 200),
    ]
    assert [(trip.side, trip.profit) for trip in round_trips(history)] == [(Side.BUY, 10), (Side.SELL, 20)]


def test_a_split_restates_the_lots_and_keeps_their_cost() -> None:
    history: list[Execution | UnitSplit] = [
        Execution(at(0), Side.BUY, 10, 1000),
        UnitSplit(at(1), 2, 1),
        Execution(at(2), Side.SELL, 20, 1200),
    ]
    assert [(trip.quantity, trip.profit) for trip in round_trips(history)] == [(20, 200)]


def test_a_reverse_split_counts_the_paid_fraction() -> None:
    history: list[Execution | UnitSplit] = [
        Execution(at(0), Side.BUY, 1, 110),
        Execution(at(0), Side.BUY, 3, 300),
        Execution(at(0), Side.BUY, 1, 90),
        UnitSplit(at(1), 1, 2, cash=95),
        Execution(at(2), Side.SELL, 2, 420),
    ]
    assert sum(trip.profit for trip in round_trips(history)) == 420 + 95 - 500


def test_a_split_that_leaves_nothing_closes_silently() -> None:
    assert round_trips([Execution(at(0), Side.BUY, 1, 100), UnitSplit(at(1), 1, 10, cash=99)]) == []


def test_rates_are_net_of_charges() -> None:
    history = [
        Execution(at(0), Side.BUY, 1, 100, 6), Execution(at(1), Side.SELL, 1, 110, 6),
        Execution(at(2), Side.BUY, 1, 100), Execution(at(3), Side.SELL, 1, 108),
    ]  # fmt: skip
    trips = round_trips(history)
    assert win_rate(trips).value == 0.5
    assert profit_factor(trips).value == pytest.approx(4.0)


def test_undefined_rates_have_reasons() -> None:
    assert win_rate([]).reason == profit_factor([]).reason == "no round trip is closed yet"
    won = round_trips([Execution(at(0), Side.BUY, 1, 1), Execution(at(1), Side.SELL, 1, 2)])
    assert profit_factor(won).reason == "no round trip lost money"


executions = st.builds(
    Execution, st.just(T0), st.sampled_from(Side), st.integers(1, 50), st.integers(0, 10**6), st.integers(0, 999)
)


@given(st.lists(executions, max_size=30))
def test_profits_sum_to_cash_when_everything_is_closed(history: list[Execution]) -> None:
    held = sum(e.side.sign * e.quantity for e in history)
    if held:
        history = [*history, Execution(T0, Side.SELL if held > 0 else Side.BUY, abs(held), 12_345, 67)]
    cash = sum(-e.side.sign * e.notional - e.charges for e in history)
    assert sum(trip.profit for trip in round_trips(history)) == cash
