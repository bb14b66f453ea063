"""Decides when a price fills an order, and at what price: the one rule of simulator and paper venue.

A market order fills at the first price after it arrived, moved against it by the slippage model. A limit order fills
only on *trade-through*: a buy when the price is below its limit, a sell when above; a touch is no fill. It fills at
the price itself when the market reached that price without trading at the limit in between (the first price after
arrival, or a bar's opening price: a gap), else at its limit. A stop is set off by a touch of its trigger price, and
trades there, or at a gap's price, with slippage; one with a limit that this is beyond becomes a limit order.

Nothing here caps the quantity at the traded volume yet: an order fills whole. The volume is part of the event so that
a participation cap changes this module alone.
"""

from dataclasses import dataclass

from app.kernel.money import Rounding, divide
from app.kernel.orders import OrderType, Side

BPS = 10_000


@dataclass(frozen=True, slots=True)
class SlippageModel:
    """A market order pays `bps` hundredths of a percent of the price, rounded against it to the tick.

    With `bps` 0 it pays the price itself, even one off the tick grid: somebody traded there.
    """

    bps: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.bps < BPS:
            raise ValueError("slippage must be at least 0 and below 10,000 basis points")


NO_SLIPPAGE = SlippageModel()


@dataclass(frozen=True, slots=True)
class PriceEvent:
    """One price the market showed. `first` marks a bar's opening price: what lies before it is a gap."""

    price: int
    volume: int
    first: bool


def slipped(price: int, side: Side, *, tick: int, slippage: SlippageModel) -> int:
    """The price a market order pays: at `price_exp`, adverse to `side`, never below one tick."""
    if slippage.bps == 0:
        return price
    rounding = Rounding.CEILING if side is Side.BUY else Rounding.FLOOR
    ticks = divide(price * (BPS + side.sign * slippage.bps), BPS * tick, rounding)
    return max(ticks, 1) * tick


def match(
    *,
    side: Side,
    order_type: OrderType,
    limit_price: int | None,
    remaining: int,
    price: int,
    volume: int,
    first: bool,
    first_after_arrival: bool,
    tick: int = 1,
    slippage: SlippageModel = NO_SLIPPAGE,
) -> tuple[int, int] | None:
    """`(price, quantity)` when this price event fills the order, else None. Prices at `price_exp`, quantity unsigned.

    `first`: the event is a bar's opening price. `first_after_arrival`: the order has seen no price before this one.
    """
    del volume
    if remaining <= 0 or price <= 0:
        return None
    if order_type is OrderType.MARKET:
        return slipped(price, side, tick=tick, slippage=slippage), remaining
    if limit_price is None:
        raise ValueError("a limit order needs a limit price")
    through = price < limit_price if side is Side.BUY else price > limit_price
    if not through:
        return None
    return (price if first or first_after_arrival else limit_price), remaining


def triggered(
    *,
    side: Side,
    trigger_price: int,
    price: int,
    gap: bool,
    tick: int = 1,
    slippage: SlippageModel = NO_SLIPPAGE,
) -> int | None:
    """The price at which a stop trades once `price` was shown, at `price_exp`; None: it is not set off.

    `gap`: the market came there without showing what lies between, as at a bar's opening price.
    """
    if price <= 0 or (price - trigger_price) * side.sign < 0:
        return None
    return slipped(price if gap else trigger_price, side, tick=tick, slippage=slippage)


def bar_path(*, open: int, high: int, low: int, close: int, volume: int) -> tuple[PriceEvent, ...]:
    """The prices a closed bar stands for: open, the extreme against the bar's own direction, the other one, close.

    Under `match` the order of the extremes changes no fill of one order, only the sequence of fills of several.
    """
    middle = (low, high) if close >= open else (high, low)
    shares = (0, 0, 0, volume)
    prices = (open, *middle, close)
    return tuple(PriceEvent(p, v, i == 0) for i, (p, v) in enumerate(zip(prices, shares, strict=True)))
