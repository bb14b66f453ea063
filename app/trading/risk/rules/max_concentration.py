"""No position in one instrument above a share of what the account is worth. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.kernel.money import format_scaled
from app.trading.risk.domain import Exposure, Finding, Tighter, finding, share_bps


class Limit(BaseModel):
    """`limit_bps`: the largest share of the equity, in hundredths of a per cent; null: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit_bps: StrictInt | None = Field(default=None, ge=0, le=1_000_000)


class MaxConcentration:
    """Worst case of the position, as in `max_position`, over the equity, rounded up. Figures are in per cent."""

    name = "max_concentration"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit_bps": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.limit_bps is None:
            return None
        share = share_bps(exposure.value_of(exposure.worst_position()), exposure.equity_minor)
        denied = not exposure.reduces and (share is None or share > parameters.limit_bps)
        return finding(
            self.name,
            denied,
            limit=format_scaled(parameters.limit_bps, 2),
            value="no equity" if share is None else format_scaled(share, 2),
            message="Too much of the account could be in one instrument; order less, or cancel open orders.",
        )


PLUGIN = MaxConcentration()
