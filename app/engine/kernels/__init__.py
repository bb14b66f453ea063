"""The compiled loops. Importing this package loads no numba: `build` compiles every entry into one file of machine
code, once per version and processor, in a process of its own, and `native` loads that file.
"""

import hashlib
import os
from pathlib import Path

_NOT_COMPILED = ("__init__.py", "native.py", "build.py")


def source_digest() -> str:
    """Of all kernels and their layout."""
    here = Path(__file__)
    shared = [here.parents[1] / name for name in ("layout.py", "columns.py")]
    sources = [*shared, *(path for path in sorted(here.parent.glob("*.py")) if path.name not in _NOT_COMPILED)]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled kernels lie: the caller's folder (`app.engine.cache_directory`), else beside the kernels, else,
    where that is read-only, in the user's cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    here, digest = Path(__file__).parent, source_digest()
    beside = here / "__pycache__" / digest
    nearest = next(folder for folder in (beside, beside.parent, here) if folder.is_dir())
    if os.access(nearest, os.W_OK):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mandi" / "kernels" / digest


def warm() -> None:
    """Load every kernel: seconds of compiling where there is no file yet, milliseconds where there is."""
    from app.engine.kernels import native

    native.load()
