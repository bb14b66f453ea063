"""Channel breakout: buy a close above the highest high of many bars, sell one below the lowest low of fewer.

The channel ends with the bar before. Long or in cash; equal weights.
"""

from typing import Any

from pydantic import Field

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters


class DonchianBreakoutParameters(Parameters):
    entry: int = Field(20, ge=2, le=1000, description="Bars of the channel whose upper side buys.")
    exit: int = Field(10, ge=1, le=1000, description="Bars of the channel whose lower side sells.")


def _write(parameters: DonchianBreakoutParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "donchian_breakout",
        "parameters": {
            "entry": parameters.entry,
            "exit": parameters.exit,
            "weight": 1 / n_instruments,
        },
        "target": "weight if latch(close > lag(highest(high, entry), 1), close < lag(lowest(low, exit), 1)) else 0",
        "rebalance": "on_change",
    }


PLUGIN = LibraryStrategy(
    name="donchian_breakout",
    title="Donchian channel breakout",
    reference=(
        "R. D. Donchian, High finance in copper, Financial Analysts Journal 16 (1960); "
        "C. Faith, Way of the Turtle, McGraw-Hill (2007)"
    ),
    parameters=DonchianBreakoutParameters,
    write=_write,
)
