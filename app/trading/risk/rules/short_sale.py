"""Nobody sells for delivery what he does not hold. Intraday he may sell short, on margin, where no level forbids it."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, StrictBool

from app.kernel.money import format_scaled
from app.kernel.orders import Product, Side
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`forbid_intraday`: whether intraday orders may not sell short either. For delivery no level may loosen it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    forbid_intraday: StrictBool = False


class ShortSale:
    """Free = what the order's book holds, less what is being sold of it already, or may have been."""

    name = "short_sale"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"forbid_intraday": Tighter.HIGHER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        on_margin = exposure.product is Product.INTRADAY and not parameters.forbid_intraday
        if exposure.side is Side.BUY or on_margin:
            return None
        return finding(
            self.name,
            exposure.quantity > exposure.book_free,
            limit=format_scaled(max(exposure.book_free, 0), exposure.qty_exp),
            value=format_scaled(exposure.quantity, exposure.qty_exp),
            message="Selling more than is held and not already being sold is not possible here; sell less.",
        )


PLUGIN = ShortSale()
