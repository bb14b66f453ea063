"""No more working orders than a person or a program can mean. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit` counts the account's working orders, the new one included."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: StrictInt = Field(default=50, ge=0, le=1_000_000)


class MaxOpenOrders:
    """Working orders of the account with this one, at most `limit`."""

    name = "max_open_orders"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding:
        count = exposure.open_orders + 1
        denied = not exposure.reduces and count > parameters.limit
        return finding(
            self.name,
            denied,
            limit=str(parameters.limit),
            value=str(count),
            message="Too many orders are working; cancel some or wait.",
        )


PLUGIN = MaxOpenOrders()
