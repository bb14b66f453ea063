"""Rotation: hold the instruments that were strongest, but only those that rose; what is left stays in cash.

One decision at the first close of each month. Long or in cash; equal parts of the number held.
"""

from typing import Any

from pydantic import Field, model_validator

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters

_STRENGTH = "return_(close, lookback, skip)"


class DualMomentumParameters(Parameters):
    lookback: int = Field(252, ge=2, le=2500, description="Bars of the return that is ranked.")
    skip: int = Field(0, ge=0, le=250, description="Most recent bars left out of it; fewer than lookback.")
    hold: int = Field(2, ge=1, le=50, description="How many instruments are held.")

    @model_validator(mode="after")
    def _skip_is_shorter(self) -> "DualMomentumParameters":
        if self.skip >= self.lookback:
            raise ValueError("skip must be less than lookback")
        return self


def _write(parameters: DualMomentumParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "dual_momentum",
        "parameters": {
            "lookback": parameters.lookback,
            "skip": parameters.skip,
            "hold": parameters.hold,
            "weight": 1 / parameters.hold,
        },
        "target": f"weight if {_STRENGTH} > 0 and rank({_STRENGTH}) <= hold else 0",
        "rebalance": "monthly",
    }


PLUGIN = LibraryStrategy(
    name="dual_momentum",
    title="Dual momentum (sector rotation)",
    reference=(
        "G. Antonacci, Dual Momentum Investing, McGraw-Hill (2014); "
        "T. Moskowitz, M. Grinblatt, Do industries explain momentum?, Journal of Finance 54 (1999)"
    ),
    parameters=DualMomentumParameters,
    write=_write,
)
