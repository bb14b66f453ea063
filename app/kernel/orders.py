"""The order vocabulary (FIX's and Kite's terms) that engine, risk, brokers and the API share."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Mode(StrEnum):
    TEST = "test"
    LIVE = "live"


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """What a venue executes. `sl` becomes a limit order once its trigger price is touched, `sl_m` a market order.

    What callers may ask for is more: the plug-ins of `trading/orders/types` say what each becomes at a venue.
    """

    MARKET = "market"
    LIMIT = "limit"
    SL = "sl"
    SL_M = "sl_m"


class Product(StrEnum):
    """What the position becomes: `delivery` is held overnight (Kite's CNC), `intraday` is squared off (MIS)."""

    DELIVERY = "delivery"
    INTRADAY = "intraday"


class Validity(StrEnum):
    """How long an order may live: to the end of its session; until it is cancelled; only as far as it fills at once;
    for some minutes of its session; or, waiting with us over sessions until a price triggers it, then for that session.
    """

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    TTL = "ttl"
    GTT = "gtt"


class OrderStatus(StrEnum):
    DENIED = "denied"
    ACCEPTED = "accepted"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    LOST = "lost"


TERMINAL = frozenset(
    {
        OrderStatus.DENIED,
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
        OrderStatus.LOST,
    }
)
WORKING = frozenset(set(OrderStatus) - TERMINAL)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a strategy wants after one bar: a change of position, before any order exists.

    `quantity` is unsigned, at the instrument's `qty_exp`; `limit_price` at its `price_exp`, None for a market order.
    `leg` numbers the intents of one deployment and bar, so that each has one client order id for ever.
    """

    instrument_id: UUID
    side: Side
    quantity: int
    order_type: OrderType
    limit_price: int | None
    leg: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `quantity` unsigned; `price` at `price_exp`; `charges_minor` in the account's currency."""

    order_id: UUID
    venue_fill_id: str
    instrument_id: UUID
    side: Side
    quantity: int
    price: int
    charges_minor: int
    occurred_at: datetime
    """Market time: the tape's on a replay, the exchange's live."""
