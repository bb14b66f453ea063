"""No more orders in a second or a day than the venue or the tenant wants. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`per_second` and `per_day` count the account's orders with this one; null: none. A day begins at 00:00 UTC."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    per_second: StrictInt | None = Field(default=None, ge=0, le=1_000)
    per_day: StrictInt | None = Field(default=None, ge=0, le=10_000_000)


class OrderRate:
    """Counts orders that passed the rules. NSE takes 10 a second without a registered algo (SEBI's framework for retail
    algos)."""

    name = "order_rate"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"per_second": Tighter.LOWER, "per_day": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        counts = [
            (limit, made + 1)
            for limit, made in (
                (parameters.per_second, exposure.orders_this_second),
                (parameters.per_day, exposure.orders_today),
            )
            if limit is not None and made is not None
        ]
        if not counts:
            return None
        limit, count = max(counts, key=lambda one: one[1] - one[0])
        return finding(
            self.name,
            not exposure.reduces and count > limit,
            limit=str(limit),
            value=str(count),
            message="Too many orders in the second or the day; wait.",
        )


PLUGIN = OrderRate()
