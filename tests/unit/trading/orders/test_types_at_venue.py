"""What a stored order is at a venue."""

from typing import Any

import pytest

from app.kernel.orders import Validity
from app.trading.orders.domain import AtVenue
from app.trading.orders.service.kinds import kinds

STORED = {"limit_price": 101, "trigger_price": 99}


def asked(name: str, validity: Validity) -> dict[str, Any]:
    kind = kinds()[name]
    return {"order_type": name, "validity": validity} | {
        field: price if field in kind.needs else None for field, price in STORED.items()
    }


@pytest.mark.parametrize("name", sorted(name for name, kind in kinds().items() if kind.rests_as_asked))
def test_a_type_that_rests_as_it_was_asked_is_sent_as_it_is_stored(name: str) -> None:
    for validity in kinds()[name].validities - {Validity.GTT}:
        order = asked(name, validity)
        assert kinds()[name].at_venue(order) == AtVenue(
            order["order_type"], validity, order["limit_price"], order["trigger_price"]
        )


def test_a_trail_does_not() -> None:
    assert sorted(name for name, kind in kinds().items() if not kind.rests_as_asked) == ["trailing_stop"]
