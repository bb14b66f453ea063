"""Which events an endpoint hears, when it is tried again, and when it is given up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.platform.notifications.domain import (
    DISABLED_AFTER,
    LONGEST_RETRY_AFTER,
    SCHEDULE,
    Attempt,
    check_event_types,
    hears,
    is_given_up,
    parse_retry_after,
    seconds_until_next,
)

NOW = datetime(2026, 1, 5, tzinfo=UTC)
KNOWN = ("account.opened", "order.accepted", "order.filled")


@pytest.mark.parametrize(
    ("patterns", "event_type", "heard"),
    [
        (["order.filled"], "order.filled", True),
        (["order.filled"], "order.accepted", False),
        (["order.*"], "order.filled", True),
        (["order.*"], "order_book.changed", False),
        (["order.*"], "orders.filled", False),
        (["*"], "order.filled", True),
        (["account.*", "order.filled"], "order.filled", True),
        ([], "order.filled", False),
    ],
)
def test_an_endpoint_hears_what_it_named(patterns: list[str], event_type: str, heard: bool) -> None:
    assert hears(patterns, event_type) is heard


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "order",
        "order.",
        ".filled",
        "**",
        "order.*.x",
        "Order.filled",
        "*.filled",
        "a b.c",
        "order.fillled",
        "order.x*",
    ],
)
def test_a_pattern_that_no_event_has_is_refused(wrong: str) -> None:
    with pytest.raises(DomainError, match="no event type") as caught:
        check_event_types(["order.*", wrong], KNOWN)
    assert caught.value.param == "event_types"


def test_patterns_are_sorted_each_once_and_bounded() -> None:
    assert check_event_types(["order.*", "account.opened", "order.*"], KNOWN) == ["account.opened", "order.*"]
    many = [f"a.{'b' * n}" for n in range(1, 40)] + [f"c.{'b' * n}" for n in range(1, 40)]
    for wrong in ([], many):
        with pytest.raises(DomainError, match="between 1 and 50"):
            check_event_types(wrong, many)


@given(st.integers(1, len(SCHEDULE) - 1), st.integers(0, 1000))
def test_a_wait_is_within_a_fifth_of_the_schedule(attempts: int, draw: int) -> None:
    wait = seconds_until_next(attempts, Attempt(500), draw=draw)
    assert wait is not None and abs(wait - SCHEDULE[attempts]) * 5 <= SCHEDULE[attempts] + 4


def test_the_jitter_reaches_both_ends() -> None:
    ends = [seconds_until_next(4, Attempt(500), draw=draw) for draw in (0, 500, 1000)]
    assert ends == [5_760, 7_200, 8_640]


def test_after_the_last_attempt_there_is_none() -> None:
    assert seconds_until_next(len(SCHEDULE), Attempt(500), draw=0) is None
    assert seconds_until_next(len(SCHEDULE) - 1, Attempt(500), draw=500) == SCHEDULE[-1]


@given(st.integers(1, len(SCHEDULE) - 1), st.integers(0, 10**9), st.integers(0, 1000))
def test_a_receiver_that_names_a_wait_gets_it_within_a_day(attempts: int, asked: int, draw: int) -> None:
    wait = seconds_until_next(attempts, Attempt(429, retry_after=asked), draw=draw)
    assert wait is not None and wait >= min(asked, LONGEST_RETRY_AFTER)
    assert wait <= max(LONGEST_RETRY_AFTER, SCHEDULE[attempts] * 6 // 5)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("120", 120), (" 7 ", 7), ("0", 0), (None, None), ("", None), ("-1", None), ("1.5", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("1" * 30, None), ("\u0661", None)],
)  # fmt: skip
def test_retry_after_is_read_as_seconds(value: str | None, seconds: int | None) -> None:
    assert parse_retry_after(value) == seconds


@pytest.mark.parametrize(("status", "succeeded"), [(200, True), (204, True), (299, True), (302, False), (400, False)])
def test_only_a_2xx_is_a_success(status: int, succeeded: bool) -> None:
    assert Attempt(status).succeeded is succeeded
    assert not Attempt(None, "timeout").succeeded


def test_an_endpoint_is_given_up_after_days_of_failures() -> None:
    assert is_given_up(NOW - DISABLED_AFTER, now=NOW)
    assert not is_given_up(NOW - DISABLED_AFTER + timedelta(seconds=1), now=NOW)
    assert not is_given_up(None, now=NOW)
