"""No new risk while the market is closed, where that is wanted. Reductions pass and wait for the open."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, StrictBool

from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`open_only`: entries only during a continuous session of the instrument's venue."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    open_only: StrictBool = False


class MarketHours:
    """By the feed's clock and the venue's calendar."""

    name = "market_hours"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"open_only": Tighter.HIGHER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if not parameters.open_only:
            return None
        return finding(
            self.name,
            not exposure.reduces and not exposure.session_open,
            limit="open",
            value="open" if exposure.session_open else "closed",
            message="The market is closed; order again when it is open.",
        )


PLUGIN = MarketHours()
