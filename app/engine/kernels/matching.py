"""When a price fills an order, and at what price. Market and limit: the compiled form of `app.engine.fills.match`."""

from app.engine.columns import MARKET, Cause
from app.engine.kernels.integers import multiply_divide
from app.engine.kernels.jit import kernel
from app.engine.layout import BPS

AT_MARKET, GAP, THROUGH, AT_STOP = int(Cause.MARKET), int(Cause.GAP), int(Cause.TRADE_THROUGH), int(Cause.STOP)


@kernel
def slipped(price: int, side: int, tick: int, bps: int) -> int:
    """The price a market order pays."""
    if bps == 0:
        return price
    unit = BPS * tick
    ticks = multiply_divide(price, BPS + side * bps, unit, False)
    if side > 0 and ((price % unit) * (BPS + bps)) % unit != 0:
        ticks += 1
    return max(ticks, 1) * tick


@kernel
def match(
    side: int, kind: int, limit: int, price: int, first: bool, first_after_arrival: bool, tick: int, bps: int
) -> tuple[int, int]:
    """(price, cause) of the fill; price 0: no fill."""
    if price <= 0:
        return 0, AT_MARKET
    if kind == MARKET:
        return slipped(price, side, tick, bps), AT_MARKET
    if (limit - price) * side <= 0:
        return 0, THROUGH
    if first or first_after_arrival:
        return price, GAP
    return limit, THROUGH


@kernel
def triggered(side: int, trigger: int, price: int, first: bool, tick: int, bps: int) -> tuple[int, int]:
    """(price, cause) at which a stop order trades once `price` was shown; price 0: it is not triggered.

    A touch triggers. It trades at its trigger, or at a bar's opening price that lies beyond it (a gap), slipped as
    market orders are.
    """
    if price <= 0 or (price - trigger) * side < 0:
        return 0, AT_STOP
    if first:
        return slipped(price, side, tick, bps), GAP
    return slipped(trigger, side, tick, bps), AT_STOP
