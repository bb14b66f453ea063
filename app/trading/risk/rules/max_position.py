"""No position in one instrument above a value, even if every open order of its side fills. Reductions pass."""

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.money import format_scaled, notional_minor, parse_scaled
from app.kernel.orders import Side
from app.trading.risk.domain import Exposure, Finding


class Limit(BaseModel):
    """`limit` is a decimal string in the account's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: str = Field(default="500000.00", pattern=r"^[0-9]{1,15}(\.[0-9]{1,2})?$")


class MaxPosition:
    """Worst case: what is held, what is open on the order's side and the order itself, at the order's price."""

    name = "max_position"
    Parameters = Limit

    def check(self, exposure: Exposure, parameters: Limit) -> Finding:
        limit = parse_scaled(parameters.limit, exposure.money_exp, param="limit")
        held, buy, sell = exposure.position_quantity, exposure.open_buy, exposure.open_sell
        worst = held + buy + exposure.quantity if exposure.side is Side.BUY else -(held - sell - exposure.quantity)
        value = notional_minor(
            max(worst, 0),
            exposure.price,
            qty_exp=exposure.qty_exp,
            price_exp=exposure.price_exp,
            money_exp=exposure.money_exp,
        )
        denied = not exposure.reduces and value > limit
        return Finding(
            rule=self.name,
            verdict="deny" if denied else "pass",
            limit=format_scaled(limit, exposure.money_exp),
            value=format_scaled(value, exposure.money_exp),
            message="The position could grow above its limit; order less, or cancel open orders." if denied else "",
        )


PLUGIN = MaxPosition()
