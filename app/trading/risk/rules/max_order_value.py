"""No single order above a value. Reductions pass: getting out must always be possible."""

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.money import format_scaled, parse_scaled
from app.trading.risk.domain import Exposure, Finding


class Limit(BaseModel):
    """`limit` is a decimal string in the account's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: str = Field(default="250000.00", pattern=r"^[0-9]{1,15}(\.[0-9]{1,2})?$")


class MaxOrderValue:
    """Quantity × (limit price, or last price of a market order) at most `limit`."""

    name = "max_order_value"
    Parameters = Limit

    def check(self, exposure: Exposure, parameters: Limit) -> Finding:
        limit = parse_scaled(parameters.limit, exposure.money_exp, param="limit")
        denied = not exposure.reduces and exposure.notional_minor > limit
        return Finding(
            rule=self.name,
            verdict="deny" if denied else "pass",
            limit=format_scaled(limit, exposure.money_exp),
            value=format_scaled(exposure.notional_minor, exposure.money_exp),
            message="The order is worth more than one order may be; order less." if denied else "",
        )


PLUGIN = MaxOrderValue()
