"""Crossing of two exponential moving averages: hold while the fast one lies above the slow one.

The sign of the MACD line. Long or in cash; equal weights; trades when the averages cross.
"""

from typing import Any

from pydantic import Field, model_validator

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters


class EmaCrossParameters(Parameters):
    fast: int = Field(12, ge=1, le=1000, description="Bars of the fast average.")
    slow: int = Field(26, ge=2, le=2000, description="Bars of the slow average.")

    @model_validator(mode="after")
    def _fast_is_shorter(self) -> "EmaCrossParameters":
        if self.fast >= self.slow:
            raise ValueError("fast must be less than slow")
        return self


def _write(parameters: EmaCrossParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "ema_cross",
        "parameters": {
            "fast": parameters.fast,
            "slow": parameters.slow,
            "weight": 1 / n_instruments,
        },
        "target": "weight if ema(close, fast) > ema(close, slow) else 0",
        "rebalance": "on_change",
    }


PLUGIN = LibraryStrategy(
    name="ema_cross",
    title="Crossing of exponential moving averages",
    reference=(
        "G. Appel, The moving average convergence-divergence trading method, Signalert (1979); "
        "G. Appel, Technical Analysis: Power Tools for Active Investors, FT Press (2005)"
    ),
    parameters=EmaCrossParameters,
    write=_write,
)
