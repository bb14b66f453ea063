"""Mean reversion with an exit band: buy when the close is far below its moving average, sell when it is back.

Distance is the z-score of the close over a window. The band between entry and exit keeps the position from flickering.
Long or in cash; equal weights; trades when the signal changes.
"""

from typing import Any

from pydantic import Field, model_validator

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters


class MeanReversionParameters(Parameters):
    window: int = Field(20, ge=5, le=1000, description="Bars of the moving average and standard deviation.")
    entry_z: float = Field(-1.5, ge=-10.0, lt=0.0, description="Buy when the z-score falls below.")
    exit_z: float = Field(0.0, ge=-10.0, le=10.0, description="Sell when the z-score has risen to this or above.")

    @model_validator(mode="after")
    def _exit_is_above(self) -> "MeanReversionParameters":
        if self.exit_z <= self.entry_z:
            raise ValueError("exit_z must be above entry_z")
        return self


def _write(parameters: MeanReversionParameters, n_instruments: int) -> dict[str, Any]:
    distance = {"op": "zscore", "of": {"op": "close"}, "window": {"param": "window"}}
    held = {
        "op": "latch",
        "enter": {"op": "lt", "left": distance, "right": {"param": "entry_z"}},
        "exit": {"op": "ge", "left": distance, "right": {"param": "exit_z"}},
    }
    return {
        "version": 1,
        "name": "mean_reversion",
        "parameters": {
            "window": parameters.window,
            "entry_z": parameters.entry_z,
            "exit_z": parameters.exit_z,
            "weight": 1 / n_instruments,
        },
        "target": {"op": "select", "when": held, "then": {"param": "weight"}, "else": 0},
        "rebalance": "on_change",
    }


PLUGIN = LibraryStrategy(
    name="mean_reversion",
    title="Mean reversion (z-score with exit band)",
    reference=(
        "J. M. Poterba, L. H. Summers, Mean reversion in stock prices: evidence and implications, Journal of Financial "
        "Economics 22 (1988); entry and exit bands after E. Gatev, W. N. Goetzmann, K. G. Rouwenhorst, Pairs trading: "
        "performance of a relative-value arbitrage rule, Review of Financial Studies 19 (2006)"
    ),
    parameters=MeanReversionParameters,
    write=_write,
)
