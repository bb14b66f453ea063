"""Relative strength: hold the instruments whose return over the past was the largest, in equal parts.

One decision at the first close of each month; the most recent month is left out of the return. Long only.
"""

from typing import Any

from pydantic import Field, model_validator

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters


class CrossSectionalMomentumParameters(Parameters):
    lookback: int = Field(252, ge=2, le=2500, description="Bars of the return that is ranked.")
    skip: int = Field(21, ge=0, le=250, description="Most recent bars left out of it; fewer than lookback.")
    hold: int = Field(2, ge=1, le=50, description="How many instruments are held.")

    @model_validator(mode="after")
    def _skip_is_shorter(self) -> "CrossSectionalMomentumParameters":
        if self.skip >= self.lookback:
            raise ValueError("skip must be less than lookback")
        return self


def _write(parameters: CrossSectionalMomentumParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "cross_sectional_momentum",
        "parameters": {
            "lookback": parameters.lookback,
            "skip": parameters.skip,
            "hold": parameters.hold,
            "weight": 1 / parameters.hold,
        },
        "target": "weight if rank(return_(close, lookback, skip)) <= hold else 0",
        "rebalance": "monthly",
    }


PLUGIN = LibraryStrategy(
    name="cross_sectional_momentum",
    title="Cross-sectional momentum",
    reference=(
        "N. Jegadeesh, S. Titman, Returns to buying winners and selling losers: implications for stock market "
        "efficiency, Journal of Finance 48 (1993)"
    ),
    parameters=CrossSectionalMomentumParameters,
    write=_write,
)
