"""No position in one instrument above a value, even if every open order of its side fills. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.money import format_scaled, parse_scaled
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit` is a decimal string in the account's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: str = Field(default="500000.00", pattern=r"^[0-9]{1,15}(\.[0-9]{1,2})?$")


class MaxPosition:
    """Worst case: what is held, what is open on the order's side and the order itself, at the order's price."""

    name = "max_position"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding:
        limit = parse_scaled(parameters.limit, exposure.money_exp, param="limit")
        value = exposure.value_of(exposure.worst_position())
        denied = not exposure.reduces and value > limit
        return finding(
            self.name,
            denied,
            limit=format_scaled(limit, exposure.money_exp),
            value=format_scaled(value, exposure.money_exp),
            message="The position could grow above its limit; order less, or cancel open orders.",
        )


PLUGIN = MaxPosition()
