"""RSI-2: buy a sharp fall within a long rise, sell at the first recovery.

Buys when the two-bar RSI is very low while the close lies above its long average; sells when the close is back above
its short average. Long or in cash; equal weights.
"""

from typing import Any

from pydantic import Field

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters

_FALL_IN_A_RISE = "rsi(close, window) < entry and close > sma(close, trend)"


class Rsi2Parameters(Parameters):
    window: int = Field(2, ge=2, le=50, description="Bars of the RSI.")
    entry: float = Field(10.0, gt=0.0, lt=100.0, description="Buy when the RSI is below.")
    trend: int = Field(200, ge=2, le=2000, description="Bars of the long average that the close must exceed.")
    recovery: int = Field(5, ge=1, le=200, description="Bars of the short average whose crossing sells.")


def _write(parameters: Rsi2Parameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "rsi2",
        "parameters": {
            "window": parameters.window,
            "entry": parameters.entry,
            "trend": parameters.trend,
            "recovery": parameters.recovery,
            "weight": 1 / n_instruments,
        },
        "target": f"weight if latch({_FALL_IN_A_RISE}, close > sma(close, recovery)) else 0",
        "rebalance": "on_change",
    }


PLUGIN = LibraryStrategy(
    name="rsi2",
    title="RSI-2",
    reference=(
        "L. Connors, C. Alvarez, Short Term Trading Strategies That Work, TradingMarkets (2009); "
        "RSI after J. W. Wilder, New Concepts in Technical Trading Systems (1978)"
    ),
    parameters=Rsi2Parameters,
    write=_write,
)
