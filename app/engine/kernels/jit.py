"""Decides how kernels are compiled: entries eagerly for one signature, cached on disk, no fast-math, no GIL held.

Without a cache folder of the caller's (`app.engine.cache_directory`), compiled code lies beside the kernels; if that is
read-only, numba falls back to the user's own cache.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from numba import config, njit

from app.engine.kernels import source_digest

P = ParamSpec("P")
R = TypeVar("R")

_settings: Any = config
if not _settings.CACHE_DIR:
    _settings.CACHE_DIR = str(Path(__file__).parent / "__pycache__" / source_digest())


_options: dict[str, Any] = {"cache": True, "fastmath": False, "nogil": True, "error_model": "numpy", "_nrt": False}
"""Division by zero follows NumPy's rules; each kernel guards its own divisors. Without numba's run time, views of
arrays are not counted (that took half of the simulator's time) and a kernel that would allocate does not compile."""


def entry(signature: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A kernel that Python calls: compiled when its module is imported, with every kernel it calls inside it."""
    compiled: Any = njit(signature, **_options)
    return cast(Callable[[Callable[P, R]], Callable[P, R]], compiled)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel that other kernels call: compiled for the types they pass, loaded only where an entry is compiled."""
    compiled: Any = njit(**_options)(function)
    return cast(Callable[P, R], compiled)
