"""At the best price there is, now."""

from collections.abc import Mapping
from typing import Any, ClassVar

from app.kernel.orders import OrderType, Validity
from app.trading.orders.domain import AtVenue, Context, OrderKind, PlaceOrder, expected


class Market(OrderKind):
    """It holds the last price with slippage and a buffer."""

    name = "market"
    title = "At the market, now."
    validities: ClassVar[frozenset[Validity]] = frozenset({Validity.DAY, Validity.GTC})

    def worst_price(self, command: PlaceOrder, context: Context, price: int) -> int:
        return expected(price, command, context)

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        return AtVenue(OrderType.MARKET, Validity(order["validity"]), None, None)


PLUGIN = Market()
