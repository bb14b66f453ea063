"""Buy equal parts of every instrument at once and keep them: what any other strategy must be held against."""

from typing import Any

from pydantic import Field

from app.trading.strategies.library._plugin import LibraryStrategy, Parameters


class BuyAndHoldParameters(Parameters):
    drift_bps: int = Field(5000, ge=0, le=5000, description="A position off by this share of the equity is adjusted.")


def _write(parameters: BuyAndHoldParameters, n_instruments: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "buy_and_hold",
        "parameters": {"weight": 1 / n_instruments},
        "target": "weight",
        "rebalance": {"when": "close > 0"},
        "tolerance_bps": parameters.drift_bps,
    }


PLUGIN = LibraryStrategy(
    name="buy_and_hold",
    title="Buy and hold",
    reference=("W. F. Sharpe, The arithmetic of active management, Financial Analysts Journal 47 (1991)"),
    parameters=BuyAndHoldParameters,
    write=_write,
)
