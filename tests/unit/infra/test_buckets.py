"""Buckets that refill evenly: whole microseconds, never more than the quota at once, all drawn from or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.infra.buckets import SPARE_SHARE, Rate, draw, level, spare

RATES = st.builds(Rate, st.integers(1, 100_000), st.integers(1, 3_600))
NOW = 1_764_000_000_000_000


def calls(rate: Rate, times: list[int], weight: int = 1) -> list[bool]:
    """Whether each call passes, at times in µs."""
    full, passed = 0, []
    for at in times:
        wait, (full,) = draw([full], [rate], weight, now_us=at)
        passed.append(wait == 0)
    return passed


@given(RATES, st.integers(0, 50))
def test_the_quota_passes_at_once_and_not_one_call_more(rate: Rate, beyond: int) -> None:
    small = Rate(min(rate.quota, 200), rate.window_s)
    assert calls(small, [NOW] * (small.quota + beyond)) == [True] * small.quota + [False] * beyond


@given(RATES, st.integers(1, 5))
def test_a_window_later_the_whole_quota_is_back(rate: Rate, windows: int) -> None:
    full = draw([0], [rate], rate.quota, now_us=NOW)[1][0]
    later = NOW + windows * rate.window_s * 1_000_000
    assert level(full, rate, now_us=later).remaining == rate.quota
    assert level(full, rate, now_us=later).full_in_us == 0


@given(st.integers(1, 50), st.integers(1, 60), st.lists(st.integers(0, 10**8), min_size=1, max_size=300))
def test_no_stretch_of_time_lets_more_through_than_the_quota_and_its_refill(
    quota: int, window_s: int, offsets: list[int]
) -> None:
    rate, times = Rate(quota, window_s), sorted(NOW + offset for offset in offsets)
    passed = [at for at, good in zip(times, calls(rate, times), strict=True) if good]
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            refilled = (passed[last] - passed[first]) // rate.interval_us
            assert last - first + 1 <= quota + refilled


@given(RATES, st.integers(1, 100_000))
def test_whoever_waits_as_told_passes_and_a_microsecond_earlier_does_not(rate: Rate, weight: int) -> None:
    full = draw([0], [rate], rate.quota, now_us=NOW)[1][0]
    wait, unchanged = draw([full], [rate], weight, now_us=NOW)
    assert wait > 0
    assert unchanged == [full]
    assert draw([full], [rate], weight, now_us=NOW + wait)[0] == 0
    assert draw([full], [rate], weight, now_us=NOW + wait - 1)[0] > 0


@given(RATES, st.lists(st.integers(0, 10**7), max_size=50), st.integers(1, 3))
def test_what_remains_is_what_still_passes(rate: Rate, offsets: list[int], weight: int) -> None:
    full = 0
    now = NOW
    for offset in offsets:
        now += offset
        _, (full,) = draw([full], [rate], weight, now_us=now)
    left = level(full, rate, now_us=now).remaining
    assert 0 <= left <= rate.quota
    if left:
        assert draw([full], [rate], left, now_us=now)[0] == 0
    assert left == rate.quota or draw([full], [rate], left + 1, now_us=now)[0] > 0


@given(RATES, RATES)
def test_a_refusal_by_one_bucket_takes_from_none(used_up: Rate, free: Rate) -> None:
    full = draw([0], [used_up], used_up.quota, now_us=NOW)[1][0]
    wait, after = draw([full, 0], [used_up, free], 1, now_us=NOW)
    assert wait > 0
    assert after == [full, NOW]


@given(RATES)
def test_a_call_without_weight_always_passes_and_takes_nothing(rate: Rate) -> None:
    overdrawn = NOW + 3 * rate.quota * rate.interval_us  # its plan has been made smaller since
    assert draw([overdrawn], [rate], 0, now_us=NOW) == (0, [overdrawn])
    assert level(overdrawn, rate, now_us=NOW).remaining == 0


@given(RATES, st.integers(1, 100), st.integers(1, 100))
def test_what_is_given_back_can_be_drawn_again(rate: Rate, drawn: int, back: int) -> None:
    drawn = min(drawn, rate.quota)
    full = draw([0], [rate], drawn, now_us=NOW)[1][0]
    assert draw([full], [rate], -back, now_us=NOW) == (0, [NOW + max(0, drawn - back) * rate.interval_us])


@given(RATES, st.integers(1, 100_000))
def test_ahead_of_time_only_a_small_share_of_what_remains_is_drawn(rate: Rate, drawn: int) -> None:
    full = draw([0], [rate], drawn, now_us=NOW)[1][0]
    ahead = spare([full], [rate], now_us=NOW)
    assert ahead * SPARE_SHARE <= level(full, rate, now_us=NOW).remaining
    assert draw([full], [rate], ahead, now_us=NOW)[0] == 0


@given(RATES, st.integers(1, 64))
def test_the_shares_of_all_processes_are_at_most_the_rate(rate: Rate, processes: int) -> None:
    share = rate.share(processes)
    assert share.quota >= 1
    assert share.quota * processes <= rate.quota or share.quota == 1


@pytest.mark.parametrize("quota", [0, -1, 1_000_001])
def test_a_rate_that_whole_microseconds_cannot_express_is_refused(quota: int) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        Rate(quota, 1)
