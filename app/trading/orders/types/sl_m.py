"""A stop at the market: nothing until its trigger price is touched, then a market order."""

from collections.abc import Mapping
from typing import Any, ClassVar

from app.kernel.orders import OrderType, Validity
from app.trading.orders.domain import (
    STOP_VALIDITIES,
    AtMarket,
    AtVenue,
    Context,
    PlaceOrder,
    Waits,
    check_stop_side,
    waits_for_trigger,
)


class StopMarket(AtMarket):
    """It rests untriggered at the venue, and holds its trigger price with slippage and a buffer, or its protection.
    With validity GTT it waits with us instead."""

    name = "sl_m"
    title = "Once trigger_price is touched, at the market."
    needs: ClassVar[frozenset[str]] = frozenset({"trigger_price"})
    validities: ClassVar[frozenset[Validity]] = STOP_VALIDITIES
    rests_as_asked: ClassVar[bool] = True

    def check(self, command: PlaceOrder, context: Context) -> None:
        check_stop_side(command, context)

    def reference(self, command: PlaceOrder, context: Context) -> int | None:
        return command.trigger_price

    def waits(self, command: PlaceOrder, context: Context) -> Waits | None:
        return waits_for_trigger(command)

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        if order["validity"] == Validity.GTT:
            return AtVenue(OrderType.MARKET, Validity.DAY, None, None)
        return AtVenue(OrderType.SL_M, Validity(order["validity"]), None, order["trigger_price"])


PLUGIN = StopMarket()
