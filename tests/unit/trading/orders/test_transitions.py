"""The one table of an order's life."""

from app.kernel.orders import TERMINAL, OrderStatus
from app.trading.orders.domain import TRANSITIONS, sources
from app.trading.orders.service.outcomes import ASKED_FOR


def test_every_status_has_a_row_and_only_a_denial_and_the_last_fill_leave_no_way_on() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)
    ends = {status for status, following in TRANSITIONS.items() if not following}
    assert ends == {OrderStatus.DENIED, OrderStatus.FILLED}


def test_an_order_that_has_ended_lives_on_only_because_the_broker_has_it_after_all() -> None:
    for status in TERMINAL - {OrderStatus.DENIED, OrderStatus.FILLED, OrderStatus.LOST}:
        assert TRANSITIONS[status] == {OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED}


def test_only_an_order_that_the_broker_did_not_look_at_waits_again() -> None:
    assert sources(OrderStatus.ACCEPTED) == ["waiting", "submitting"]


def test_an_order_that_waits_for_its_entry_is_accepted_before_it_is_sent() -> None:
    assert TRANSITIONS[OrderStatus.WAITING] == {OrderStatus.ACCEPTED, OrderStatus.CANCELLED}


def test_a_denied_order_is_never_sent_and_a_lost_one_is_never_sent_again() -> None:
    for status in (OrderStatus.DENIED, OrderStatus.LOST, OrderStatus.UNKNOWN):
        assert not TRANSITIONS[status] & {OrderStatus.ACCEPTED, OrderStatus.SUBMITTING}


def test_only_what_was_decided_is_sent_and_an_answer_opens_only_what_was_sent() -> None:
    assert sources(OrderStatus.SUBMITTING) == ["accepted"]
    assert set(ASKED_FOR) == {"submitting", "unknown", "lost"}
    after_all = {"cancelled", "rejected", "expired"}  # only when the broker shows that it has the order
    assert set(sources(OrderStatus.OPEN)) == {*ASKED_FOR, *after_all}


def test_every_status_can_be_reached_from_accepted_or_is_the_denial() -> None:
    reached, frontier = {OrderStatus.ACCEPTED}, [OrderStatus.ACCEPTED]
    while frontier:
        for status in TRANSITIONS[frontier.pop()] - reached:
            reached.add(status)
            frontier.append(status)
    assert reached == set(OrderStatus) - {OrderStatus.DENIED, OrderStatus.WAITING}
