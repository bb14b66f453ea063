"""Pairs: of two instruments that moved together, buy the one that fell behind and sell the one that ran ahead.

Opened when the ratio of their growth lies a number of standard deviations from its mean, closed when it is back.
Half of the equity long, half short.
"""

from typing import Any

from pydantic import Field, model_validator

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters

_APART = "zscore(of_instrument(growth, 1) / of_instrument(growth, 2), window)"
_BEHIND = f"latch({_APART} < -entry, {_APART} >= -exit)"
_AHEAD = f"latch({_APART} > entry, {_APART} <= exit)"


class PairsParameters(Parameters):
    window: int = Field(60, ge=5, le=500, description="Bars of the mean and the standard deviation.")
    entry: float = Field(2.0, gt=0.0, le=10.0, description="Standard deviations at which the pair is opened.")
    exit: float = Field(0.0, ge=0.0, le=10.0, description="Standard deviations at which it is closed.")

    @model_validator(mode="after")
    def _exit_is_nearer(self) -> "PairsParameters":
        if self.exit >= self.entry:
            raise ValueError("exit must be less than entry")
        return self


def _write(parameters: PairsParameters, n_instruments: int) -> dict[str, Any]:
    del n_instruments
    return {
        "version": 1,
        "name": "pairs",
        "parameters": {"window": parameters.window, "entry": parameters.entry, "exit": parameters.exit},
        "target": f"(3 - 2 * instrument) * (0.5 if {_BEHIND} else -0.5 if {_AHEAD} else 0)",
        "rebalance": "on_change",
        "short": True,
    }


PLUGIN = LibraryStrategy(
    name="pairs",
    title="Pairs",
    reference=(
        "E. Gatev, W. Goetzmann, K. Rouwenhorst, Pairs trading: performance of a relative-value arbitrage rule, "
        "Review of Financial Studies 19 (2006)"
    ),
    parameters=PairsParameters,
    write=_write,
    least=2,
    most=2,
)
