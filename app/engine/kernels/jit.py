"""Decides how kernels are compiled: no fast-math, no GIL held, nothing allocated.

Only `app.engine.kernels.build` and tests import it (and with it numba); processes that run kernels load what was built,
through `app.engine.kernels.native`. A kernel that a test calls by itself is compiled then, for the types it is given.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

from app.engine.kernels import cache_folder

P = ParamSpec("P")
R = TypeVar("R")

_settings: Any = numba.config
if not _settings.CACHE_DIR:
    _settings.CACHE_DIR = str(cache_folder())

OPTIONS: dict[str, Any] = {"cache": True, "fastmath": False, "nogil": True, "error_model": "numpy", "_nrt": False}
"""Division by zero follows NumPy's rules; each kernel guards its own divisors. Without numba's run time, views of
arrays are not counted (that took half of the simulator's time) and a kernel that would allocate does not compile."""


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel that other kernels call."""
    compiled: Any = numba.njit(**OPTIONS)(function)
    return cast(Callable[P, R], compiled)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel of the hot path: made part of its callers, so that its arrays are not passed by value."""
    compiled: Any = numba.njit(**OPTIONS, forceinline=True)(function)
    return cast(Callable[P, R], compiled)
