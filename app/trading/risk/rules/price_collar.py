"""No limit price far from the market: a slip of the finger should not buy at ten times the price."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.kernel.money import Rounding, divide, format_scaled
from app.kernel.orders import Side
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit_bps`: the largest distance from the last price, in hundredths of a per cent."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit_bps: StrictInt = Field(default=2_000, ge=0, le=10_000)


class PriceCollar:
    """Only the harmful direction counts: a buy far above the last price, a sell far below it. Reductions obey too: a
    market order is the way out. Figures are in per cent of the last price."""

    name = "price_collar"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit_bps": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding:
        last, limit_price = exposure.last_price, exposure.limit_price
        away = 0
        if last is not None and limit_price is not None:
            worse = limit_price - last if exposure.side is Side.BUY else last - limit_price
            away = divide(max(worse, 0) * 10_000, last, Rounding.UP)
        denied = last is None or away > parameters.limit_bps
        return finding(
            self.name,
            denied,
            limit=format_scaled(parameters.limit_bps, 2),
            value=format_scaled(away, 2),
            message="The limit price is too far from the last price; move it closer.",
        )


PLUGIN = PriceCollar()
