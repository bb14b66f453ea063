"""Decides what a rule sees and says: one exposure in, one finding with its figures out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from app.kernel.orders import OrderType, Side


@dataclass(frozen=True, slots=True)
class Exposure:
    """One order in the state it would meet. Prices at `price_exp`, quantities at `qty_exp`, money in minor units."""

    side: Side
    quantity: int
    order_type: OrderType
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


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule said. `verdict` is `pass` or `deny`; `limit` and `value` are decimal strings."""

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


class Rule(Protocol):
    """A plug-in of `risk/rules`."""

    @property
    def name(self) -> str: ...

    @property
    def Parameters(self) -> type[BaseModel]: ...  # noqa: N802  # a class

    def check(self, exposure: Exposure, parameters: Any) -> Finding: ...


def evaluate(exposure: Exposure, limits: Mapping[str, Mapping[str, Any]], rules: Mapping[str, Rule]) -> list[Finding]:
    """Every rule's finding, by name; a rule without limits of its own applies its defaults."""
    return [
        rules[name].check(exposure, rules[name].Parameters.model_validate(limits.get(name, {})))
        for name in sorted(rules)
    ]
