"""The tag of what is shown, and what a precondition demands of it."""

import pytest

from app.kernel.errors import DomainError
from app.web.conditional import Precondition, etag, etag_of
from app.web.errors import STATUS
from app.web.models import ApiModel


class Shown(ApiModel):
    value: int


def test_a_tag_is_that_of_the_bytes_that_get_sends() -> None:
    assert etag_of(Shown(value=1)) == etag(b'{"value":1}')
    assert etag_of(Shown(value=1)) != etag_of(Shown(value=2))


@pytest.mark.parametrize("header", ["*", etag_of(Shown(value=1)), f'"x", {etag_of(Shown(value=1))}'])
def test_a_precondition_that_holds_passes(header: str) -> None:
    Precondition(header).check(Shown(value=1))


@pytest.mark.parametrize("header", [etag_of(Shown(value=2)), "W/" + etag_of(Shown(value=1)), "", "nonsense"])
def test_one_that_does_not_hold_is_a_412(header: str) -> None:
    with pytest.raises(DomainError) as caught:
        Precondition(header).check(Shown(value=1))
    assert (caught.value.code, STATUS[caught.value.kind]) == ("precondition_failed", 412)


def test_a_missing_one_asks_for_nothing() -> None:
    Precondition(None).check(Shown(value=1))
