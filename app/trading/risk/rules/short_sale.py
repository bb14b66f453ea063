"""Nobody sells what he does not hold: a short position has no margin behind it yet."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from app.kernel.money import format_scaled
from app.kernel.orders import Side
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """No parameters: no level may loosen it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ShortSale:
    """Free = what the order's book holds, less what is being sold of it already, or may have been."""

    name = "short_sale"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if exposure.side is Side.BUY:
            return None
        return finding(
            self.name,
            exposure.quantity > exposure.book_free,
            limit=format_scaled(max(exposure.book_free, 0), exposure.qty_exp),
            value=format_scaled(exposure.quantity, exposure.qty_exp),
            message="Selling more than is held and not already being sold is not possible; sell less.",
        )


PLUGIN = ShortSale()
