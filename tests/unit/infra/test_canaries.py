"""The search for canaries finds them in every encoding, at every offset; else its silence would mean nothing."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories.canaries import sightings

CANARY = b"canary-x-0123456789ab\xff\xfe"


@given(st.binary(max_size=7), st.binary(max_size=7))
@pytest.mark.parametrize("encode", [bytes, b64encode, urlsafe_b64encode, lambda b: b.hex().encode()])
def test_a_canary_is_found_in_any_encoding(encode, before: bytes, after: bytes) -> None:  # type: ignore[no-untyped-def]
    places = {"log": b"x=" + encode(before + CANARY + after) + b";"}
    assert sightings({"c": CANARY}, places) == ["c in log"]


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert sightings({"c": CANARY}, {"log": b"canary-x-", "other": b64encode(CANARY[:-3])}) == []
