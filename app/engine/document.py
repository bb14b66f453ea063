"""Decides the shape of a strategy document, version 1: what may be said, and where. Meanings are checked later.

A document says either a `target` (for each instrument the share of a full position to hold) or `trades` (when to enter
and leave, by which order, under which protection).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, ValidationError, model_validator

from app.kernel.errors import DomainError, invalid

Expression = Any
"""JSON: a number, {"param": name}, {"op": …}, or all of it as a string; checked by `compile_program`."""


_Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f]*$")]
"""No control characters: no database stores all of them."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MarketOrders(_Part):
    type: Literal["market"] = "market"


class LimitOrders(_Part):
    """Limits `offset_bps` hundredths of a percent better than the close of the deciding bar."""

    type: Literal["limit"]
    offset_bps: int = Field(0, ge=0, le=5000)


class EquitySizing(_Part):
    """A full position is the whole equity: the target is the share of it to hold.

    `at` decision: the quantity follows from the closing price, before the reserve. `at` fill: a buy carries its budget,
    and buys what that pays for, charges included, at the price it meets; for research only, no venue takes it.
    """

    type: Literal["equity"] = "equity"
    at: Literal["decision", "fill"] = "decision"


class UnitSizing(_Part):
    """A full position is `units` whole units of each instrument: the target is the share of them to hold."""

    type: Literal["units"]
    units: StrictInt = Field(ge=1, le=1_000_000_000)


class CashSizing(_Part):
    """A full position costs `cash`, in whole units of the currency."""

    type: Literal["cash"]
    cash: StrictInt = Field(ge=1, le=1_000_000_000_000)


class RiskSizing(_Part):
    """A full position loses `risk_bps` hundredths of a percent of the equity when its stop-loss is met.

    quantity = equity × risk / stop distance (R. D. Tharp's percent-risk sizing); it needs a stop-loss or a trailing
    stop, and never buys more than the account can carry.
    """

    type: Literal["risk"]
    risk_bps: StrictInt = Field(ge=1, le=5000)


class VolatilitySizing(_Part):
    """A full position has the yearly volatility `target` (0.10: 10 %): the share is target / volatility, at most 1.

    Volatility: sample deviation of the last `window` log returns of closes × √`periods`.
    """

    type: Literal["volatility"]
    target: float = Field(gt=0, le=5)
    window: int = Field(20, ge=2, le=5000)
    periods: int = Field(252, ge=1, le=200_000, description="Bars a year.")


Sizing = Annotated[EquitySizing | UnitSizing | CashSizing | RiskSizing | VolatilitySizing, Field(discriminator="type")]


class Side(_Part):
    """When a position of this side is opened and closed."""

    enter: Expression
    exit: Expression = None


class MarketEntry(_Part):
    type: Literal["market"] = "market"


class LimitEntry(_Part):
    """Rests at `price` or better."""

    type: Literal["limit"]
    price: Expression
    valid: Literal["bar", "day", "till_cancelled"] = "day"


class StopEntry(_Part):
    """Becomes a market order when the price reaches `price`."""

    type: Literal["stop"]
    price: Expression
    valid: Literal["bar", "day", "till_cancelled"] = "day"


class StopLimitEntry(_Part):
    """Becomes a limit order at `limit` when the price reaches `price`."""

    type: Literal["stop_limit"]
    price: Expression
    limit: Expression
    valid: Literal["bar", "day", "till_cancelled"] = "day"


Entry = Annotated[MarketEntry | LimitEntry | StopEntry | StopLimitEntry, Field(discriminator="type")]


class MarketExit(_Part):
    type: Literal["market"] = "market"


class LimitExit(_Part):
    """Where an exit condition holds, rests at `price` or better in place of the take-profit, and moves to the price of
    each later bar on which it holds again; a price that is not known changes nothing.

    `valid` till_cancelled: until it is filled or another exit is, also once the condition no longer holds. bar: for one
    bar; where the condition does not hold then, it is withdrawn and the take-profit is back. Stops stay, time exit and
    square-off are market orders, and no entry to the other side is decided beside it.
    """

    type: Literal["limit"]
    price: Expression
    valid: Literal["bar", "till_cancelled"] = "till_cancelled"


ExitOrder = Annotated[MarketExit | LimitExit, Field(discriminator="type")]


class Distance(_Part):
    """A distance from the entry price: an expression in units of price, or a share of the entry price in percent."""

    distance: Expression = None
    percent: Expression = None

    @model_validator(mode="after")
    def _one(self) -> "Distance":
        if (self.distance is None) == (self.percent is None):
            raise ValueError("give either distance or percent")
        return self


class Trades(_Part):
    """Entries and exits. One position per instrument: an entry is decided while flat, or beside an exit."""

    long: Side | None = None
    short: Side | None = None
    entry: Entry = MarketEntry()
    exit_order: ExitOrder = Field(MarketExit(), description="How a position leaves when its exit condition holds.")
    stop_loss: Distance | None = None
    take_profit: Distance | None = None
    trailing_stop: Distance | None = None
    time_exit: StrictInt | None = Field(None, ge=1, le=1_000_000, description="Leave after so many bars.")
    share: Expression = Field(1, description="Share of a full position to enter with, clipped to 0…1.")

    @model_validator(mode="after")
    def _some(self) -> "Trades":
        if self.long is None and self.short is None:
            raise ValueError("say when to enter: long, short or both")
        return self


class Rule(_Part):
    """Trade towards the target wherever the condition holds."""

    when: Expression


class Document(_Part):
    """A strategy program, version 1: for each instrument a target and when to trade towards it, or trades."""

    version: Literal[1]
    name: _Text = Field(min_length=1, max_length=80)
    parameters: dict[_Text, StrictInt | StrictFloat] = Field(
        default_factory=dict, max_length=64, description="Defaults, by name."
    )
    target: Expression = Field(
        None, description="Share of a full position to hold, clipped to 0…1, or to −1…1 where short is true."
    )
    trades: Trades | None = Field(None, description="Instead of a target: entries and exits.")
    short: bool = Field(False, description="Negative targets are short positions.")
    sizing: Sizing = EquitySizing()
    rebalance: Literal["on_change", "monthly"] | Rule | None = Field(
        None,
        description="When to trade towards the target. on_change: when it differs from the bar before; monthly: at the "
        "first bar of each month; or wherever a condition holds.",
    )
    order: Annotated[MarketOrders | LimitOrders, Field(discriminator="type")] = MarketOrders()
    reserve_bps: int = Field(100, ge=0, le=5000, description="Share of equity and cash left for charges and slippage.")
    tolerance_bps: int = Field(0, ge=0, le=5000, description="Adjustments below this share of the equity are left out.")

    @model_validator(mode="after")
    def _either(self) -> "Document":
        has_target = "target" in self.model_fields_set
        if has_target == (self.trades is not None):
            raise ValueError("give either target or trades")
        if has_target != (self.rebalance is not None):
            raise ValueError("rebalance belongs to a target, and a target needs it")
        return self


def parse_document(document: Mapping[str, Any]) -> Document:
    """The outer shape. Raises `invalid_program` with the path of the first fault."""
    try:
        return Document.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # A union names its branches: what the reader wrote is the rest.
        parts = [str(part) for part in first["loc"] if "[" not in str(part) and not str(part)[:1].isupper()]
        path = ".".join(parts) or "program"
        raise refused(path, first["msg"]) from None


def refused(path: str, reason: str) -> DomainError:
    return invalid("invalid_program", f"{path}: {reason}", param=path)
