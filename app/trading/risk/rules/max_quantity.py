"""No single order for more than a quantity. Reductions pass: getting out must always be possible."""

from decimal import Decimal
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.money import format_scaled
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`limit` is a decimal string of units; null: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit: str | None = Field(default=None, pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")


class MaxQuantity:
    """The order's quantity, at most `limit`."""

    name = "max_quantity"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"limit": Tighter.LOWER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.limit is None:
            return None
        denied = not exposure.reduces and Decimal(exposure.quantity).scaleb(-exposure.qty_exp) > Decimal(
            parameters.limit
        )
        return finding(
            self.name,
            denied,
            limit=parameters.limit,
            value=format_scaled(exposure.quantity, exposure.qty_exp),
            message="The order is for more than one order may be; order less.",
        )


PLUGIN = MaxQuantity()
