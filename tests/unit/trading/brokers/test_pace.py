"""How often a broker is called for one account."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.trading.brokers.domain import WINDOW_SECONDS, Call, Pace

GAPS = st.lists(
    st.tuples(st.integers(0, 400_000), st.sampled_from([Call.ENTRY, Call.EXIT, Call.CANCEL])), min_size=1, max_size=200
)


@given(rate=st.integers(1, 12), calls=GAPS)
def test_no_second_sees_more_calls_than_the_rate_wherever_it_begins(rate: int, calls: list[tuple[int, Call]]) -> None:
    pace, now, made = Pace(rate), 0, []
    for gap, call in calls:
        now += gap
        if pace.take(call, now / 1e6) == 0.0:
            made.append(now)
    for first, last in zip(made, made[rate:], strict=False):
        assert last - first >= 1_000_000


@given(rate=st.integers(2, 12), calls=GAPS)
def test_entries_alone_never_use_up_what_a_cancel_needs(rate: int, calls: list[tuple[int, Call]]) -> None:
    pace, now = Pace(rate), 0
    for gap, _ in calls:
        now += gap
        pace.take(Call.ENTRY, now / 1e6)
        assert deepcopy(pace).take(Call.CANCEL, now / 1e6) == 0.0


@given(rate=st.integers(1, 12), calls=GAPS)
def test_whoever_waits_as_long_as_told_may_call(rate: int, calls: list[tuple[int, Call]]) -> None:
    pace, now = Pace(rate), 0.0
    for gap, call in calls:
        now += gap / 1e6
        if wait := pace.take(call, now):
            now += wait + 1e-9
            assert pace.take(call, now) == 0.0


def test_the_full_rate_is_reached_by_exits_and_less_by_entries() -> None:
    exits, entries = Pace(10), Pace(10)
    assert sum(exits.take(Call.EXIT, 0.0) == 0.0 for _ in range(20)) == 10
    assert sum(entries.take(Call.ENTRY, 0.0) == 0.0 for _ in range(20)) == 8
    assert sum(entries.take(Call.CANCEL, 0.0) == 0.0 for _ in range(20)) == 2


def test_a_pace_that_was_idle_for_a_second_knows_nothing() -> None:
    pace = Pace(2)
    assert pace.idle(0.0)
    pace.take(Call.EXIT, 0.0)
    assert not pace.idle(WINDOW_SECONDS / 2)
    assert pace.idle(WINDOW_SECONDS)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Pace(0)
