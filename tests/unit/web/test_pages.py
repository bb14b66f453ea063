"""Paths that a page may lead to."""

from urllib.parse import urljoin, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from app.web.pages import local_path

HERE = "https://api.mandi.example"
EVIL = st.text(alphabet="/\\:.@?#%&=\t\r\n abcehtps0", max_size=30)


@given(EVIL)
def test_whatever_is_given_the_path_stays_on_this_host(given_path: str) -> None:
    path = local_path(given_path, default="/home")
    parts = urlsplit(urljoin(HERE, path))
    assert (parts.scheme, parts.netloc) == ("https", "api.mandi.example")
    assert not set(path) & set("\\\t\r\n ")
    assert not path.startswith(("//", "/\\"))


@given(st.from_regex(r"/[a-z][a-z/]{0,20}(\?[a-z]=[a-z0-9%/:]{1,20})?", fullmatch=True))
def test_a_path_of_ours_is_taken_as_it_is(path: str) -> None:
    assert local_path(path, default="/home") == path


def test_nothing_leads_home() -> None:
    assert local_path(None, default="/home") == local_path("", default="/home") == "/home"
