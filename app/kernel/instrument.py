"""What an instrument is for life: its identity and its scales. Ticks, lots and bands are dated validation data."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class InstrumentScale:
    """Fixed at listing: prices are integers at 10^-price_exp, quantities at 10^-qty_exp."""

    instrument_id: UUID
    symbol: str
    venue: str
    currency: str
    price_exp: int
    qty_exp: int


@dataclass(frozen=True, slots=True)
class TradingRules:
    """What the exchange asks of an order at one time: prices in `price_exp`, quantities in `qty_exp`."""

    tick: int
    lot: int
    freeze_quantity: int | None
