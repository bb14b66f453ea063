"""What order types take and show over the API: one word for one thing, whichever types share it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.kernel.instrument import InstrumentScale
from app.kernel.money import format_scaled, format_trimmed, parse_scaled
from app.kernel.orders import Product, Side, Validity
from app.web.models import ApiModel, Flag, PositiveDecimal, WholeNumber

_VALIDITY = (
    "`day` ends with the session, `gtc` when cancelled, `ioc` at the first price it meets, `ttl` after "
    "`validity_minutes`; `gtt` waits here over sessions until its trigger is touched, then is sent for that session."
)


class OrderTerms(ApiModel):
    """How an order shall trade."""

    side: Side
    order_type: str
    quantity: PositiveDecimal = Field(description="Units; a multiple of the instrument's lot.")
    limit_price: PositiveDecimal | None = Field(default=None, description="The worst price: a multiple of the tick.")
    trigger_price: PositiveDecimal | None = Field(
        default=None, description="Of a stop: the price that sets it off when it is touched; a multiple of the tick."
    )
    market_protection: PositiveDecimal | None = Field(
        default=None,
        description="Per cent, at most 100: how much worse than the last price (of a stop: than its trigger) it may "
        "fill; what would is cancelled. By default what the account's broker asks for.",
    )
    disclosed_quantity: PositiveDecimal | None = Field(
        default=None,
        description="The part of the quantity that the market is shown: by a broker that hides the rest itself, else "
        "by slices that are sent one at a time.",
    )
    product: Product = Product.DELIVERY
    validity: Validity = Field(default=Validity.DAY, description=_VALIDITY)
    validity_minutes: WholeNumber | None = Field(
        default=None, ge=1, le=1440, description="Of a `ttl` order: how long it lives, by the market's clock."
    )
    after_market: Flag = Field(
        default=False, description="Placed while the session is closed: it waits here, and is sent when it opens."
    )
    parameters: dict[str, Any] | None = Field(default=None, description="What this order type alone takes.")

    def scaled(self, scale: InstrumentScale) -> dict[str, Any]:
        """The same as fields of `PlaceOrder`. Raises `too_precise`, `out_of_range`."""
        prices = {
            name: _scaled(getattr(self, name), scale.price_exp, name) for name in ("limit_price", "trigger_price")
        }
        return prices | {
            "side": self.side,
            "order_type": self.order_type,
            "quantity": parse_scaled(self.quantity, scale.qty_exp, param="quantity"),
            "market_protection_bps": _scaled(self.market_protection, 2, "market_protection"),
            "disclosed_quantity": _scaled(self.disclosed_quantity, scale.qty_exp, "disclosed_quantity"),
            "product": self.product,
            "validity": self.validity,
            "validity_minutes": self.validity_minutes,
            "after_market": self.after_market,
        }


def _scaled(value: str | None, exponent: int, param: str) -> int | None:
    return None if value is None else parse_scaled(value, exponent, param=param)


class ModifyOrder(ApiModel):
    """What `PATCH /v1/orders/{id}` takes; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"quantity": "12", "limit_price": "210.30"}]})

    quantity: PositiveDecimal | None = Field(default=None, description="Of the whole order, fills included.")
    limit_price: PositiveDecimal | None = Field(default=None, description="The worst price: a multiple of the tick.")
    trigger_price: PositiveDecimal | None = Field(default=None, description="Of a stop that was not set off yet.")
    validity: Literal["day", "gtc", "ioc"] | None = Field(
        default=None, description="Of an order that has one of these; at a broker, where it takes such changes."
    )
    parameters: dict[str, Any] | None = Field(
        default=None, description="What its order type alone takes, all of it; of an order that was not sent yet."
    )

    def scaled(self, scale: InstrumentScale) -> dict[str, Any]:
        """Raises `too_precise`, `out_of_range`."""
        return {
            "quantity": _scaled(self.quantity, scale.qty_exp, "quantity"),
            "limit_price": _scaled(self.limit_price, scale.price_exp, "limit_price"),
            "trigger_price": _scaled(self.trigger_price, scale.price_exp, "trigger_price"),
            "validity": None if self.validity is None else Validity(self.validity),
            "parameters": self.parameters,
        }


class PendingChange(ApiModel):
    """What the broker is being asked to make of an order."""

    quantity: str = Field(description="Of the whole order.")
    limit_price: str | None
    trigger_price: str | None = Field(description="Of a stop.")
    validity: Validity | None = Field(description="How long it shall live; null when that was not asked for.")

    @classmethod
    def of(cls, change: dict[str, Any], scale: InstrumentScale) -> "PendingChange":
        prices = {name: change[name] for name in ("limit_price", "trigger_price")}
        texts = {name: None if one is None else format_trimmed(one, scale.price_exp) for name, one in prices.items()}
        quantity = format_scaled(change["quantity"], scale.qty_exp)
        return cls(quantity=quantity, validity=change.get("validity"), **texts)


class OrderTermsOut(ApiModel):
    """How an order trades."""

    side: Side
    order_type: str
    quantity: str
    limit_price: str | None
    trigger_price: str | None = Field(description="Of a stop: the price that sets it off.")
    market_protection: str | None = Field(description="Per cent; null when it fills at any price.")
    protected_price: str | None = Field(description="No fill is worse; null when there is no such bound.")
    disclosed_quantity: str | None = Field(description="What the market is shown of it; null for all.")
    product: Product
    validity: Validity = Field(description=_VALIDITY)
    validity_minutes: int | None = Field(description="How long a `ttl` order lives.")
    expires_at: datetime | None = Field(description="When a `ttl` order ends, by the market's clock.")
    after_market: bool = Field(description="Whether it was placed for the next session.")
    triggered_at: datetime | None = Field(description="When the trigger of a stop was touched, by the market's clock.")
    parameters: dict[str, Any] | None = Field(description="What its order type alone takes.")
    pending_change: PendingChange | None = Field(
        description="What the broker is being asked to make of it; `order.modified` or `order.modify_rejected` follows."
    )

    @classmethod
    def shown(cls, order: Any, scale: InstrumentScale) -> dict[str, Any]:
        """The fields of a stored order."""
        prices = ("limit_price", "trigger_price", "protected_price")
        found = {name: getattr(order, name) for name in (*prices, "market_protection_bps", "disclosed_quantity")}
        exponents = dict.fromkeys(prices, scale.price_exp) | {
            "market_protection_bps": 2,
            "disclosed_quantity": scale.qty_exp,
        }
        texts = {
            name: None if value is None else format_trimmed(value, exponents[name], places=2 if name in prices else 0)
            for name, value in found.items()
        }
        return texts | {
            "market_protection": texts.pop("market_protection_bps"),
            "side": Side(order.side),
            "order_type": order.order_type,
            "quantity": format_scaled(order.quantity, scale.qty_exp),
            "product": Product(order.product),
            "validity": Validity(order.validity),
            "validity_minutes": order.validity_minutes,
            "expires_at": order.expires_at,
            "after_market": order.after_market,
            "triggered_at": order.triggered_at,
            "parameters": order.parameters,
            "pending_change": PendingChange.of(order.pending_change, scale) if order.pending_change else None,
        }
