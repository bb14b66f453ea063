"""Slugs and addresses."""

import pytest

from app.kernel.errors import DomainError
from app.platform.tenancy.domain import check_slug, normal_email


@pytest.mark.parametrize("slug", ["a", "demo", "a-1", "a" * 40])
def test_a_host_label_is_a_slug(slug: str) -> None:
    assert check_slug(slug) == slug


def test_an_address_is_kept_in_lower_case() -> None:
    assert normal_email(" Asha.Rao@Example.COM ") == "asha.rao@example.com"


@pytest.mark.parametrize("email", ["", "a", "a@b", "@b.c", "a@b..c", "a b@c.d", "a@b.c\n@d.e", "a" * 250 + "@b.c"])
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(DomainError):
        normal_email(email)
