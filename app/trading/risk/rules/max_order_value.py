"""No single order above a value. Reductions pass: getting out must always be possible."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.money import format_scaled, parse_scaled
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit` is a decimal string in the account's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: str = Field(default="250000.00", pattern=r"^[0-9]{1,15}(\.[0-9]{1,2})?$")


class MaxOrderValue:
    """Quantity × (limit price, or last price of a market order) at most `limit`."""

    name = "max_order_value"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding:
        limit = parse_scaled(parameters.limit, exposure.money_exp, param="limit")
        denied = not exposure.reduces and exposure.notional_minor > limit
        return finding(
            self.name,
            denied,
            limit=format_scaled(limit, exposure.money_exp),
            value=format_scaled(exposure.notional_minor, exposure.money_exp),
            message="The order is worth more than one order may be; order less.",
        )


PLUGIN = MaxOrderValue()
