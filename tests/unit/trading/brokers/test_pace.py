"""How often a broker may be called for one account."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.trading.brokers.domain import Pace


@given(st.integers(2, 10_000))
def test_entries_leave_something_to_exits_and_cancels_and_have_something_themselves(rate: int) -> None:
    assert 0 < Pace(rate).entries < rate
    assert rate - Pace(rate).entries == max(rate // 5, 1)


def test_where_one_call_is_all_an_entry_may_make_it() -> None:
    assert Pace(1).entries == 1


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Pace(0)
