"""A sealed value opens at its own place alone, whole, and says nothing of what it holds."""

from dataclasses import astuple, dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.infra.crypto.envelope import UnsealError, bind, key_id_of, place_of, seal_with, unseal_with
from app.infra.crypto.ports import Wrapped
from app.infra.crypto.sealer import DataKey

KEY, KEY_ID = bytes(range(32)), UUID(int=7)


@dataclass(frozen=True)
class Place:
    tenant_id: UUID
    table: str
    column: str
    row_id: UUID

    @property
    def bound(self) -> bytes:
        return place_of(self.tenant_id, self.table, self.column, self.row_id)


PLACES = st.builds(Place, st.uuids(), st.text(max_size=20), st.text(max_size=20), st.uuids())


@given(st.binary(max_size=200), PLACES)
def test_it_opens_where_it_was_sealed(plaintext: bytes, place: Place) -> None:
    sealed = seal_with(KEY, KEY_ID, plaintext, place.bound)
    assert key_id_of(sealed) == KEY_ID
    assert unseal_with(KEY, sealed, place.bound) == plaintext


@pytest.mark.parametrize("part", ["tenant_id", "table", "column", "row_id"])
@given(data=st.data(), plaintext=st.binary(max_size=50), place=PLACES)
def test_it_does_not_open_at_another_tenant_table_column_or_row(
    part: str, data: st.DataObject, plaintext: bytes, place: Place
) -> None:
    value: Any = data.draw(st.uuids() if part.endswith("_id") else st.text(max_size=20))
    assume(value != getattr(place, part))
    sealed = seal_with(KEY, KEY_ID, plaintext, place.bound)
    with pytest.raises(UnsealError):
        unseal_with(KEY, sealed, replace(place, **{part: value}).bound)


@given(PLACES, PLACES)
def test_two_places_are_bound_to_the_same_bytes_only_when_they_are_the_same(one: Place, other: Place) -> None:
    assert (one.bound == other.bound) == (astuple(one) == astuple(other))


@given(st.lists(st.binary(max_size=9)), st.lists(st.binary(max_size=9)))
def test_the_bounds_between_parts_are_bound_too(one: list[bytes], other: list[bytes]) -> None:
    assert (bind(*one) == bind(*other)) == (one == other)


def test_names_that_run_together_are_told_apart() -> None:
    tenant, row = UUID(int=1), UUID(int=2)
    assert place_of(tenant, "ab", "c", row) != place_of(tenant, "a", "bc", row)


@given(st.binary(max_size=50), PLACES, st.data())
def test_no_bit_of_it_can_be_changed(plaintext: bytes, place: Place, data: st.DataObject) -> None:
    sealed = bytearray(seal_with(KEY, KEY_ID, plaintext, place.bound))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UnsealError):
        unseal_with(KEY, bytes(sealed), place.bound)


@given(st.binary(max_size=60))
def test_what_was_never_sealed_is_refused_without_being_repeated(junk: bytes) -> None:
    with pytest.raises(UnsealError) as caught:
        unseal_with(KEY, junk, b"")
    assert len(junk) < 8 or junk.hex() not in str(caught.value)  # a short one may stand in any sentence


def test_the_same_value_is_sealed_to_other_bytes_each_time() -> None:
    assert len({seal_with(KEY, KEY_ID, b"again", b"") for _ in range(50)}) == 50


def test_keys_are_not_printed() -> None:
    shown = repr([DataKey(KEY_ID, KEY), Wrapped(KEY, "k")])
    assert repr(KEY) not in shown and KEY.hex() not in shown
