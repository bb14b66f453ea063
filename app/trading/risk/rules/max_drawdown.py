"""No new risk after too large a loss from the account's highest equity. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.kernel.money import format_scaled
from app.trading.risk.domain import Exposure, Finding, Tighter, finding, share_bps


class Limit(BaseModel):
    """`limit_bps`: the largest loss of the highest equity, in hundredths of a per cent; null: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit_bps: StrictInt | None = Field(default=None, ge=0, le=10_000)


class MaxDrawdown:
    """The highest is the highest that a decision has seen. Figures are in per cent of it, rounded up."""

    name = "max_drawdown"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit_bps": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.limit_bps is None:
            return None
        loss = share_bps(exposure.peak_equity_minor - exposure.equity_minor, exposure.peak_equity_minor)
        denied = not exposure.reduces and (loss is None or loss > parameters.limit_bps)
        return finding(
            self.name,
            denied,
            limit=format_scaled(parameters.limit_bps, 2),
            value="no equity" if loss is None else format_scaled(loss, 2),
            message="The account has lost too much since its highest equity; it may only reduce positions.",
        )


PLUGIN = MaxDrawdown()
