"""No new risk on a day that has lost too much. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.money import format_scaled, parse_scaled
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit` is a decimal string in the account's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: str = Field(default="10000.00", pattern=r"^[0-9]{1,15}(\.[0-9]{1,2})?$")


class MaxDailyLoss:
    """Loss = equity when the account first decided for the trading day, less equity now, at last prices."""

    name = "max_daily_loss"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding:
        limit = parse_scaled(parameters.limit, exposure.money_exp, param="limit")
        loss = exposure.opening_equity_minor - exposure.equity_minor
        denied = not exposure.reduces and loss > limit
        return finding(
            self.name,
            denied,
            limit=format_scaled(limit, exposure.money_exp),
            value=format_scaled(max(loss, 0), exposure.money_exp),
            message="The account has lost its day's limit; it may only reduce positions today.",
        )


PLUGIN = MaxDailyLoss()
