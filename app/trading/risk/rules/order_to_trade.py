"""No account that orders much and trades little: venues charge and inspect it. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.kernel.money import Rounding, divide
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit`: orders a fill, today; null: none. `after`: as many orders of a day are not judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: StrictInt | None = Field(default=None, ge=1, le=1_000_000)
    after: StrictInt = Field(default=100, ge=0, le=1_000_000)


class OrderToTrade:
    """The day's orders that passed the rules, this one included, over its fills, rounded up."""

    name = "order_to_trade"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit": Tighter.LOWER, "after": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.limit is None or exposure.orders_today is None:
            return None
        orders = exposure.orders_today + 1
        ratio = divide(orders, max(exposure.fills_today or 0, 1), Rounding.UP)
        return finding(
            self.name,
            not exposure.reduces and orders > parameters.after and ratio > parameters.limit,
            limit=str(parameters.limit),
            value=str(ratio),
            message="Too many orders for so few fills; place fewer, at prices that trade.",
        )


PLUGIN = OrderToTrade()
