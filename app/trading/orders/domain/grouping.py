"""Decides into which orders an order is cut that is not sent as one: slices, none above the freeze quantity."""

from collections.abc import Sequence

from app.kernel.errors import conflict, invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import format_scaled
from app.kernel.orders import Leg, OrderClass, OrderType
from app.market.instruments.domain import check_quantity
from app.trading.orders.domain.asked import PlaceOrder

MAX_FREEZE_SLICES = 10
"""Into how many orders a quantity above the freeze quantity is cut by itself: Kite and MCX take no more."""

MAX_ICEBERG_SLICES = 50

SMALLEST_SHARE = 10
"""One part in so many of an order must be disclosed: the NSE's rule for its capital market."""


def check_slices(command: PlaceOrder, rules: TradingRules, *, qty_exp: int) -> None:
    """Raises what is wrong with the quantity, or with the slices that it is cut into. A broker that hides a part of an
    order by itself is asked no more than one that does not."""
    order_class, quantity, slices = command.order_class, command.quantity, command.slices
    check_quantity(quantity, TradingRules(rules.tick, rules.lot, None), qty_exp=qty_exp)
    if order_class is not OrderClass.ICEBERG:
        if slices is not None:
            raise invalid("invalid_slices", f"An order of class {order_class} takes no slices.", param="slices")
    elif command.disclosed_quantity is not None:
        raise invalid(
            "invalid_disclosed_quantity",
            "An iceberg takes no disclosed_quantity: its slices say what is shown.",
            param="disclosed_quantity",
        )
    elif slices is None or not 2 <= slices <= MAX_ICEBERG_SLICES:
        raise invalid("invalid_slices", f"An iceberg takes 2 to {MAX_ICEBERG_SLICES} slices.", param="slices")
    elif slices > quantity // rules.lot:
        raise invalid(
            "invalid_slices", f"{quantity // rules.lot} lots cannot be cut into {slices} slices.", param="slices"
        )
    if rules.freeze_quantity is None:
        return
    if slices is None:
        largest = largest_part(quantity, rules, command.disclosed_quantity)
        count = -(-quantity // largest)
    else:
        parts = slices_of(order_class, quantity, slices, rules)
        largest, count = max(parts), len(parts)
    freeze = format_scaled(rules.freeze_quantity, qty_exp)
    if largest > rules.freeze_quantity:
        raise invalid(
            "above_freeze",
            f"Each slice would be above the freeze quantity {freeze}; ask for more slices.",
            param="slices",
        )
    most = MAX_FREEZE_SLICES if slices is None and command.disclosed_quantity is None else MAX_ICEBERG_SLICES
    if count > most:
        raise invalid(
            "above_freeze",
            f"quantity {format_scaled(quantity, qty_exp)} takes more than {most} orders of the freeze quantity "
            f"{freeze}; send it as several orders.",
            param="quantity",
        )


def check_change(leg: str | None, quantity: int | None, *, has_parent: bool = False) -> None:
    """Raises `order_not_changeable` for what only the group can change: its slices, and how much an exit covers."""
    if leg == Leg.SLICE or (leg == Leg.ENTRY and has_parent):
        raise conflict("order_not_changeable", "A slice is no order of its own: change, or cancel, the one it is of.")
    if leg in (Leg.TARGET, Leg.STOP) and quantity is not None:
        raise conflict(
            "order_not_changeable",
            "An exit covers what is filled: its quantity follows by itself. Change its prices alone.",
            param="quantity",
        )


def check_change_of_whole(order_class: str, *, grows: bool) -> None:
    """Raises `order_not_changeable` for what an order that is sent in parts cannot become."""
    if order_class == OrderClass.OCO:
        message = "A pair that is sent in parts is changed by its parts: change the prices of its targets and stops."
        raise conflict("order_not_changeable", message)
    if grows and order_class not in (OrderClass.SLICED, OrderClass.ICEBERG):
        message = "The parts of a group have exits of their own; place another order for what is more."
        raise conflict("order_not_changeable", message, param="quantity")


def cut_anew(
    left: Sequence[int], wanted: int, order_class: OrderClass, rules: TradingRules, *, shown: int | None
) -> tuple[list[int], tuple[int, ...]]:
    """What is to be left of each working slice and the slices that come beside them, when `wanted` is to be left of an
    order of which `left` is, in units at the instrument's `qty_exp`. The last slices give, since the first have waited
    longest at the exchange; what is more comes in slices of its own, none above `shown`. Raises `above_freeze`.
    """
    kept, rest = [], wanted
    for quantity in left:
        kept.append(min(quantity, rest))
        rest -= kept[-1]
    count = -(-rest // largest_part(rest, rules, shown)) if rest else 0
    most = MAX_FREEZE_SLICES if order_class is OrderClass.SLICED else MAX_ICEBERG_SLICES
    if sum(map(bool, kept)) + count > most:
        message = f"That takes more than {most} slices at once; place another order for what is more."
        raise invalid("above_freeze", message, param="quantity")
    return kept, slices_of(OrderClass.SLICED, rest, None, rules, shown=shown) if rest else ()


def slices_of(
    order_class: OrderClass, quantity: int, slices: int | None, rules: TradingRules, *, shown: int | None = None
) -> tuple[int, ...]:
    """The quantities that an order is sent in: their sum is `quantity`, each is a multiple of the lot and at most
    `shown`, if that is given. There are as many as the quantity asks for: who takes it of a caller counts first."""
    if order_class is OrderClass.ICEBERG and slices is not None:
        each, more = divmod(quantity // rules.lot, slices)
        return tuple((each + (place < more)) * rules.lot for place in range(slices))
    most = largest_part(quantity, rules, shown)
    if quantity <= most:
        return (quantity,)
    full, rest = divmod(quantity, most)
    return (most,) * full + ((rest,) if rest else ())


def largest_part(quantity: int, rules: TradingRules, shown: int | None = None) -> int:
    """The largest of the parts that a quantity, in units at the instrument's `qty_exp`, is cut into by itself: none is
    above the freeze quantity nor above `shown`."""
    bounds = [bound for bound in (rules.freeze_quantity, shown) if bound is not None]
    if not bounds or quantity <= min(bounds):
        return quantity
    return max(min(bounds) // rules.lot, 1) * rules.lot


def hidden_by_broker(command: PlaceOrder, rules: TradingRules) -> int | None:
    """What a broker with `Capabilities.native_iceberg` is told to show of the order, which it has whole. None: it is
    asked for nothing, or could not do it: exchanges take a tenth at least, and nothing above the freeze quantity."""
    if rules.freeze_quantity is not None and command.quantity > rules.freeze_quantity:
        return None
    if command.disclosed_quantity is not None:
        return command.disclosed_quantity
    if command.slices is None or command.order_type != OrderType.LIMIT or command.slices > SMALLEST_SHARE:
        return None
    return max(slices_of(command.order_class, command.quantity, command.slices, rules))
