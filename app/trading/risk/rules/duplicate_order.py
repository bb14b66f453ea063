"""Not the same order twice in a moment: a slip of the finger, or a program gone wrong. Reductions pass."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`within_s`: how many seconds must lie between two orders of one side, quantity and price; null: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    within_s: StrictInt | None = Field(default=None, ge=1, le=300)


class DuplicateOrder:
    """Counts the account's orders of the instrument that passed the rules."""

    name = "duplicate_order"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"within_s": Tighter.HIGHER}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.within_s is None or exposure.recent is None:
            return None
        asked = (exposure.side.value, exposure.quantity, exposure.limit_price)
        ages = [age for *like, age in exposure.recent if tuple(like) == asked and age <= parameters.within_s]
        return finding(
            self.name,
            bool(ages) and not exposure.reduces,
            limit=str(parameters.within_s),
            value=str(min(ages)) if ages else "none",
            message="The same order was placed a moment ago; if you mean it, wait and place it again.",
        )


PLUGIN = DuplicateOrder()
