"""What an order takes over the API that brings others along: its class, its exits, its slices."""

from typing import Any, Literal

from pydantic import Field

from app.kernel.ids import encode_id
from app.kernel.instrument import InstrumentScale
from app.kernel.money import parse_scaled
from app.kernel.orders import Leg, OrderClass
from app.trading.orders.domain import Exit
from app.trading.orders.service.terms import OrderTerms, OrderTermsOut
from app.web.models import ApiModel, PositiveDecimal, WholeNumber

_CLASS = (
    "`single` stands alone. `bracket`: an entry with take_profit and stop_loss, of which one cancels the other; `oto`: "
    "with one of them; `cover`: with a stop_loss that stays as long as the position. `oco` closes a position: its own "
    "limit_price is the target, stop_loss the other way out. `iceberg` is sent in `slices`, one at a time; a broker "
    "that hides quantity by itself gets a limit order of at most ten slices as one, with `disclosed_quantity`. What is "
    "above the freeze quantity is sent in up to ten orders, each with exits of its own."
)


class TakeProfit(ApiModel):
    """A limit order that sells what was bought at a profit."""

    limit_price: PositiveDecimal = Field(description="Above what is paid; a multiple of the tick.")


class StopLoss(ApiModel):
    """A stop order that sells what was bought at a loss: type `sl_m`, or `sl` where a limit price is given."""

    trigger_price: PositiveDecimal = Field(description="Below what is paid; a multiple of the tick.")
    limit_price: PositiveDecimal | None = Field(default=None, description="At most the trigger price.")


class GroupTerms(OrderTerms):
    """How an order shall trade, and what goes with it."""

    order_class: Literal["single", "bracket", "oto", "cover", "oco", "iceberg"] = Field(
        default="single", description=_CLASS
    )
    take_profit: TakeProfit | None = Field(default=None, description="Of a `bracket` or an `oto`.")
    stop_loss: StopLoss | None = Field(default=None, description="Of a `bracket`, an `oto`, a `cover` or an `oco`.")
    slices: WholeNumber | None = Field(default=None, description="Of an `iceberg`: 2 to 50.")

    def scaled(self, scale: InstrumentScale) -> dict[str, Any]:
        exits = []
        for leg, field, way in ((Leg.TARGET, "take_profit", self.take_profit), (Leg.STOP, "stop_loss", self.stop_loss)):
            if way is not None:
                prices = {
                    name: parse_scaled(value, scale.price_exp, param=f"{field}.{name}")
                    for name, value in way.model_dump(exclude_none=True).items()
                }
                exits.append(Exit(leg, **{"limit_price": None} | prices))
        group = {"order_class": OrderClass(self.order_class), "slices": self.slices, "exits": tuple(exits)}
        return super().scaled(scale) | group


class GroupTermsOut(OrderTermsOut):
    """How an order trades, and what it belongs to."""

    order_class: OrderClass = Field(description=f"{_CLASS} `sliced`: what is above the freeze quantity.")
    leg: Leg | None = Field(description="What it is in its group; a `whole` is not sent itself, its slices are.")
    parent_id: str | None = Field(description="The order whose slice or exit it is.")

    @classmethod
    def shown(cls, order: Any, scale: InstrumentScale) -> dict[str, Any]:
        return super().shown(order, scale) | {
            "order_class": OrderClass(order.order_class),
            "leg": None if order.leg is None else Leg(order.leg),
            "parent_id": None if order.parent_id is None else encode_id("ord", order.parent_id),
        }
