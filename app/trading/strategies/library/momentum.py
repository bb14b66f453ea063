"""Time-series momentum: hold an instrument while its own return over a long past, without the last month, is positive.

The skipped month is Jegadeesh and Titman's guard against short-term reversal. Long or in cash; equal weights; one
decision at the first close of each month.
"""

from typing import Any

from pydantic import Field, model_validator

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters

MONTH = 21
"""Trading days."""


class MomentumParameters(Parameters):
    lookback_months: int = Field(12, ge=2, le=60, description="How far back the return begins, in months of 21 bars.")
    skip_months: int = Field(1, ge=0, le=12, description="Most recent months left out of the return.")
    threshold: float = Field(0.0, ge=-1.0, le=10.0, description="Return above which the instrument is held.")
    tolerance_bps: int = Field(
        100,
        ge=0,
        le=5000,
        description="Adjustments below this share of the equity are left out.",
    )

    @model_validator(mode="after")
    def _skip_is_shorter(self) -> "MomentumParameters":
        if self.skip_months >= self.lookback_months:
            raise ValueError("skip_months must be less than lookback_months")
        return self


def _write(parameters: MomentumParameters, n_instruments: int) -> dict[str, Any]:
    past = {
        "op": "return",
        "of": {"op": "close"},
        "bars": {"param": "bars"},
        "skip": {"param": "skip"},
    }
    return {
        "version": 1,
        "name": "momentum",
        "parameters": {
            "bars": parameters.lookback_months * MONTH,
            "skip": parameters.skip_months * MONTH,
            "threshold": parameters.threshold,
            "weight": 1 / n_instruments,
        },
        "target": {
            "op": "select",
            "when": {"op": "gt", "left": past, "right": {"param": "threshold"}},
            "then": {"param": "weight"},
            "else": 0,
        },
        "rebalance": "monthly",
        "tolerance_bps": parameters.tolerance_bps,
    }


PLUGIN = LibraryStrategy(
    name="momentum",
    title="Time-series momentum (12-1)",
    reference=(
        "T. Moskowitz, Y. H. Ooi, L. H. Pedersen, Time series momentum, Journal of Financial Economics 104 (2012); "
        "skipped month after N. Jegadeesh, S. Titman, Returns to buying winners and selling losers, "
        "Journal of Finance 48 (1993)"
    ),
    parameters=MomentumParameters,
    write=_write,
)
