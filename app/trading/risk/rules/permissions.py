"""Only products and segments that are permitted. Reductions pass."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.orders import Product
from app.trading.risk.domain import Exposure, Finding, Tighter, finding


class Limit(BaseModel):
    """`products` and `segments` (the venue's own names, such as NSE's EQ); null: all. Of several levels, what all of
    them permit."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    products: tuple[Product, ...] | None = None
    segments: tuple[Annotated[str, Field(max_length=32)], ...] | None = Field(default=None, max_length=100)


class Permissions:
    """By the order's product and the instrument's segment."""

    name = "permissions"
    Parameters = Limit
    tighter: ClassVar[dict[str, Tighter]] = {"products": Tighter.COMMON, "segments": Tighter.COMMON}

    def check(self, exposure: Exposure, parameters: Limit) -> Finding | None:
        if parameters.products is None and parameters.segments is None:
            return None
        allowed = [
            asked in permitted
            for asked, permitted in ((exposure.product, parameters.products), (exposure.segment, parameters.segments))
            if permitted is not None
        ]
        return finding(
            self.name,
            not exposure.reduces and not all(allowed),
            limit=", ".join((*(parameters.products or ()), *(parameters.segments or ()))),
            value=f"{exposure.product}, {exposure.segment}",
            message="The product or the segment is not permitted; trade another, or have it permitted.",
        )


PLUGIN = Permissions()
