"""No price that the venue would refuse, and no new risk in what it has halted."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from app.kernel.money import format_trimmed
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """No parameters: the venue says what holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceBand:
    """A limit price outside the day's band is denied, reductions too: a market order is the way out. While the venue
    has halted the instrument, only reductions pass."""

    name = "price_band"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        lower, upper, price = exposure.band_lower, exposure.band_upper, exposure.limit_price
        if lower is None and upper is None and not exposure.venue_halted:
            return None
        outside = price is not None and ((lower is not None and price < lower) or (upper is not None and price > upper))
        halted = exposure.venue_halted and not exposure.reduces
        shown = [format_trimmed(bound, exposure.price_exp) if bound is not None else "" for bound in (lower, upper)]
        return finding(
            self.name,
            outside or halted,
            limit="halted" if halted else " to ".join(shown),
            value="market" if price is None else format_trimmed(price, exposure.price_exp),
            message="The venue has halted trading in it; wait." if halted else "Move the price into the day's band.",
        )


PLUGIN = PriceBand()
