"""Decides what a group's exits may be: a target above and a stop below what is bought, each on the tick; of what is
sold short for intraday, a target below and a stop above."""

from collections.abc import Mapping

from app.kernel.errors import DomainError, invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import format_trimmed
from app.kernel.orders import Leg, OrderClass, Product, Side, Validity
from app.market.instruments.domain import check_price
from app.trading.orders.domain.asked import Context, PlaceOrder

ENTERS = frozenset({OrderClass.BRACKET, OrderClass.OTO, OrderClass.COVER})
"""The order is an entry, and its exits wait for its fills."""

_FIELD = {Leg.TARGET: "take_profit", Leg.STOP: "stop_loss"}
_WANTED: Mapping[OrderClass, tuple[frozenset[Leg], ...]] = {
    OrderClass.BRACKET: (frozenset({Leg.TARGET, Leg.STOP}),),
    OrderClass.OTO: (frozenset({Leg.TARGET}), frozenset({Leg.STOP})),
    OrderClass.COVER: (frozenset({Leg.STOP}),),
    OrderClass.OCO: (frozenset({Leg.STOP}),),
}
_WANTS = {
    OrderClass.BRACKET: "needs take_profit and stop_loss",
    OrderClass.OTO: "needs one of take_profit and stop_loss",
    OrderClass.COVER: "needs stop_loss and takes no take_profit",
    OrderClass.OCO: "needs stop_loss and takes no take_profit: its own limit_price is the target",
}


def exit_side(command: PlaceOrder) -> Side:
    """On which side the group's exits trade."""
    if command.order_class not in ENTERS:
        return command.side
    return Side.SELL if command.side is Side.BUY else Side.BUY


def check_exits(command: PlaceOrder, context: Context, rules: TradingRules) -> None:
    """Raises what is wrong with the class of the order or with its exits, by the field."""
    order_class = command.order_class
    legs = frozenset(way.leg for way in command.exits)
    if order_class not in _WANTED:
        if legs:
            field = _FIELD[min(legs)]
            raise invalid("invalid_exits", f"An order of class {order_class} takes no {field}.", param=field)
        return
    if legs not in _WANTED[order_class]:
        field = "stop_loss" if Leg.STOP not in legs else "take_profit"
        raise invalid("invalid_exits", f"An order of class {order_class} {_WANTS[order_class]}.", param=field)
    _check_order(command)
    exponent = context.instrument["price_exp"]
    for way in command.exits:
        for name in ("limit_price", "trigger_price"):
            price = getattr(way, name)
            if price is not None:
                check_price(price, rules, price_exp=exponent, param=f"{_FIELD[way.leg]}.{name}")
    _check_sides(command, context.last_price, price_exp=exponent)


def check_changed(command: PlaceOrder, last: int | None, *, price_exp: int) -> None:
    """What is wrong with an entry and those of its exits that wait for it, once one of them is changed."""
    _check_order(command)
    _check_sides(command, last, price_exp=price_exp)


def _check_order(command: PlaceOrder) -> None:
    """What of the order itself does not go with its class."""
    order_class, enters = command.order_class, command.order_class in ENTERS
    if command.product is Product.DELIVERY and command.side is not (Side.BUY if enters else Side.SELL):
        what = "buys: only intraday orders sell short" if enters else "sells: it closes a position"
        raise invalid("invalid_side", f"An order of class {order_class} for delivery {what}.", param="side")
    types = ("market", "limit") if enters else ("limit",)
    if command.order_type not in types:
        raise invalid(
            "invalid_order_type",
            f"The order_type of an order of class {order_class} is {' or '.join(types)}.",
            param="order_type",
        )
    if command.validity not in (Validity.DAY, Validity.GTC):
        raise invalid(
            "invalid_validity", f"The validity of an order of class {order_class} is day or gtc.", param="validity"
        )
    if command.after_market:
        raise invalid(
            "invalid_after_market", f"An order of class {order_class} takes no after_market.", param="after_market"
        )
    if command.disclosed_quantity is not None:
        raise invalid(
            "invalid_disclosed_quantity",
            f"An order of class {order_class} takes no disclosed_quantity.",
            param="disclosed_quantity",
        )


def _check_sides(command: PlaceOrder, last: int | None, *, price_exp: int) -> None:
    """Of what is held long a target lies above, a stop below: of what is paid, or of the market where the position is
    there already. Of a short position the other way round."""
    sign = -exit_side(command).sign
    known = [price for price in (command.limit_price, last) if price is not None]
    target = command.limit_price if command.order_class is OrderClass.OCO else None
    if target is not None and last is not None and (target - last) * sign <= 0:
        raise _wrong_target("limit_price", sign, last, price_exp)
    for way in command.exits:
        if way.leg is Leg.TARGET and known and way.limit_price is not None and (way.limit_price - known[0]) * sign <= 0:
            raise _wrong_target("take_profit.limit_price", sign, known[0], price_exp)
        if way.trigger_price is None:
            continue
        nearest = min(known, key=lambda price: price * sign, default=None)
        if nearest is not None and (nearest - way.trigger_price) * sign <= 0:
            where = "below" if sign > 0 else "above"
            raise _wrong_stop("stop_loss.trigger_price", where, nearest, price_exp)
        if way.limit_price is not None and (way.limit_price - way.trigger_price) * sign > 0:
            where = "at most" if sign > 0 else "at least"
            raise _wrong_stop("stop_loss.limit_price", where, way.trigger_price, price_exp)


def _wrong_target(field: str, sign: int, price: int, price_exp: int) -> DomainError:
    where = "above" if sign > 0 else "below"
    message = f"{field} must be {where} {format_trimmed(price, price_exp)}."
    return invalid("target_on_the_wrong_side", message, param=field)


def _wrong_stop(field: str, where: str, price: int, price_exp: int) -> DomainError:
    message = f"{field} must be {where} {format_trimmed(price, price_exp)}."
    return invalid("stop_on_the_wrong_side", message, param=field)
