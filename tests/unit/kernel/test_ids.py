"""Ids round-trip, sort as they were made, refuse what is not one, and derive from the same parts for ever."""

from collections.abc import Callable
from unittest import mock
from uuid import RFC_4122, UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.kernel.errors import DomainError, Kind
from app.kernel.ids import broker_tag, decode_id, derive_id, encode_id, new_id, uuid7

uuids = st.uuids()
prefixes = st.from_regex(r"[a-z]{2,5}", fullmatch=True)
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
milliseconds = st.integers(0, 2**48 - 1)


@given(prefix=prefixes, value=uuids)
def test_a_public_id_round_trips(prefix: str, value: UUID) -> None:
    text = encode_id(prefix, value)
    assert decode_id(prefix, text) == value
    assert len(text) == len(prefix) + 27


@given(values=st.lists(uuids, min_size=2, max_size=20))
def test_public_ids_sort_as_the_values_do(values: list[UUID]) -> None:
    assert [encode_id("ord", value) for value in sorted(values)] == sorted(encode_id("ord", value) for value in values)


@given(early=milliseconds, late=milliseconds)
def test_a_later_id_sorts_after_an_earlier_one(early: int, late: int) -> None:
    assume(early < late)
    assert uuid7(unix_ms=early) < uuid7(unix_ms=late)
    assert encode_id("ord", uuid7(unix_ms=early)) < encode_id("ord", uuid7(unix_ms=late))


@given(at=milliseconds, early=st.integers(0, 999_755), gap=st.integers(245, 999_999))
def test_ids_of_one_millisecond_sort_as_they_were_made(at: int, early: int, gap: int) -> None:
    """To a 4,096th of it."""
    assume(early + gap < 1_000_000)
    made = []
    for nanoseconds in (early, early + gap):
        with mock.patch("app.kernel.ids.time.time_ns", return_value=at * 1_000_000 + nanoseconds):
            made.append(uuid7())
    assert made[0] < made[1]
    assert {(one.version, one.variant, one.int >> 80) for one in made} == {(7, RFC_4122, at)}


@given(at=milliseconds)
def test_an_id_is_a_uuid_of_version_7_with_its_time(at: int) -> None:
    value = uuid7(unix_ms=at)
    assert value.version == 7
    assert value.variant == "specified in RFC 4122"
    assert value.int >> 80 == at


def test_a_name_of_no_row_looks_like_an_id_and_sorts_among_them() -> None:
    before, names, after = uuid7(), [new_id("req") for _ in range(2_000)], uuid7()
    assert len(set(names)) == 2_000
    times = [decode_id("req", name).int >> 80 for name in names]
    assert times == sorted(times)
    assert before.int >> 80 <= times[0] <= times[-1] <= after.int >> 80
    counts = [[name[place] for name in names].count(character) for place in range(14, 30) for character in ALPHABET]
    assert min(counts) > 20 and max(counts) < 130  # 62.5 each, give or take


def test_ids_of_one_millisecond_differ() -> None:
    assert len({uuid7(unix_ms=1) for _ in range(1000)}) == 1000


@given(text=st.text(max_size=40))
def test_any_text_is_an_id_or_a_refusal(text: str) -> None:
    try:
        value = decode_id("ord", text, param="order_id")
    except DomainError as refusal:
        assert (refusal.code, refusal.kind, refusal.param) == ("invalid_id", Kind.INVALID, "order_id")
    else:
        assert encode_id("ord", value) == text


@given(body=st.text(ALPHABET, min_size=26, max_size=26))
def test_every_value_has_one_spelling(body: str) -> None:
    if body[0] > "7":
        with pytest.raises(DomainError):
            decode_id("ord", f"ord_{body}")
    else:
        assert encode_id("ord", decode_id("ord", f"ord_{body}")) == f"ord_{body}"


@pytest.mark.parametrize("change", [str.upper, lambda t: t[:-1], lambda t: t + "0", lambda t: t.replace("ord", "acc")])
def test_another_spelling_is_refused(change: Callable[[str], str]) -> None:
    text = change(encode_id("ord", UUID(int=12345678901234567890)))
    with pytest.raises(DomainError, match="it looks like ord_"):
        decode_id("ord", text)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1f"))
parts = st.lists(st.one_of(uuids, st.integers(), words), min_size=1, max_size=4)


@given(first=parts, second=parts)
def test_derived_ids_are_equal_exactly_when_their_parts_are(first: list[object], second: list[object]) -> None:
    same = [str(part) for part in first] == [str(part) for part in second]
    assert (derive_id(*first) == derive_id(*second)) == same


def test_a_derived_id_never_changes() -> None:
    assert derive_id("tenant", "deployment", 1) == UUID("b31bcd02-fab4-8dab-9e05-30c5880f5545")
    assert derive_id("a").version == 8


@given(value=uuids)
def test_a_broker_tag_is_20_alphanumerics_and_a_function_of_the_order(value: UUID) -> None:
    tag = broker_tag(value)
    assert len(tag) == 20
    assert set(tag) <= set(ALPHABET)
    assert broker_tag(UUID(int=value.int)) == tag


def test_a_broker_tag_never_changes() -> None:
    assert broker_tag(UUID(int=1)) == "en9jq9v8vvgxqx22d6fr"


@given(first=uuids, second=uuids)
def test_orders_have_different_broker_tags(first: UUID, second: UUID) -> None:
    assume(first != second)
    assert broker_tag(first) != broker_tag(second)
