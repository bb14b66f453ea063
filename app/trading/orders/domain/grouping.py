"""Decides into which orders an order is cut that is not sent as one: slices, none above the freeze quantity."""

from app.kernel.errors import conflict, invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import format_scaled
from app.kernel.orders import Leg, OrderClass
from app.market.instruments.domain import check_quantity

MAX_FREEZE_SLICES = 10
"""Into how many orders a quantity above the freeze quantity is cut by itself: Kite and MCX take no more."""

MAX_ICEBERG_SLICES = 50


def check_slices(
    order_class: OrderClass, quantity: int, slices: int | None, rules: TradingRules, *, qty_exp: int
) -> None:
    """Raises what is wrong with the quantity, or with the slices that it is cut into."""
    sliced = order_class in (OrderClass.SINGLE, OrderClass.ICEBERG)
    whole = TradingRules(rules.tick, rules.lot, None) if sliced else rules
    check_quantity(quantity, whole, qty_exp=qty_exp)
    if order_class is not OrderClass.ICEBERG:
        if slices is not None:
            raise invalid("invalid_slices", f"An order of class {order_class} takes no slices.", param="slices")
    elif slices is None or not 2 <= slices <= MAX_ICEBERG_SLICES:
        raise invalid("invalid_slices", f"An iceberg takes 2 to {MAX_ICEBERG_SLICES} slices.", param="slices")
    elif slices > quantity // rules.lot:
        raise invalid(
            "invalid_slices", f"{quantity // rules.lot} lots cannot be cut into {slices} slices.", param="slices"
        )
    parts = slices_of(order_class, quantity, slices, rules)
    if rules.freeze_quantity is None or not sliced:
        return
    most = format_scaled(rules.freeze_quantity, qty_exp)
    if max(parts) > rules.freeze_quantity:
        raise invalid(
            "above_freeze",
            f"Each slice would be above the freeze quantity {most}; ask for more slices.",
            param="slices",
        )
    if order_class is OrderClass.SINGLE and len(parts) > MAX_FREEZE_SLICES:
        raise invalid(
            "above_freeze",
            f"quantity {format_scaled(quantity, qty_exp)} is more than {MAX_FREEZE_SLICES} times the freeze quantity "
            f"{most}; send it as several orders.",
            param="quantity",
        )


def check_change(leg: str | None, quantity: int | None, *, has_parent: bool = False) -> None:
    """Raises `order_not_changeable` for what only the group can change: its slices, and how much an exit covers."""
    if leg in (Leg.WHOLE, Leg.SLICE) or (leg == Leg.ENTRY and has_parent):
        message = "An order that is sent in slices cannot be changed; cancel it, and place another."
        raise conflict("order_not_changeable", message)
    if leg in (Leg.TARGET, Leg.STOP) and quantity is not None:
        raise conflict(
            "order_not_changeable",
            "An exit covers what is filled: its quantity follows by itself. Change its prices alone.",
            param="quantity",
        )


def slices_of(order_class: OrderClass, quantity: int, slices: int | None, rules: TradingRules) -> tuple[int, ...]:
    """The quantities that an order is sent in: their sum is `quantity`, each is a multiple of the lot."""
    if order_class is OrderClass.ICEBERG and slices is not None:
        each, more = divmod(quantity // rules.lot, slices)
        return tuple((each + (place < more)) * rules.lot for place in range(slices))
    freeze = rules.freeze_quantity
    if order_class is not OrderClass.SINGLE or freeze is None or quantity <= freeze:
        return (quantity,)
    most = max(freeze // rules.lot, 1) * rules.lot
    full, rest = divmod(quantity, most)
    return (most,) * full + ((rest,) if rest else ())
