"""What a key looks like and when it is good."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.kernel.orders import Mode
from app.platform.identity.domain import (
    ID_LENGTH,
    StoredKey,
    check_grant,
    check_key,
    encode_base32,
    format_key,
    hash_key,
    parse_key,
)
from app.platform.tenancy.domain import PERMISSIONS

NOW = datetime(2026, 1, 5, tzinfo=UTC)
KEY = format_key(Mode.TEST, "in1", "0" * ID_LENGTH, bytes(range(32)))


def stored(*, expires_at: datetime | None = None, revoked_at: datetime | None = None) -> StoredKey:
    return StoredKey(UUID(int=1), UUID(int=2), hash_key(KEY), frozenset(), Mode.TEST, expires_at, revoked_at)


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32), st.sampled_from(Mode))
def test_a_key_is_parsed_into_the_parts_it_was_made_of(key_id: bytes, secret: bytes, mode: Mode) -> None:
    identifier = encode_base32(key_id, ID_LENGTH)
    parsed = parse_key(format_key(mode, "us2", identifier, secret), cell="us2")
    assert (parsed.mode, parsed.cell, parsed.key_id) == (mode, "us2", identifier)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_different_secrets_make_different_keys(one: bytes, other: bytes) -> None:
    assert (encode_base32(one, 52) == encode_base32(other, 52)) is (one == other)


@given(st.text(max_size=120))
def test_any_other_text_is_malformed_and_not_repeated(text: str) -> None:
    with pytest.raises(DomainError) as refused:
        parse_key(text, cell="in1")
    assert refused.value.code == "malformed_api_key"
    assert len(text) < 20 or text not in refused.value.message


@pytest.mark.parametrize(
    "change", [lambda k: k + "0", lambda k: k[:-1], str.upper, lambda k: f" {k}", lambda k: k + "\n"]
)
def test_a_key_that_is_not_copied_whole_is_malformed(change: object) -> None:
    assert callable(change)
    with pytest.raises(DomainError, match="A key looks like"):
        parse_key(change(KEY), cell="in1")


def test_a_key_of_another_cell_is_told_where_to_go() -> None:
    with pytest.raises(DomainError, match="us2") as refused:
        parse_key(format_key(Mode.TEST, "us2", "0" * ID_LENGTH, bytes(32)), cell="in1")
    assert refused.value.code == "wrong_cell"


def test_a_good_key_passes() -> None:
    assert check_key(stored(expires_at=NOW + timedelta(seconds=1)), hash_key(KEY), now=NOW).id == UUID(int=2)


@pytest.mark.parametrize(
    ("key", "digest", "code"),
    [
        (None, hash_key(KEY), "invalid_api_key"),
        (None, bytes(32), "invalid_api_key"),
        (stored(), hash_key(KEY + "x"), "invalid_api_key"),
        (stored(revoked_at=NOW), hash_key(KEY + "x"), "invalid_api_key"),
        (stored(revoked_at=NOW), hash_key(KEY), "api_key_revoked"),
        (stored(expires_at=NOW), hash_key(KEY), "api_key_expired"),
    ],
)
def test_a_bad_key_is_refused_and_its_state_told_to_its_holder_alone(
    key: StoredKey | None, digest: bytes, code: str
) -> None:
    with pytest.raises(DomainError) as refused:
        check_key(key, digest, now=NOW)
    assert refused.value.code == code


def test_scopes_are_sorted_and_each_once() -> None:
    assert check_grant(["tenant:read", "orders:read", "tenant:read"], PERMISSIONS) == ["orders:read", "tenant:read"]


@pytest.mark.parametrize(
    ("scopes", "held", "code"),
    [
        ([], PERMISSIONS, "no_scopes"),
        (["orders:everything"], PERMISSIONS, "unknown_scope"),
        (["*"], PERMISSIONS, "unknown_scope"),
        (["orders:write"], {"orders:read"}, "scope_not_held"),
    ],
)
def test_a_grant_beyond_what_exists_or_is_held_is_refused(scopes: list[str], held: set[str], code: str) -> None:
    with pytest.raises(DomainError) as refused:
        check_grant(scopes, held)
    assert refused.value.code == code
