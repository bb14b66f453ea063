"""Codes: which time steps are taken, and how recovery codes are written and read."""

from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.platform.people.domain import (
    STEP_SECONDS,
    browser_name,
    format_recovery_code,
    matching_step,
    normal_recovery_code,
    time_step,
    totp_text,
    totp_uri,
)

SECRETS = st.binary(min_size=20, max_size=20)
MOMENTS = st.integers(1_577_836_800, 4_102_444_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(SECRETS, MOMENTS, st.integers(-3, 3))
def test_a_code_is_taken_within_one_step_either_way(secret: bytes, now: datetime, away: int) -> None:
    step = time_step(now) + away
    code = pyotp.TOTP(totp_text(secret)).generate_otp(step)
    found = matching_step(secret, code, now=now, last_step=None)
    if abs(away) <= 1:
        assert found is not None
        assert pyotp.TOTP(totp_text(secret)).generate_otp(found) == code
    else:
        assert found is None or found != step


@given(SECRETS, MOMENTS, st.integers(-1, 1), st.integers(-2, 2))
def test_no_code_of_a_used_step_or_before_is_taken(secret: bytes, now: datetime, away: int, last: int) -> None:
    code = pyotp.TOTP(totp_text(secret)).generate_otp(time_step(now) + away)
    found = matching_step(secret, code, now=now, last_step=time_step(now) + last)
    assert found is None or found > time_step(now) + last
    if away <= last and found is not None:
        assert found != time_step(now) + away


@given(SECRETS, st.lists(st.tuples(st.integers(0, 4000), st.integers(-1, 1)), max_size=30))
def test_however_codes_come_each_step_is_taken_at_most_once(secret: bytes, tries: list[tuple[int, int]]) -> None:
    start, last, taken = datetime(2026, 1, 5, tzinfo=UTC), None, []
    otp = pyotp.TOTP(totp_text(secret))
    for seconds, away in sorted(tries):
        now = start + timedelta(seconds=seconds)
        step = matching_step(secret, otp.generate_otp(time_step(now) + away), now=now, last_step=last)
        if step is not None:
            last = step
            taken.append(step)
    assert taken == sorted(set(taken))


@given(SECRETS, MOMENTS, st.text(max_size=12))
def test_what_is_no_code_matches_nothing(secret: bytes, now: datetime, typed: str) -> None:
    if len([c for c in typed if c in "0123456789"]) != 6:
        assert matching_step(secret, typed, now=now, last_step=None) is None


def test_digits_of_other_scripts_are_no_code() -> None:
    secret, now = bytes(20), datetime(2026, 1, 5, tzinfo=UTC)
    code = pyotp.TOTP(totp_text(secret)).at(now)
    arabic = code.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    assert matching_step(secret, arabic, now=now, last_step=None) is None
    assert matching_step(secret, f"{code[:3]} {code[3:]}", now=now, last_step=None) is not None


def test_the_codes_are_those_of_rfc_6238() -> None:
    """Appendix B: the last six of its eight digits, at 59 s and at 1111111109 s."""
    secret = b"12345678901234567890"
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        now = datetime.fromtimestamp(seconds, UTC)
        assert matching_step(secret, code, now=now, last_step=None) == seconds // STEP_SECONDS


def test_authenticator_apps_can_read_the_address() -> None:
    uri = totp_uri(b"12345678901234567890", email="a+b@example.com", issuer="Mandi Test")
    parsed = pyotp.parse_uri(uri)
    assert isinstance(parsed, pyotp.TOTP)
    assert (parsed.issuer, parsed.name, parsed.interval, parsed.digits) == ("Mandi Test", "a+b@example.com", 30, 6)
    assert parsed.byte_secret() == b"12345678901234567890"


@given(st.binary(min_size=10, max_size=10), st.sampled_from([" ", "-", "", "  "]))
def test_a_recovery_code_is_read_however_it_is_typed(random: bytes, between: str) -> None:
    code = format_recovery_code(random)
    assert len(code) == 19
    typed = f" {code.upper().replace('-', between)} "
    assert normal_recovery_code(typed) == code
    assert normal_recovery_code(typed.replace("0", "O").replace("1", "l")) == code


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_different_bytes_are_different_codes(one: bytes, other: bytes) -> None:
    assert (format_recovery_code(one) == format_recovery_code(other)) == (one == other)


@pytest.mark.parametrize(
    "typed", ["", "123456", "abcd-efgh-jkmn", "abcd-efgh-jkmn-pqr!", "x" * 17, "\uff41bcd-efgh-jkmn-pqrs"]
)
def test_what_is_no_recovery_code_is_none(typed: str) -> None:
    assert normal_recovery_code(typed) is None


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/131.0 Safari/537.36 Edg/131.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Mobile Safari/604.1", "Safari on iPhone"),
        ("curl/8.9.1", "curl/8.9.1"),
        ("Mozilla/5.0", "Unknown browser"),
        (None, "Unknown browser"),
    ],
)
def test_a_browser_is_called_as_people_call_it(said: str | None, name: str) -> None:
    assert browser_name(said) == name
