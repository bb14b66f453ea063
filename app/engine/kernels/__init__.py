"""The compiled loops. Importing this package loads no numba; importing one of its modules does, and compiles (or loads
from the cache) its entries: what Python calls, with all that they call inside. `warm` does all of them.
"""

import hashlib
import importlib
from pathlib import Path

MODULES = (
    "book",
    "integers",
    "checking",
    "charging",
    "positions",
    "matching",
    "windows",
    "recurrences",
    "extremes",
    "ramps",
    "scans",
    "changes",
    "trends",
    "sessions",
    "volatility",
    "indicators",
    "machine",
    "pool",
    "sizing",
    "execution",
    "contracts",
    "trading",
    "simulator",
)


def source_digest() -> str:
    """Of all kernels and their layout. numba notices a change of a kernel's own file only, not of those it calls, so
    compiled code must lie in a folder that this digest names."""
    here = Path(__file__)
    shared = [here.parents[1] / name for name in ("layout.py", "columns.py")]
    sources = [*shared, *sorted(here.parent.glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


def warm() -> None:
    """Import every kernel: seconds with an empty cache, well under one with a filled one. Call before forking."""
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}")
