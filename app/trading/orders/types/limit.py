"""At a price or better."""

from collections.abc import Mapping
from typing import Any, ClassVar

from app.kernel.orders import OrderType, Validity
from app.trading.orders.domain import AtVenue, OrderKind


class Limit(OrderKind):
    """It rests at the venue, and holds its price."""

    name = "limit"
    title = "At limit_price or better."
    needs: ClassVar[frozenset[str]] = frozenset({"limit_price"})
    validities: ClassVar[frozenset[Validity]] = frozenset({Validity.DAY, Validity.GTC})

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        return AtVenue(OrderType.LIMIT, Validity(order["validity"]), order["limit_price"], None)


PLUGIN = Limit()
