"""A program with two parameters on real bars, and a search over them."""

from datetime import date
from pathlib import Path
from typing import Any

from app.insight.backtest.service import FileRun
from app.insight.research.service import FileSweep, Space, parse_axis

LIBRARY = Path(__file__).parents[4] / "app/market/data/library"
GOOG = next(LIBRARY.glob("GOOG-*.parquet"))
CROSS: dict[str, Any] = {
    "version": 1,
    "name": "cross <&>",
    "parameters": {"fast": 10, "slow": 30, "share": 1},
    "target": "share if sma(close, fast) > sma(close, slow) else 0",
    "rebalance": "on_change",
}


def space(fast: str = "5:15:5", slow: str = "20:50:10", draws: int | None = None, seed: int = 0) -> Space:
    return Space({"fast": parse_axis("fast", fast), "slow": parse_axis("slow", slow)}, draws, seed)


def searched(over: Space | None = None, **changes: Any) -> FileSweep:
    run: dict[str, Any] = {
        "program": CROSS, "files": [GOOG], "cash": "100000", "charges": "us_equity", "currency": "USD",
        "end": date(2008, 12, 31),
    }  # fmt: skip
    options: dict[str, Any] = {"processes": 1}
    options |= {name: changes.pop(name) for name in ("metric", "processes", "earlier") if name in changes}
    return FileSweep(FileRun(**run | changes), over or space(), **options)
