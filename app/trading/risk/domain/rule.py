"""Decides what a rule sees and says: one exposure in, one finding with its figures out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel

from app.kernel.errors import DomainError
from app.kernel.money import Rounding, divide, notional_minor
from app.kernel.orders import Product, Side


@dataclass(frozen=True, slots=True)
class Exposure:
    """One order in the state it would meet. Prices at `price_exp`, quantities at `qty_exp`, money in minor units.

    An order whose fate is unknown counts as working, and so as filled in every worst case: `open_buy`, `open_sell`,
    `open_orders` and `pending_minor` include it, `book_free` has gone. `reduces`: it can only make a position smaller.
    Figures that only a limit needs which nobody set are None. Equities of the past are restated for what the client
    has brought in or taken out since: that is neither profit nor loss.
    """

    side: Side
    quantity: int
    order_type: str
    limit_price: int | None
    price: int
    last_price: int | None
    notional_minor: int
    position_quantity: int
    open_buy: int
    open_sell: int
    open_orders: int
    equity_minor: int
    opening_equity_minor: int
    available_minor: int
    hold_minor: int
    currency: str
    price_exp: int
    qty_exp: int
    money_exp: int
    reduces: bool
    instrument_id: UUID | None = None
    product: Product = Product.DELIVERY
    segment: str | None = None
    book_free: int = 0
    gross_minor: int = 0
    """The sizes of all positions at their last prices."""
    pending_minor: int = 0
    """The cash that working orders hold."""
    high_equity_minor: int = 0
    """The highest equity that a decision of the day has seen, this one included."""
    peak_equity_minor: int = 0
    """The highest ever."""
    price_age_s: int | None = None
    session_open: bool = True
    band_lower: int | None = None
    band_upper: int | None = None
    venue_halted: bool = False
    highest_buy: int | None = None
    """The best price of the account's own working buys of the instrument; a market order's is the largest there is."""
    lowest_sell: int | None = None
    orders_this_second: int | None = None
    orders_today: int | None = None
    fills_today: int | None = None
    recent: tuple[tuple[str, int, int | None, int], ...] | None = None
    """Side, quantity, limit price and age in seconds of the instrument's orders of the last minutes."""

    def worst_position(self) -> int:
        """The size of the position on the order's side if everything that is open there and the order itself fill."""
        if self.side is Side.BUY:
            return max(self.position_quantity + self.open_buy + self.quantity, 0)
        return max(self.open_sell + self.quantity - self.position_quantity, 0)

    def value_of(self, quantity: int) -> int:
        """In minor units, at the order's price."""
        return notional_minor(
            quantity, self.price, qty_exp=self.qty_exp, price_exp=self.price_exp, money_exp=self.money_exp
        )


def share_bps(part: int, whole: int) -> int | None:
    """`part` of `whole` in hundredths of a per cent, rounded up: None of nothing."""
    return divide(part * 10_000, whole, Rounding.UP) if whole > 0 else None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule said. `verdict` is `pass` or `deny`; `limit` and `value` are decimal strings where they count."""

    rule: str
    verdict: str
    limit: str
    value: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """For JSON; `dataclasses.asdict` copies deeply and takes ten times as long."""
        return {
            "rule": self.rule,
            "verdict": self.verdict,
            "limit": self.limit,
            "value": self.value,
            "message": self.message,
        }


def finding(rule: str, denied: bool, *, limit: str, value: str, message: str) -> Finding:
    """`message` says what to do, and only when it is denied."""
    return Finding(rule, "deny" if denied else "pass", limit, value, message if denied else "")


class Rule(Protocol):
    """A plug-in of `risk/rules`."""

    @property
    def name(self) -> str: ...

    @property
    def Parameters(self) -> type[BaseModel]: ...  # noqa: N802  # a class

    @property
    def tighter(self) -> Mapping[str, str]:
        """How each parameter of two levels combines: a `Tighter` for every field."""
        ...

    def check(self, exposure: Exposure, parameters: Any) -> Finding | None:
        """None: nothing that the rule is about."""
        ...


Limits = Mapping[str, BaseModel | None]
"""The parameters that hold, by rule; None where they cannot be read."""


def evaluate(exposure: Exposure, limits: Limits, rules: Mapping[str, Rule]) -> list[Finding]:
    """The finding of every rule that has something to say, by name; a rule without limits applies its defaults."""
    found = []
    for name in sorted(rules):
        rule = rules[name]
        said = _said(exposure, rule, limits[name] if name in limits else rule.Parameters())
        if said is not None:
            found.append(said)
    return found


def _said(exposure: Exposure, rule: Rule, parameters: BaseModel | None) -> Finding | None:
    try:
        if parameters is not None:
            return rule.check(exposure, parameters)
    except DomainError:
        pass  # a figure that does not fit the instrument's or the currency's scale
    # Limits outlive the rule's version that took them. Nothing new is risked on one that cannot be read, and nobody is
    # locked in.
    return Finding(
        rule=rule.name,
        verdict="pass" if exposure.reduces else "deny",
        limit="unreadable",
        value="",
        message="The stored limit does not fit the rule; set it again.",
    )
