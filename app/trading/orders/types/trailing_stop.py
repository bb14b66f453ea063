"""A stop that follows the market in the order's favour; when the market turns and touches it, a market order."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.kernel.errors import invalid
from app.kernel.money import INT64_MAX, format_trimmed, parse_scaled
from app.kernel.orders import OrderType, Validity
from app.trading.orders.domain import (
    AtMarket,
    AtVenue,
    Context,
    PlaceOrder,
    Waits,
    trailed,
    trailed_price,
)

_Distance = Annotated[
    str, StringConstraints(strict=True, pattern=r"^(0\.[0-9]{0,17}[1-9][0-9]{0,17}|[1-9][0-9]{0,17}(\.[0-9]{1,18})?)$")
]
"""A decimal above zero, as text."""


class Trail(BaseModel):
    """How far behind the market the stop stays: one of the two."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="TrailingStopParameters")
    trail_by: _Distance | None = Field(default=None, description="In units of the price.")
    trail_percent: _Distance | None = Field(default=None, description="In per cent of the price, below 100.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.trail_by is None) == (self.trail_percent is None):
            raise ValueError("give trail_by or trail_percent")
        return self


class TrailingStop(AtMarket):
    """No venue of ours moves a stop, so it waits with us, whoever the broker is, and the matcher moves its trigger."""

    name = "trailing_stop"
    title = "At the market, once it has come back from its best price by the distance in parameters."
    Parameters = Trail
    needs: ClassVar[frozenset[str]] = frozenset({"parameters"})
    takes: ClassVar[frozenset[str]] = frozenset()
    validities: ClassVar[frozenset[Validity]] = frozenset({Validity.DAY, Validity.GTC})
    sent_at_once: ClassVar[bool] = False

    def check(self, command: PlaceOrder, context: Context) -> None:
        _trail(command, context)

    def reference(self, command: PlaceOrder, context: Context) -> int | None:
        waits = self.waits(command, context)
        return None if waits is None else waits.trigger_price

    def protection_bps(self, command: PlaceOrder, context: Context) -> int | None:
        """None: its trigger moves, and an exit that is refused for its price protects nobody."""
        return None

    def waits(self, command: PlaceOrder, context: Context) -> Waits | None:
        """None only while there is no price that it could follow; then it is denied."""
        if context.last_price is None:
            return None
        trail_by, trail_bps = _trail(command, context)
        return Waits(_trigger(context.last_price, trail_by, trail_bps, command, context), trail_by, trail_bps)

    def waits_changed(self, now: Waits, command: PlaceOrder, context: Context) -> Waits | None:
        """Another distance counts from the best price that it has followed. Raises `stop_on_the_wrong_side` when the
        market has come back as far as that already."""
        trail_by, trail_bps = _trail(command, context)
        if (trail_by, trail_bps) == (now.trail_by, now.trail_bps):
            return now
        best = trailed_price(now.trigger_price, command.side, trail_by=now.trail_by, trail_bps=now.trail_bps)
        last, trigger = context.last_price, _trigger(best, trail_by, trail_bps, command, context)
        if last is not None and (trigger - last) * command.side.sign <= 0:
            price_exp = context.instrument["price_exp"]
            raise invalid(
                "stop_on_the_wrong_side",
                f"The market, at {format_trimmed(last, price_exp)}, has come back that far from "
                f"{format_trimmed(best, price_exp)} already; take a longer distance, or place a market order.",
                param="parameters",
            )
        return Waits(trigger, trail_by, trail_bps)

    def at_venue(self, order: Mapping[str, Any]) -> AtVenue:
        return AtVenue(OrderType.MARKET, Validity.DAY, None, None)


def _trail(command: PlaceOrder, context: Context) -> tuple[int | None, int | None]:
    given, tick = Trail.model_validate(command.parameters), context.instrument["tick"]
    if given.trail_by is not None:
        trail_by = parse_scaled(given.trail_by, context.instrument["price_exp"], param="parameters.trail_by")
        if trail_by % tick:
            message = "trail_by must be a multiple of the tick."
            raise invalid("off_tick", message, param="parameters.trail_by")
        return trail_by, None
    trail_bps = parse_scaled(given.trail_percent or "0", 2, param="parameters.trail_percent")
    if trail_bps >= 10_000:
        message = "trail_percent must be below 100."
        raise invalid("invalid_parameters", message, param="parameters.trail_percent")
    return None, trail_bps


def _trigger(price: int, trail_by: int | None, trail_bps: int | None, command: PlaceOrder, context: Context) -> int:
    """Raises `out_of_range`. The matcher, which moves it towards the market only, needs no such bound."""
    tick = context.instrument["tick"]
    trigger = trailed(price, command.side, trail_by=trail_by, trail_bps=trail_bps, tick=tick)
    if trigger > INT64_MAX:
        param = "parameters.trail_percent" if trail_by is None else "parameters.trail_by"
        raise invalid("out_of_range", f"{param} is too large: so is the trigger that far from the market.", param=param)
    return trigger


PLUGIN = TrailingStop()
