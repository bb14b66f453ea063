"""A stop with a limit: nothing until its trigger price is touched, then a limit order."""

from collections.abc import Mapping
from typing import Any, ClassVar

from app.kernel.errors import invalid
from app.kernel.orders import OrderType, Side, Validity
from app.trading.orders.domain import (
    STOP_VALIDITIES,
    AtVenue,
    Context,
    OrderKind,
    PlaceOrder,
    Waits,
    check_stop_side,
    waits_for_trigger,
)


class StopLimit(OrderKind):
    """It rests untriggered at the venue, and holds its limit. With validity GTT it waits with us instead."""

    name = "sl"
    title = "Once trigger_price is touched, at limit_price or better."
    needs: ClassVar[frozenset[str]] = frozenset({"trigger_price", "limit_price"})
    validities: ClassVar[frozenset[Validity]] = STOP_VALIDITIES
    rests_as_asked: ClassVar[bool] = True

    def check(self, command: PlaceOrder, context: Context) -> None:
        check_stop_side(command, context)
        check_limit_beyond_trigger(command)

    def waits(self, command: PlaceOrder, context: Context) -> Waits | None:
        return waits_for_trigger(command)

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        if order["validity"] == Validity.GTT:
            return AtVenue(OrderType.LIMIT, Validity.DAY, order["limit_price"], None)
        return AtVenue(OrderType.SL, Validity(order["validity"]), order["limit_price"], order["trigger_price"])


def check_limit_beyond_trigger(command: PlaceOrder) -> None:
    """A limit that its own trigger is beyond could not fill when it is set off: exchanges refuse it, and so do we."""
    limit, trigger = command.limit_price, command.trigger_price
    if limit is not None and trigger is not None and (limit - trigger) * command.side.sign < 0:
        wants = "at or above" if command.side is Side.BUY else "at or below"
        raise invalid(
            "invalid_limit_price",
            f"The limit_price of a {command.side} stop must be {wants} its trigger_price.",
            param="limit_price",
        )


PLUGIN = StopLimit()
