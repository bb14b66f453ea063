"""Which passwords may be chosen."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import DomainError
from app.platform.people.domain import MAX_PASSWORD, MIN_PASSWORD, check_password
from app.platform.people.service.people import common_passwords

EMAIL = "asha.rao@example.com"


_SAID: dict[str, str] = {}


def refusal(password: str) -> str | None:
    """The code. What is said with it is the same for every password, so it tells nothing of this one."""
    try:
        check_password(password, email=EMAIL, common=common_passwords())
    except DomainError as error:
        assert error.param == "password" and _SAID.setdefault(error.code, error.message) == error.message
        return error.code
    return None


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "password_too_short"),
        ("elevenchars", "password_too_short"),
        ("x7!" * 43, "password_too_long"),
        (EMAIL, "password_is_email"),
        ("Asha.Rao@Example.COM", "password_is_email"),
        ("asha.rao2026", "password_is_email"),
        ("PASSWORD1234!", "password_too_common"),
        ("1234Password!", "password_too_common"),
        ("welcome-2026!", "password_too_common"),
        ("Pa$$w0rd", "password_too_short"),
        ("1qaz2wsx3edc", "password_too_common"),
        ("aaaaaaaaaaaaaaaa", "password_too_common"),
        ("abababababababab", "password_too_common"),
        ("x9k!x9k!x9k!", "password_too_common"),
        ("abcdefghijklmnop", "password_too_common"),
        ("zyxwvutsrqponml", "password_too_common"),
        ("correct horse stapler", None),
        ("पासवर्ड नया घर पेड़", None),
        ("      spaces count too", None),
        ("tr0ub4dor&3xyz", None),
    ],
)
def test_a_password_is_judged_by_length_and_by_what_everybody_tries(password: str, code: str | None) -> None:
    assert refusal(password) == code


@given(st.sampled_from(sorted(common_passwords())), st.text(string.digits + "!?-_. ", min_size=0, max_size=20))
def test_no_listed_password_is_good_with_any_figures_behind_it(word: str, tail: str) -> None:
    assert refusal(word + tail) is not None or not word.isalpha()


@given(st.text(min_size=0, max_size=200))
def test_every_text_is_judged_and_length_alone_decides_at_the_edges(password: str) -> None:
    code = refusal(password)
    assert (code == "password_too_short") == (len(password) < MIN_PASSWORD)
    assert (code == "password_too_long") == (len(password) > MAX_PASSWORD)


@given(st.text(min_size=1, max_size=20), st.integers(2, 64))
def test_no_repetition_is_a_password(part: str, times: int) -> None:
    assert refusal(part * times) is not None
