"""Decides what a change of a working order comes to: what it asks of the broker, and whether it asks for more."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.kernel.errors import conflict, invalid
from app.kernel.money import Rounding, divide
from app.kernel.orders import OrderStatus, Side, Validity
from app.trading.orders.domain.asked import Context, PlaceOrder
from app.trading.orders.domain.kinds import OrderKind

CHANGEABLE = ("quantity", "limit_price", "trigger_price")


@dataclass(frozen=True, slots=True)
class ChangeOrder:
    """What of an order shall be otherwise; None stays. `quantity` is the whole order's, fills included."""

    quantity: int | None = None
    limit_price: int | None = None
    trigger_price: int | None = None

    def applied(self, before: PlaceOrder) -> PlaceOrder:
        """The order as it would be. Raises `nothing_to_change`."""
        asked = {name: getattr(self, name) for name in CHANGEABLE}
        after = replace(before, **{name: value for name, value in asked.items() if value is not None})
        if after == before:
            raise invalid("nothing_to_change", "The order is so already; name what shall be otherwise.")
        return after


def check_changeable(status: str, pending: Mapping[str, Any] | None, command: PlaceOrder, kind: OrderKind) -> None:
    """Raises `order_not_changeable`, `change_pending`."""
    if status not in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED):
        message = (
            f"The order is {status}; only one that works at the broker can be changed. Cancel it, or place another."
        )
        raise conflict("order_not_changeable", message)
    if command.validity is Validity.GTT or not kind.sent_at_once or not kind.needs.intersection(CHANGEABLE):
        message = f"A {kind.name} order cannot be changed once it was sent; cancel it, and place another."
        raise conflict("order_not_changeable", message)
    if pending is not None:
        raise conflict("change_pending", "The broker is still being asked for the change before; wait for its event.")


def wants_more(before: PlaceOrder, after: PlaceOrder) -> bool:
    """Whether it could trade more, or at a worse price, than before: then it is decided like a new order."""
    dearer = ((after.limit_price or 0) - (before.limit_price or 0)) * before.side.sign > 0
    return after.quantity > before.quantity or dearer or after.trigger_price != before.trigger_price


def without(context: Context, order: PlaceOrder, *, filled: int, held: int) -> Context:
    """The state as it would be if what remains of the working `order`, which holds `held`, were not there."""
    left = order.quantity - filled
    buys, sells = (left, 0) if order.side is Side.BUY else (0, left)
    client = context.client
    if client is not None:
        client = replace(
            client,
            open_orders=client.open_orders - 1,
            open_buy=client.open_buy - buys,
            open_sell=client.open_sell - sells,
        )
    return replace(
        context,
        open_orders=context.open_orders - 1,
        open_buy=context.open_buy - buys,
        open_sell=context.open_sell - sells,
        book_open_sell=context.book_open_sell - sells,
        available=(context.available or 0) + held,
        client=client,
    )


def hold_of_whole(hold_of_rest: int, *, quantity: int, filled: int) -> int:
    """What the whole order would hold of which the rest holds so much: rounded up, so that the rest is covered."""
    return divide(hold_of_rest * quantity, quantity - filled, Rounding.UP)


def hold_left(hold: int, *, quantity: int, filled: int) -> int:
    """The converse, as `orders_hold_left` computes it."""
    return divide(hold * (quantity - filled), quantity, Rounding.UP)
