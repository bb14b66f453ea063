"""Supertrend: hold while the close stays above a band that follows it at a multiple of the average true range.

The band only rises while the trend is up, and turns when the close breaks it. Long or in cash; equal weights.
"""

from typing import Any

from pydantic import Field

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters


class SupertrendParameters(Parameters):
    window: int = Field(10, ge=1, le=500, description="Bars of the average true range.")
    width: float = Field(3.0, gt=0.0, le=20.0, description="Average true ranges from the bar's middle to a band.")


def _write(parameters: SupertrendParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "supertrend",
        "parameters": {"window": parameters.window, "width": parameters.width, "weight": 1 / n_instruments},
        "target": "weight if supertrend_up(width, window) else 0",
        "rebalance": "on_change",
    }


PLUGIN = LibraryStrategy(
    name="supertrend",
    title="Supertrend",
    reference="O. Seban, Tout le monde mérite d'être riche (2009); ta.supertrend of the Pine Script reference",
    parameters=SupertrendParameters,
    write=_write,
)
