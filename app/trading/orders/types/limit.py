"""At a price or better."""

from collections.abc import Mapping
from typing import Any, ClassVar

from app.kernel.errors import invalid
from app.kernel.money import format_scaled
from app.kernel.orders import OrderType, Validity
from app.trading.orders.domain import PLAIN_VALIDITIES, AtVenue, Context, OrderKind, PlaceOrder

SMALLEST_SHARE = 10
"""One part in so many of an order must be disclosed: the NSE's rule for its capital market."""


class Limit(OrderKind):
    """It rests at the venue, and holds its price."""

    name = "limit"
    title = "At limit_price or better."
    needs: ClassVar[frozenset[str]] = frozenset({"limit_price"})
    takes: ClassVar[frozenset[str]] = frozenset({"disclosed_quantity"})
    validities: ClassVar[frozenset[Validity]] = PLAIN_VALIDITIES | {Validity.IOC}
    rests_as_asked: ClassVar[bool] = True

    def check(self, command: PlaceOrder, context: Context) -> None:
        disclosed, lot = command.disclosed_quantity, context.instrument["lot"]
        if disclosed is None:
            return
        if disclosed >= command.quantity or disclosed * SMALLEST_SHARE < command.quantity or disclosed % lot:
            total = format_scaled(command.quantity, context.instrument["qty_exp"])
            raise invalid(
                "invalid_disclosed_quantity",
                f"disclosed_quantity must be whole lots, less than the quantity {total} and at least a tenth of it.",
                param="disclosed_quantity",
            )

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        return AtVenue(OrderType.LIMIT, Validity(order["validity"]), order["limit_price"], None)


PLUGIN = Limit()
