"""Decides what the engine can trade, and turns instruments into the static array. Refusals name the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from app.engine.apply import Scale
from app.engine.bars import Int64
from app.engine.columns import STATIC, Static
from app.engine.layout import FIELDS, Field
from app.kernel.errors import invalid
from app.kernel.money import currency_exponent
from app.kernel.orders import Product


@dataclass(frozen=True, slots=True)
class Instrument:
    """One slot of a run. `tick` at `price_exp`, `lot` at `qty_exp`. `kind` other than `equity` is refused for now.

    `money_exp` None: the currency's own exponent; benchmarks may run the book at a finer one.
    """

    instrument_id: UUID
    currency: str
    price_exp: int
    qty_exp: int = 0
    tick: int = 1
    lot: int = 1
    product: Product = Product.DELIVERY
    kind: str = "equity"
    money_exp: int | None = None

    @property
    def scale(self) -> Scale:
        money = currency_exponent(self.currency) if self.money_exp is None else self.money_exp
        return Scale(self.price_exp, self.qty_exp, money)


def static_array(instruments: Sequence[Instrument]) -> Int64:
    """i8 (slots, STATIC). Raises `unsupported_instrument` for what the engine cannot run yet."""
    if not instruments:
        raise invalid("unsupported_instrument", "A run needs at least one instrument.", param="instruments")
    static = np.zeros((len(instruments), STATIC), np.int64)
    for slot, one in enumerate(instruments):
        param = f"instruments[{slot}]"
        if one.kind != "equity":
            raise invalid("unsupported_instrument", f"{one.kind} cannot be traded yet; only cash equity.", param=param)
        if one.currency != instruments[0].currency:
            raise invalid("unsupported_instrument", "All instruments of a run share one currency for now.", param=param)
        if not (0 <= one.price_exp <= 9 and 0 <= one.qty_exp <= 9 and one.tick > 0 and one.lot > 0):
            raise invalid("unsupported_instrument", "Exponents are 0 to 9; tick and lot are positive.", param=param)
        shift = one.qty_exp + one.price_exp - one.scale.money_exp
        static[slot, Static.MULTIPLY] = 10 ** max(-shift, 0)
        static[slot, Static.DIVIDE] = 10 ** max(shift, 0)
        static[slot, Static.TICK], static[slot, Static.LOT] = one.tick, one.lot
        static[slot, Static.UNIT] = 10**one.qty_exp
        static[slot, Static.PRODUCT] = list(Product).index(one.product)
        static[slot, Static.PRICE_SCALE], static[slot, Static.MONEY_SCALE] = (
            10**one.price_exp,
            10**one.scale.money_exp,
        )
    return static


def scales(static: Int64) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """f8 (slots, FIELDS): what one natural unit of each field is."""
    found = np.empty((static.shape[0], FIELDS), np.float64)
    found[:] = static[:, Static.PRICE_SCALE][:, None]
    found[:, Field.VOLUME] = static[:, Static.UNIT]
    return found
