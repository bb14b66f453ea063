"""Decides what a rule sees and says: one exposure in, one finding with its figures out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, Field, ValidationError

from app.kernel.errors import DomainError
from app.kernel.events import EventPayload, EventType
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


class Rule(Protocol):
    """A plug-in of `risk/rules`."""

    @property
    def name(self) -> str: ...

    @property
    def Parameters(self) -> type[BaseModel]: ...  # noqa: N802  # a class

    def check(self, exposure: Exposure, parameters: Any) -> Finding: ...


@dataclass(frozen=True, slots=True)
class AppliedLimit:
    """What a rule applies to an account, and who said so: `account`, `tenant` or the rule's own `default`."""

    rule: str
    parameters: Mapping[str, Any]
    source: str


def evaluate(exposure: Exposure, limits: Mapping[str, Mapping[str, Any]], rules: Mapping[str, Rule]) -> list[Finding]:
    """Every rule's finding, by name; a rule without limits of its own applies its defaults."""
    return [_finding(exposure, rules[name], limits.get(name, {})) for name in sorted(rules)]


def _finding(exposure: Exposure, rule: Rule, stored: Mapping[str, Any]) -> Finding:
    try:
        return rule.check(exposure, rule.Parameters.model_validate(stored))
    except (ValidationError, DomainError):
        # Limits outlive the rule's version that took them. Nothing new is risked on one that cannot be read, and
        # nobody is locked in.
        return Finding(
            rule=rule.name,
            verdict="pass" if exposure.reduces else "deny",
            limit="unreadable",
            value="",
            message="The stored limit does not fit the rule; set it again.",
        )


class LimitSet(EventPayload):
    rule: str = Field(description="The rule that the limit is for.")
    parameters: dict[str, str | int] = Field(description="The rule's parameters that hold from now on.")


class LimitCleared(EventPayload):
    rule: str = Field(description="The rule whose own limit was taken back.")


EVENTS = (
    EventType("risk_limit.set", "lim", "A limit was set, for one account or, without one, for all.", LimitSet),
    EventType("risk_limit.cleared", "lim", "An account's own limit was taken back.", LimitCleared),
)
