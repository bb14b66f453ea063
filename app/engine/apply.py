"""Decides what a fill, a split or a dividend does to a position: the one reducer of simulator, paper and live.

Average cost by proportion: what is closed takes `cost × closed / quantity`, rounded once, half up; lots (FIFO) are the
business of analytics. Charges are posted beside the position, never inside its cost. For every sequence of fills and
splits, the cash they return sums to `realised - cost`; dividends are income and change neither. What is margined is not
paid for: its cash is what was realised, and the rest of its worth is its value less its cost. An expiry is a fill at
the settlement price, which may be 0.
"""

from dataclasses import dataclass
from fractions import Fraction

from app.kernel.money import Rounding, divide, notional_minor
from app.kernel.orders import Side

ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Scale:
    """The exponents that turn quantity × price into minor units of money (`app.kernel.instrument` holds them).

    `multiplier`: money per unit of price and quantity, of a contract. `margined`: not paid for, as futures are.
    """

    price_exp: int
    qty_exp: int
    money_exp: int = 2
    multiplier: Fraction = ONE
    margined: bool = False

    def notional(self, quantity: int, price: int) -> int:
        """quantity × price × multiplier in minor units, half up; the sign follows `quantity`."""
        if self.multiplier == 1:
            exps = {"qty_exp": self.qty_exp, "price_exp": self.price_exp, "money_exp": self.money_exp}
            return notional_minor(quantity, price, **exps)
        shift = self.qty_exp + self.price_exp - self.money_exp
        product = quantity * price * self.multiplier.numerator * 10 ** max(-shift, 0)
        return divide(product, self.multiplier.denominator * 10 ** max(shift, 0), Rounding.HALF_UP)

    def moved(self, before: "Position", after: "Position", cash: int) -> "Applied":
        """`cash` is what the change would move if all were paid for."""
        return Applied(after, cash + after.cost - before.cost if self.margined else cash)

    def worth(self, position: "Position", price: int) -> int:
        """What a position adds to the cash of its account, at `price`."""
        return self.notional(position.quantity, price) - (position.cost if self.margined else 0)


@dataclass(frozen=True, slots=True)
class Position:
    """`quantity` signed at `qty_exp`; `cost` what it cost in total (negative when short: what it brought);
    `realised` the profit of what was closed, before charges. Both in minor units."""

    quantity: int = 0
    cost: int = 0
    realised: int = 0

    @property
    def is_flat(self) -> bool:
        return self.quantity == 0


FLAT = Position()


@dataclass(frozen=True, slots=True)
class Applied:
    """The position afterwards and the cash that moved, in minor units (positive: received). Charges not included."""

    position: Position
    cash: int


def apply_fill(position: Position, *, side: Side, quantity: int, price: int, scale: Scale) -> Applied:
    """One execution of `quantity` (unsigned, positive) at `price`. A fill through zero closes, then opens the rest."""
    if quantity <= 0 or price < 0:
        raise ValueError("a fill needs a positive quantity and a price that is not negative")
    notional = scale.notional(quantity, price)
    return scale.moved(position, _trade(position, side.sign * quantity, notional), -side.sign * notional)


def _trade(position: Position, signed: int, notional: int) -> Position:
    held, cost, realised = position.quantity, position.cost, position.realised
    sign = 1 if signed > 0 else -1
    if held * sign >= 0:
        return Position(held + signed, cost + sign * notional, realised)
    closed = min(abs(held), abs(signed))
    closed_cost = divide(cost * closed, abs(held), Rounding.HALF_UP)
    closed_notional = divide(notional * closed, abs(signed), Rounding.HALF_UP)
    opened = sign * (notional - closed_notional)
    return Position(held + signed, cost - closed_cost + opened, realised - sign * closed_notional - closed_cost)


def apply_split(position: Position, *, numerator: int, denominator: int, price: int, scale: Scale) -> Applied:
    """`numerator` new for `denominator` old units. The fraction that is no whole unit is paid in cash.

    `price` is the price after the split at which the fraction is paid (the last close, adjusted). The cost stays on
    the remaining units and the payment is realised; when no unit remains, the cost is realised against it.
    """
    if numerator <= 0 or denominator <= 0 or price < 0:
        raise ValueError("a split needs a positive ratio and a price that is not negative")
    sign = 1 if position.quantity >= 0 else -1
    whole, fraction = divmod(abs(position.quantity) * numerator, denominator)
    shift = scale.qty_exp + scale.price_exp - scale.money_exp
    worth = fraction * price * scale.multiplier.numerator * 10 ** max(-shift, 0)
    unit = denominator * scale.multiplier.denominator * 10 ** max(shift, 0)
    cash = sign * divide(worth, unit, Rounding.HALF_UP)
    if whole == 0:
        return scale.moved(position, Position(0, 0, position.realised + cash - position.cost), cash)
    return scale.moved(position, Position(sign * whole, position.cost, position.realised + cash), cash)


def apply_dividend(position: Position, *, amount: int, scale: Scale) -> Applied:
    """A cash dividend of `amount` per unit, at `price_exp`. A short position pays it."""
    if amount < 0:
        raise ValueError("a dividend must not be negative")
    sign = 1 if position.quantity >= 0 else -1
    return Applied(position, sign * scale.notional(abs(position.quantity), amount))


def split_order(
    *, quantity: int, limit_price: int | None, numerator: int, denominator: int, tick: int, side: Side
) -> tuple[int, int | None]:
    """A resting order after a split: whole units (rounded down, so possibly 0: cancel it), limit rounded to the tick
    away from the market (a buy down, a sell up), so that a split never makes an order keener."""
    units = quantity * numerator // denominator
    if limit_price is None:
        return units, None
    rounding = Rounding.FLOOR if side is Side.BUY else Rounding.CEILING
    ticks = divide(limit_price * denominator, numerator * tick, rounding)
    return units, max(ticks, 1) * tick
