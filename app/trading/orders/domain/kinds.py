"""What a plug-in of `orders/types` decides: the fields that its orders take, their checks, what they hold, when they
are sent, and what they are at the venue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from app.engine.fills import SlippageModel, slipped
from app.kernel.errors import invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import Rounding, divide, format_trimmed
from app.kernel.orders import OrderType, Side, Validity
from app.market.instruments.domain import check_price
from app.trading.orders.domain.asked import Context, PlaceOrder
from app.trading.risk.domain import Finding

MARKET_BUFFER_BPS = 50
"""What a market order holds beyond the last price and its slippage: it fills at a price nobody knows yet."""

BPS = 10_000
PLAIN_VALIDITIES = frozenset({Validity.DAY, Validity.GTC, Validity.TTL})
"""Of whatever rests at the venue."""

_REFUSED = {
    "limit_price": "invalid_limit_price",
    "trigger_price": "invalid_trigger_price",
    "market_protection": "invalid_market_protection",
    "disclosed_quantity": "invalid_disclosed_quantity",
    "parameters": "invalid_parameters",
}
_FIELDS = {name: "market_protection_bps" if name == "market_protection" else name for name in _REFUSED}


@dataclass(frozen=True, slots=True)
class AtVenue:
    """What is sent."""

    order_type: OrderType
    validity: Validity
    limit_price: int | None
    trigger_price: int | None


@dataclass(frozen=True, slots=True)
class Waits:
    """An order that is not sent before a price touches `trigger_price`. That follows the market in the order's favour
    at a distance, if one is given: `trail_by`, or `trail_bps` of the price."""

    trigger_price: int
    trail_by: int | None = None
    trail_bps: int | None = None


class OrderKind:
    """A plug-in of `orders/types`; pure. `needs` and `takes` name the fields that its orders must and may have."""

    name: str
    title: str
    Parameters: type[BaseModel] | None = None
    needs: ClassVar[frozenset[str]] = frozenset()
    takes: ClassVar[frozenset[str]] = frozenset()
    validities: ClassVar[frozenset[Validity]] = PLAIN_VALIDITIES

    def check(self, command: PlaceOrder, context: Context) -> None:
        """What is wrong whatever the time, beyond the fields: raises, and nothing is written."""

    def findings(self, command: PlaceOrder, context: Context) -> Sequence[Finding]:
        """What the market's state has to say: a denial is stored, with its figures."""
        return ()

    def price(self, command: PlaceOrder, context: Context) -> int | None:
        """What the order is valued at by the rules; None while the feed shows no price."""
        return command.limit_price or context.last_price

    def worst_price(self, command: PlaceOrder, context: Context, price: int) -> int:
        """What a buy may have to pay, as far as one can know: the hold is made of it."""
        return price

    def protection_bps(self, command: PlaceOrder, context: Context) -> int | None:
        """How much worse than its reference the order may fill, in hundredths of a per cent; None: as it comes."""
        return None

    def protected_price(self, command: PlaceOrder, context: Context) -> int | None:
        """The worst price at which it may fill; None: any."""
        return None

    def waits(self, command: PlaceOrder, context: Context) -> Waits | None:
        """What it waits for with us; None: it is sent at once."""
        return None

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        """What is sent of a stored order."""
        raise NotImplementedError


Kinds = Mapping[str, OrderKind]


def kind_of(command: PlaceOrder, kinds: Kinds) -> OrderKind:
    """Raises `unknown_order_type`."""
    kind = kinds.get(command.order_type)
    if kind is None:
        known = ", ".join(sorted(kinds))
        raise invalid("unknown_order_type", f"order_type must be one of {known}.", param="order_type")
    return kind


def check_fields(command: PlaceOrder, kind: OrderKind, rules: TradingRules, *, price_exp: int) -> None:
    """Each field stands where the type takes it, and nowhere else; prices are on the tick. Raises by the field."""
    for name, code in _REFUSED.items():
        given = getattr(command, _FIELDS[name]) is not None
        if given and name not in kind.needs | kind.takes:
            raise invalid(code, f"A {kind.name} order takes no {name}.", param=name)
        if not given and name in kind.needs:
            raise invalid(code, f"A {kind.name} order needs {name}.", param=name)
    if command.validity not in kind.validities:
        known = ", ".join(sorted(kind.validities))
        raise invalid("invalid_validity", f"The validity of a {kind.name} order is one of {known}.", param="validity")
    if (command.validity is Validity.TTL) != (command.validity_minutes is not None):
        wants = "needs" if command.validity is Validity.TTL else "takes no"
        raise invalid(
            "invalid_validity_minutes",
            f"A {command.validity} order {wants} validity_minutes.",
            param="validity_minutes",
        )
    if command.after_market and command.validity not in (Validity.DAY, Validity.GTC):
        raise invalid(
            "invalid_after_market",
            f"An order with validity {command.validity} cannot be placed for the next session.",
            param="after_market",
        )
    for name in ("limit_price", "trigger_price"):
        price = getattr(command, name)
        if price is not None:
            check_price(price, rules, price_exp=price_exp, param=name)


def check_stop_side(command: PlaceOrder, context: Context) -> None:
    """A stop waits on the far side of the market: raises `stop_on_the_wrong_side` when a price is known and it does
    not."""
    trigger, last = command.trigger_price, context.last_price
    if trigger is None or last is None or (trigger - last) * command.side.sign > 0:
        return
    wants = "above" if command.side is Side.BUY else "below"
    raise invalid(
        "stop_on_the_wrong_side",
        f"The trigger_price of a {command.side} stop must be {wants} the last price, "
        f"{format_trimmed(last, context.instrument['price_exp'])}.",
        param="trigger_price",
    )


def expected(price: int, command: PlaceOrder, context: Context) -> int:
    """What trading at the market near `price` may come to, with slippage and a buffer."""
    model = SlippageModel(context.account["slippage_bps"] + MARKET_BUFFER_BPS)
    return slipped(price, command.side, tick=context.instrument["tick"], slippage=model)


def protected(price: int, bps: int, command: PlaceOrder, context: Context) -> int:
    """The worst price within `bps` of `price`, on the tick; at least one tick."""
    tick: int = context.instrument["tick"]
    rounding = Rounding.FLOOR if command.side is Side.BUY else Rounding.CEILING
    return max(divide(price * (BPS + command.side.sign * bps), BPS * tick, rounding), 1) * tick
