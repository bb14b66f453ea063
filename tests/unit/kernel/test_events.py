"""What a type of event looks like, which patterns take it, and what a payload may hold."""

import pytest
from pydantic import Field, ValidationError

from app.kernel.errors import DomainError
from app.kernel.events import (
    DecimalText,
    EventPayload,
    EventType,
    Moment,
    NoDetails,
    Sha256,
    check_patterns,
    matches,
    public_id,
)
from app.kernel.ids import encode_id, uuid7

KNOWN = ("order.accepted", "order.filled", "order_book.changed")


class Everything(EventPayload):
    order_id: str = Field(default=encode_id("ord", uuid7()), pattern=public_id("ord"))
    amount: DecimalText = "1.50"
    at: Moment = "2026-01-31T09:15:00Z"
    digest: Sha256 = "0" * 64
    count: int = 1


@pytest.mark.parametrize("name", ["order", "order.", "Order.filled", "order.filled.twice", "order filled", ""])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="looks like order.filled"):
        EventType(name, "ord", "It happened.")


@pytest.mark.parametrize("subject", ["", "or", "order", "ORD", "or1"])
def test_a_subject_of_another_form_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="looks like order.filled of ord"):
        EventType("order.filled", subject, "It happened.")


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("order.filled", ["order.filled"]),
        ("order.*", ["order.accepted", "order.filled"]),
        ("order.f*", ["order.filled"]),
        ("order*", list(KNOWN)),
        ("*", list(KNOWN)),
        ("order.?illed", []),
        ("order.[af]*", []),
        ("*.filled", []),
        ("**", []),
    ],
)
def test_a_pattern_is_a_type_or_its_beginning_with_a_star(pattern: str, taken: list[str]) -> None:
    assert [name for name in KNOWN if matches(pattern, name)] == taken


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("order.fillled", "use one of order.accepted, order.filled ("),
        ("order.x*", "use one of order.accepted, order.filled ("),
        ("ordre.filled", "use one of order.*, order_book.* ("),
        ("", "use one of order.*, order_book.* ("),
        ("x" * 5_000, "use one of order.*, order_book.* ("),
    ],
)
def test_a_pattern_that_takes_nothing_is_refused_with_what_there_is(wrong: str, remedy: str) -> None:
    with pytest.raises(DomainError) as caught:
        check_patterns(["order.*", wrong], KNOWN, param="types")
    assert (caught.value.code, caught.value.param) == ("unknown_event_type", "types")
    assert remedy in caught.value.message and len(caught.value.message) < 250


def test_patterns_are_sorted_each_once() -> None:
    assert check_patterns(["order.filled", "order.*", "order.filled"], KNOWN, param="types") == [
        "order.*",
        "order.filled",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"order_id": str(uuid7())},
        {"order_id": encode_id("acc", uuid7())},
        {"amount": 1.5},
        {"amount": "1.50 USD"},
        {"amount": "1e3"},
        {"amount": "01"},
        {"at": "2026-01-31T09:15:00+00:00"},
        {"at": "2026-01-31 09:15:00"},
        {"digest": "sha256:00"},
        {"count": "1"},
        {"count": 1.0},
        {"count": True},
        {"more": 1},
    ],
)
def test_a_payload_takes_exactly_what_it_describes(wrong: dict[str, object]) -> None:
    Everything.model_validate({})
    with pytest.raises(ValidationError):
        Everything.model_validate(wrong)


def test_a_payload_without_details_is_empty() -> None:
    NoDetails.model_validate({})
    with pytest.raises(ValidationError):
        NoDetails.model_validate({"reason": "x"})
