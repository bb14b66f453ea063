"""At the best price there is, now, or no worse than its protection."""

from collections.abc import Mapping
from typing import Any, ClassVar

from app.kernel.orders import OrderType, Validity
from app.trading.orders.domain import AtMarket, AtVenue


class Market(AtMarket):
    """It holds the last price with slippage and a buffer; a protected one the worst price that it may fill at."""

    name = "market"
    title = "At the market, now."
    validities: ClassVar[frozenset[Validity]] = frozenset({Validity.DAY, Validity.GTC, Validity.IOC})
    rests_as_asked: ClassVar[bool] = True

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        return AtVenue(OrderType.MARKET, Validity(order["validity"]), None, None)


PLUGIN = Market()
