"""One reading of a body, or none: what two parsers would read differently is refused with its name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.bodies import MAX_DEPTH, Malformed, parse_json


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"a": 1, "a": 2}', "duplicate_key"),
        (b'{"b": {"a": 1, "\\u0061": 1}}', "duplicate_key"),
        (b'{"a": NaN}', "non_finite_number"),
        (b'{"a": -Infinity}', "non_finite_number"),
        (b'{"a": 1e999}', "number_out_of_range"),
        (b'{"a": 9223372036854775808}', "number_out_of_range"),
        (b'{"a": -9223372036854775809}', "number_out_of_range"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number_out_of_range"),
        (b'{"a": "\xff"}', "invalid_utf8"),
        (b"\xff\xfe", "invalid_utf8"),
        ('{"a": "x"}'.encode("utf-16"), "invalid_utf8"),
        (b'{"a": "\\u0000"}', "invalid_character"),
        (b'{"\\u0000": 1}', "invalid_character"),
        (b'{"a": "\\ud800"}', "invalid_character"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "too_deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "too_deep"),
        (b"[" * 100_000, "too_deep"),
    ],
)
def test_what_has_no_single_reading_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_json(content)
    assert caught.value.code == code
    assert len(caught.value.detail) > 10


@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b'{"a": 01}', b"\xef\xbb\xbf{}", b"{} {}", b'{"a": 1,}'])
def test_what_is_no_json_is_a_decode_error(content: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        parse_json(content)


@pytest.mark.parametrize(
    "content", [b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b'{"a": 9223372036854775807, "b": -9223372036854775808}']
)
def test_what_lies_just_within_the_bounds_is_read(content: bytes) -> None:
    assert parse_json(content) == json.loads(content)


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(_JSON, st.booleans())
def test_everything_else_is_read_as_it_was_written(value: Any, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value
