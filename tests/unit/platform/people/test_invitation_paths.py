"""A sign-up carries on to an invitation's page, and to no other path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.platform.people.service.invitations import MAX_TOKEN, invitation_in, invitation_path


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=MAX_TOKEN))
def test_the_token_of_an_invitations_page_is_found_in_its_path(token: str) -> None:
    assert invitation_in(invitation_path(token)) == token


@pytest.mark.parametrize(
    "path",
    [
        "/account/security",
        "/oauth/authorize?client_id=x",
        "/invitation",
        "/invitation?token=",
        "/invitation?token=a&next=/evil",
        "/invitation?token=a/../b",
        "/invitation?next=x&token=a",
        "/invitation/x?token=a",
        f"/invitation?token={'a' * (MAX_TOKEN + 1)}",
    ],
)
def test_another_path_names_no_invitation(path: str) -> None:
    assert invitation_in(path) is None
