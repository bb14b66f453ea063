"""What a plug-in of `orders/types` decides: the fields that its orders take, their checks, what they hold, when they
are sent, and what they are at the venue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from app.engine.fills import SlippageModel, slipped
from app.kernel.errors import DomainError, Kind, invalid
from app.kernel.instrument import TradingRules
from app.kernel.money import INT64_MAX, Rounding, divide, format_trimmed
from app.kernel.orders import OrderType, Side, Validity
from app.market.instruments.domain import check_price
from app.trading.orders.domain.asked import Context, PlaceOrder
from app.trading.risk.domain import Finding

MARKET_BUFFER_BPS = 50
"""What a market order holds beyond the last price and its slippage: it fills at a price nobody knows yet."""

BPS = 10_000
PLAIN_VALIDITIES = frozenset({Validity.DAY, Validity.GTC, Validity.TTL})
"""Of whatever rests at the venue."""

STOP_VALIDITIES = PLAIN_VALIDITIES | {Validity.GTT}

_BANDS = ((100, 200), (500, 100))
_WIDEST_PRICE_BPS = 50
"""Below a price of 100: 2 per cent; below 500: 1 per cent; from there on half a per cent."""


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
    sent_at_once: ClassVar[bool] = True
    """False: it always waits with us first."""

    rests_as_asked: ClassVar[bool] = False
    """True: of an order that is not `gtt`, `at_venue` is the order as it is stored."""

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

    def waits_changed(self, now: Waits, command: PlaceOrder, context: Context) -> Waits | None:
        """What the order waits for once it is `command`; `now`: what it has been waiting for."""
        return self.waits(command, context)

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        """What is sent of a stored order."""
        raise NotImplementedError


class AtMarket(OrderKind):
    """What trades at the market once its time has come; `reference` is the price that it is expected near."""

    takes: ClassVar[frozenset[str]] = frozenset({"market_protection"})

    def price(self, command: PlaceOrder, context: Context) -> int | None:
        return self.reference(command, context)

    def reference(self, command: PlaceOrder, context: Context) -> int | None:
        return context.last_price

    def worst_price(self, command: PlaceOrder, context: Context, price: int) -> int:
        bound = self.protected_price(command, context)
        return expected(price, command, context) if bound is None else bound

    def protection_bps(self, command: PlaceOrder, context: Context) -> int | None:
        """What was asked for, else what the account's broker wants: the paper venue nothing, an exchange's brokers the
        band that Zerodha applies to equities by itself (Kite Connect, `market_protection` -1)."""
        reference = self.reference(command, context)
        if command.market_protection_bps is not None or context.account["broker"] == "paper" or reference is None:
            return command.market_protection_bps
        unit = 10 ** context.instrument["price_exp"]
        return next((bps for below, bps in _BANDS if reference < below * unit), _WIDEST_PRICE_BPS)

    def protected_price(self, command: PlaceOrder, context: Context) -> int | None:
        reference, bps = self.reference(command, context), self.protection_bps(command, context)
        return None if reference is None or bps is None else protected(reference, bps, command, context)


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
    _check_field(
        "invalid_limit_price", f"A {kind.name} order {{wants}} limit_price.", kind, "limit_price", command.limit_price
    )
    _check_field(
        "invalid_trigger_price",
        f"A {kind.name} order {{wants}} trigger_price.",
        kind,
        "trigger_price",
        command.trigger_price,
    )
    _check_field(
        "invalid_market_protection",
        f"A {kind.name} order {{wants}} market_protection.",
        kind,
        "market_protection",
        command.market_protection_bps,
    )
    _check_field(
        "invalid_disclosed_quantity",
        f"A {kind.name} order {{wants}} disclosed_quantity.",
        kind,
        "disclosed_quantity",
        command.disclosed_quantity,
    )
    _check_field(
        "invalid_parameters", f"A {kind.name} order {{wants}} parameters.", kind, "parameters", command.parameters
    )
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
    if command.after_market and (command.validity not in (Validity.DAY, Validity.GTC) or not kind.sent_at_once):
        raise invalid(
            "invalid_after_market",
            f"A {kind.name} order with validity {command.validity} cannot be placed for the next session.",
            param="after_market",
        )
    if command.market_protection_bps is not None and command.market_protection_bps > BPS:
        raise invalid(
            "invalid_market_protection", "market_protection is at most 100 per cent.", param="market_protection"
        )
    for name in ("limit_price", "trigger_price"):
        price = getattr(command, name)
        if price is not None:
            check_price(price, rules, price_exp=price_exp, param=name)


def _check_field(code: str, message: str, kind: OrderKind, name: str, value: object) -> None:
    """`message` leaves {wants} open."""
    if value is not None and name not in kind.needs | kind.takes:
        raise DomainError(code, Kind.INVALID, message.format(wants="takes no"), param=name)
    if value is None and name in kind.needs:
        raise DomainError(code, Kind.INVALID, message.format(wants="needs"), param=name)


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


def waits_for_trigger(command: PlaceOrder) -> Waits | None:
    """A stop that waits with us over sessions, instead of resting at a venue for one."""
    if command.validity is not Validity.GTT or command.trigger_price is None:
        return None
    return Waits(command.trigger_price)


def trailed(price: int, side: Side, *, trail_by: int | None, trail_bps: int | None, tick: int) -> int:
    """The trigger at its distance from `price`, on the tick away from the market; at least one tick."""
    away = trail_by if trail_by is not None else divide(price * (trail_bps or 0), BPS, Rounding.HALF_UP)
    rounding = Rounding.CEILING if side is Side.BUY else Rounding.FLOOR
    return max(divide(price + side.sign * away, tick, rounding), 1) * tick


def trailed_price(trigger: int, side: Side, *, trail_by: int | None, trail_bps: int | None) -> int:
    """The converse: the price that a trigger is at its distance from."""
    if trail_by is not None:
        return trigger - side.sign * trail_by
    rounding = Rounding.FLOOR if side is Side.BUY else Rounding.CEILING
    return divide(trigger * BPS, BPS + side.sign * (trail_bps or 0), rounding)


def expected(price: int, command: PlaceOrder, context: Context) -> int:
    """What trading at the market near `price` may come to, with slippage and a buffer."""
    model = SlippageModel(context.account["slippage_bps"] + MARKET_BUFFER_BPS)
    return slipped(price, command.side, tick=context.instrument["tick"], slippage=model)


def protected(price: int, bps: int, command: PlaceOrder, context: Context) -> int:
    """The worst price within `bps` of `price`, on the tick; at least one tick. Raises `out_of_range`."""
    tick: int = context.instrument["tick"]
    rounding = Rounding.FLOOR if command.side is Side.BUY else Rounding.CEILING
    worst = max(divide(price * (BPS + command.side.sign * bps), BPS * tick, rounding), 1) * tick
    if worst > INT64_MAX:
        param = "market_protection" if command.trigger_price is None else "trigger_price"
        message = f"{param} is too large: so is the worst price that the order could fill at."
        raise invalid("out_of_range", message, param=param)
    return worst
