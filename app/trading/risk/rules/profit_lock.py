"""No new risk on a day that has earned enough: what was won is kept. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.money import format_scaled, parse_scaled
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit` is a decimal string in the account's currency; null: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: str | None = Field(default=None, pattern=r"^[0-9]{1,15}(\.[0-9]{1,2})?$")


class ProfitLock:
    """Profit = the day's highest equity that a decision has seen, less the equity at its first decision."""

    name = "profit_lock"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.limit is None:
            return None
        limit = parse_scaled(parameters.limit, exposure.money_exp, param="limit")
        profit = max(exposure.high_equity_minor - exposure.opening_equity_minor, 0)
        return finding(
            self.name,
            not exposure.reduces and profit >= limit,
            limit=format_scaled(limit, exposure.money_exp),
            value=format_scaled(profit, exposure.money_exp),
            message="The account has earned its day's profit; it may only reduce positions today.",
        )


PLUGIN = ProfitLock()
