"""The one table of an order's life."""

from app.kernel.orders import TERMINAL, OrderStatus
from app.trading.orders.domain import TRANSITIONS, sources


def test_every_status_has_a_row_and_only_final_ones_have_no_way_on() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)
    assert {status for status, following in TRANSITIONS.items() if not following} == TERMINAL - {OrderStatus.LOST}


def test_a_denied_order_is_never_sent_and_a_lost_one_is_never_sent_again() -> None:
    for status in (OrderStatus.DENIED, OrderStatus.LOST, OrderStatus.UNKNOWN):
        assert not TRANSITIONS[status] & {OrderStatus.ACCEPTED, OrderStatus.SUBMITTING}


def test_only_what_was_decided_is_sent_and_only_what_was_sent_is_open() -> None:
    assert sources(OrderStatus.SUBMITTING) == ["accepted"]
    assert set(sources(OrderStatus.OPEN)) == {"submitting", "unknown", "lost"}


def test_every_status_can_be_reached_from_accepted_or_is_the_denial() -> None:
    reached, frontier = {OrderStatus.ACCEPTED}, [OrderStatus.ACCEPTED]
    while frontier:
        for status in TRANSITIONS[frontier.pop()] - reached:
            reached.add(status)
            frontier.append(status)
    assert reached == set(OrderStatus) - {OrderStatus.DENIED}
