"""No new risk on a price that the market has left behind. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit_s`: the largest age of the last price, in seconds of the market's clock; null: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit_s: StrictInt | None = Field(default=None, ge=0, le=31_536_000)


class StalePrice:
    """Age = the feed's clock less the time of the instrument's last price."""

    name = "stale_price"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit_s": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.limit_s is None:
            return None
        age = exposure.price_age_s
        return finding(
            self.name,
            not exposure.reduces and (age is None or age > parameters.limit_s),
            limit=str(parameters.limit_s),
            value="unknown" if age is None else str(max(age, 0)),
            message="The last price is too old to judge the order by; wait until the feed shows a new one.",
        )


PLUGIN = StalePrice()
