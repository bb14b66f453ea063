"""No order that could trade with one of the account's own, where that is wanted."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, StrictBool

from app.kernel.orders import Side
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`prevent`: deny it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prevent: StrictBool = False


class SelfTrade:
    """Its price meets a working order of the other side. Reductions obey too: taking that order back is the way out."""

    name = "self_trade"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"prevent": Tighter.HIGHER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if not parameters.prevent:
            return None
        other = exposure.lowest_sell if exposure.side is Side.BUY else exposure.highest_buy
        price = exposure.limit_price
        if other is None:
            meets = False
        elif price is None:
            meets = True
        else:
            meets = price >= other if exposure.side is Side.BUY else price <= other
        return finding(
            self.name,
            meets,
            limit="none",
            value="meets an own order" if meets else "none",
            message="It could trade with an own working order of the other side; cancel that one first.",
        )


PLUGIN = SelfTrade()
