"""No more at risk, over all instruments, than a multiple of what the account is worth. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.kernel.money import format_scaled
from app.trading.risk.domain import Exposure, Finding, Tighter, finding, share_bps


class Limit(BaseModel):
    """`limit_bps`: 10000 is once the equity; null: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit_bps: StrictInt | None = Field(default=None, ge=0, le=1_000_000)


class MaxLeverage:
    """All positions by size, what working orders hold and the order itself, over the equity, rounded up. Figures are in
    per cent."""

    name = "max_leverage"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit_bps": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.limit_bps is None:
            return None
        order = max(exposure.notional_minor, exposure.hold_minor)
        share = share_bps(exposure.gross_minor + exposure.pending_minor + order, exposure.equity_minor)
        denied = not exposure.reduces and (share is None or share > parameters.limit_bps)
        return finding(
            self.name,
            denied,
            limit=format_scaled(parameters.limit_bps, 2),
            value="no equity" if share is None else format_scaled(share, 2),
            message="The account could risk too large a multiple of its equity; order less, or reduce positions.",
        )


PLUGIN = MaxLeverage()
