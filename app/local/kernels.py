"""Decides when the engine's kernels are compiled: once per version, beside the start of the servers, not in a worker.

`python -m app.local.kernels <folder>` prints the folder to set as NUMBA_CACHE_DIR. The first time takes
some forty seconds.
"""

import os
import sys
from pathlib import Path

from app import engine


def main(fallback: Path) -> None:
    """Compile what is missing and print where: beside the kernels, or under `fallback` when that is read-only."""
    beside = Path(engine.__file__).with_name("kernels")
    made = engine.cache_directory(beside / "__pycache__" if os.access(beside, os.W_OK) else fallback)
    done = made / ".complete"
    if not done.exists():
        made.mkdir(parents=True, exist_ok=True)
        engine.warm()
        done.touch()
    print(made)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
