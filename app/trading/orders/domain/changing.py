"""Decides what a change of an order comes to: whether it can be made where the order is, whether it asks for more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.kernel.errors import DomainError, conflict, invalid
from app.kernel.money import Rounding, divide
from app.kernel.orders import OrderStatus, OrderType, Product, Side, Validity
from app.trading.orders.domain.asked import Context, PlaceOrder
from app.trading.orders.domain.kinds import AtVenue
from app.trading.risk.domain import Finding

CHANGEABLE = ("quantity", "limit_price", "trigger_price")
"""What a broker is always asked for in full; a validity only when it was named."""

UNSENT = frozenset({OrderStatus.WAITING, OrderStatus.ACCEPTED})
"""No broker knows of it: it is changed here, at once."""

AT_BROKER = frozenset({OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED})
ON_ITS_WAY = frozenset({OrderStatus.SUBMITTING, OrderStatus.UNKNOWN})
_BAND = "price_band"
_VALIDITIES = frozenset({Validity.DAY, Validity.GTC, Validity.IOC})
"""Among these a change may choose: what ends by the clock, or waits here for a price, is another order."""


@dataclass(frozen=True, slots=True)
class ChangeOrder:
    """What of an order shall be otherwise; None stays. `quantity` is the whole order's, fills included; `parameters`
    are all of its type's own."""

    quantity: int | None = None
    limit_price: int | None = None
    trigger_price: int | None = None
    validity: Validity | None = None
    parameters: dict[str, Any] | None = None

    def applied(self, before: PlaceOrder) -> PlaceOrder:
        """The order as it would be. Raises `nothing_to_change`."""
        asked = {name: getattr(self, name) for name in (*CHANGEABLE, "validity", "parameters")}
        after = replace(before, **{name: value for name, value in asked.items() if value is not None})
        if after == before:
            raise invalid("nothing_to_change", "The order is so already; name what shall be otherwise.")
        return after


def check_changeable(
    status: OrderStatus, pending: Mapping[str, Any] | None, before: PlaceOrder, change: ChangeOrder, sent: AtVenue
) -> None:
    """`sent`: the order as a broker has it, or would. Raises `order_not_changeable`, `change_pending`,
    `invalid_validity`."""
    if status not in UNSENT | AT_BROKER:
        raise _not_changeable(
            "is on its way to the broker; change it once it is open."
            if status in ON_ITS_WAY
            else f"is {status}; only one that works can be changed. Place another."
        )
    if pending is not None:
        raise conflict("change_pending", "The broker is still being asked for the change before; wait for its event.")
    if status in AT_BROKER and sent.order_type is OrderType.MARKET:
        raise _not_changeable("trades at the market, where nothing of it can be changed; cancel it, and place another.")
    if status in AT_BROKER and before.trigger_price is not None and sent.trigger_price is None:
        _check_set_off(change)
    named = change.validity
    if named is not None and named is not before.validity and not {named, before.validity} <= _VALIDITIES:
        message = "A change chooses among day, gtc and ioc, of an order of one of them; else cancel it, place another."
        raise invalid("invalid_validity", message, param="validity")


def _check_set_off(change: ChangeOrder) -> None:
    if change.trigger_price is not None:
        raise conflict(
            "order_not_changeable",
            "The stop was set off, and its trigger is behind it. Change its limit, or cancel it.",
            param="trigger_price",
        )


def _not_changeable(why: str) -> DomainError:
    return conflict("order_not_changeable", f"The order {why}")


def wants_more(before: PlaceOrder, after: PlaceOrder) -> bool:
    """Whether it could trade more, at a worse price or for more cash than before: then it is decided like a new order.
    What a short sale blocks grows with its price."""
    raised = (after.limit_price or 0) - (before.limit_price or 0)
    dearer = raised * before.side.sign > 0 or (raised > 0 and before.product is Product.INTRADAY)
    moved = after.trigger_price != before.trigger_price or after.parameters != before.parameters
    return after.quantity > before.quantity or dearer or moved


def moves_price(before: PlaceOrder, after: PlaceOrder) -> bool:
    """Whether it would stand at another price, better or worse."""
    return (before.limit_price, before.trigger_price) != (after.limit_price, after.trigger_price)


def against(reasons: Sequence[Finding], *, more: bool, moved: bool) -> list[Finding]:
    """What of `reasons`, for which the order as it would be is denied, stands against the change: all of it where it
    asks for `more`, else of a price that is `moved` that the venue would refuse it."""
    return [reason for reason in reasons if more or (moved and reason.rule == _BAND)]


def without(context: Context, order: PlaceOrder, *, filled: int, held: int, orders: int = 1) -> Context:
    """The state as it would be if what remains of the working `order`, which holds `held`, were not there; it counts as
    so many `orders`."""
    left = order.quantity - filled
    buys, sells = (left, 0) if order.side is Side.BUY else (0, left)
    price = order.limit_price or order.trigger_price or context.last_price or 0
    added = context.notional(left, price) if order.product is Product.INTRADAY and held else 0
    client = context.client
    if client is not None:
        client = replace(
            client,
            open_orders=client.open_orders - orders,
            open_buy=client.open_buy - buys,
            open_sell=client.open_sell - sells,
        )
    return replace(
        context,
        open_orders=context.open_orders - orders,
        open_buy=context.open_buy - buys,
        open_sell=context.open_sell - sells,
        book_open_buy=context.book_open_buy - buys,
        book_open_sell=context.book_open_sell - sells,
        available=(context.available or 0) + held,
        pending=max(context.pending - max(held, added), 0),
        client=client,
    )


def beside(context: Context, order: PlaceOrder) -> Context:
    """The state in which the `order` of the same book and product works, too."""
    buys, sells = (order.quantity, 0) if order.side is Side.BUY else (0, order.quantity)
    return replace(
        context,
        book_open_buy=context.book_open_buy + buys,
        book_open_sell=context.book_open_sell + sells,
    )


def hold_of_whole(hold_of_rest: int, *, quantity: int, filled: int) -> int:
    """What the whole order would hold of which the rest holds so much: rounded up, so that the rest is covered."""
    return divide(hold_of_rest * quantity, quantity - filled, Rounding.UP)


def hold_left(hold: int, *, quantity: int, filled: int) -> int:
    """The converse, as `orders_hold_left` computes it."""
    return divide(hold * (quantity - filled), quantity, Rounding.UP)
