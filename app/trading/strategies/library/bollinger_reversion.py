"""Bollinger reversion: buy a close below the lower band, sell when the close is back at the middle.

The bands lie a number of standard deviations (divisor n) from the average. Long or in cash; equal weights.
"""

from typing import Any

from pydantic import Field

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters

_MIDDLE = "sma(close, window)"


class BollingerReversionParameters(Parameters):
    window: int = Field(20, ge=2, le=1000, description="Bars of the average and the standard deviation.")
    width: float = Field(2.0, gt=0.0, le=10.0, description="Standard deviations from the average to a band.")


def _write(parameters: BollingerReversionParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "bollinger_reversion",
        "parameters": {
            "window": parameters.window,
            "width": parameters.width,
            "weight": 1 / n_instruments,
        },
        "target": f"weight if latch(close < {_MIDDLE} - width * stddev(close, window), close >= {_MIDDLE}) else 0",
        "rebalance": "on_change",
    }


PLUGIN = LibraryStrategy(
    name="bollinger_reversion",
    title="Bollinger band reversion",
    reference=("J. Bollinger, Bollinger on Bollinger Bands, McGraw-Hill (2001)"),
    parameters=BollingerReversionParameters,
    write=_write,
)
