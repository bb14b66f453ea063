"""Opening-range breakout: buy a close above the range of the session's first bars, sell below it or before the end.

For bars within the day. Long or in cash, flat overnight wherever the session has a `last` bar; equal weights.
"""

from typing import Any

from pydantic import Field, model_validator

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters

_BROKEN = "latch(close > opening_high(bars), close < opening_low(bars) or bar_of_day == bars)"


class OpeningRangeParameters(Parameters):
    bars: int = Field(3, ge=1, le=500, description="Bars of the opening range.")
    last: int = Field(72, ge=3, le=1500, description="Bar of the session at whose close positions are given up.")

    @model_validator(mode="after")
    def _range_ends_before(self) -> "OpeningRangeParameters":
        if self.last <= self.bars + 1:
            raise ValueError("last must lie at least two bars behind the opening range")
        return self


def _write(parameters: OpeningRangeParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "opening_range",
        "parameters": {"bars": parameters.bars, "last": parameters.last, "weight": 1 / n_instruments},
        "target": f"0 if bar_of_day < bars or bar_of_day >= last else weight if {_BROKEN} else 0",
        "rebalance": "on_change",
    }


PLUGIN = LibraryStrategy(
    name="opening_range",
    title="Opening-range breakout",
    reference="T. Crabel, Day Trading with Short Term Price Patterns and Opening Range Breakout (1990)",
    parameters=OpeningRangeParameters,
    write=_write,
    intraday=True,
)
