"""Hold each instrument in inverse proportion to its recent volatility, never more than its equal part.

One decision at the first close of each month; small adjustments are left out.
"""

from typing import Any

from pydantic import Field

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters


class VolatilityTargetParameters(Parameters):
    target: float = Field(0.12, gt=0, le=2, description="Yearly volatility of a full position, 0.12: 12 %.")
    window: int = Field(21, ge=2, le=500, description="Bars over which volatility is measured.")
    periods: int = Field(252, ge=1, le=200_000, description="Bars a year.")
    tolerance_bps: int = Field(100, ge=0, le=5000, description="Adjustments below this share are left out.")


def _write(parameters: VolatilityTargetParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "volatility_target",
        "parameters": {
            "aim": parameters.target,
            "window": parameters.window,
            "periods": parameters.periods,
            "weight": 1 / n_instruments,
        },
        "target": "weight * min(1, aim / volatility(close, window, periods))",
        "rebalance": "monthly",
        "tolerance_bps": parameters.tolerance_bps,
    }


PLUGIN = LibraryStrategy(
    name="volatility_target",
    title="Volatility targeting",
    reference=("A. Moreira, T. Muir, Volatility-managed portfolios, Journal of Finance 72 (2017)"),
    parameters=VolatilityTargetParameters,
    write=_write,
)
