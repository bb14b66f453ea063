"""Crossing of two simple moving averages: hold while the fast one lies above the slow one.

Long or in cash; equal weights; trades when the averages cross.
"""

from typing import Any

from pydantic import Field, model_validator

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters


class SmaCrossParameters(Parameters):
    fast: int = Field(20, ge=1, le=1000, description="Bars of the fast average.")
    slow: int = Field(50, ge=2, le=2000, description="Bars of the slow average.")

    @model_validator(mode="after")
    def _fast_is_shorter(self) -> "SmaCrossParameters":
        if self.fast >= self.slow:
            raise ValueError("fast must be less than slow")
        return self


def _write(parameters: SmaCrossParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "sma_cross",
        "parameters": {
            "fast": parameters.fast,
            "slow": parameters.slow,
            "weight": 1 / n_instruments,
        },
        "target": "weight if sma(close, fast) > sma(close, slow) else 0",
        "rebalance": "on_change",
    }


PLUGIN = LibraryStrategy(
    name="sma_cross",
    title="Crossing of simple moving averages",
    reference=(
        "W. Brock, J. Lakonishok, B. LeBaron, Simple technical trading rules and the stochastic properties of stock "
        "returns, Journal of Finance 47 (1992)"
    ),
    parameters=SmaCrossParameters,
    write=_write,
)
