"""The compiled loops. Importing this package loads no numba; importing one of its modules does, and compiles (or
loads from the cache) what it holds, because every signature is explicit. `warm` does all of them.
"""

import importlib

MODULES = ("integers", "charging", "positions", "matching", "windows", "machine", "sizing", "simulator")


def warm() -> None:
    """Import every kernel: seconds with an empty cache, well under one with a filled one. Call before forking."""
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}")
