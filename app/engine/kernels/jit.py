"""Decides how kernels are compiled: eagerly from explicit signatures, cached on disk, no fast-math, no GIL held."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def kernel(signature: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile for `signature`. Division by zero follows NumPy's rules; each kernel guards its own divisors."""
    compiled = njit(signature, cache=True, fastmath=False, nogil=True, error_model="numpy")
    return cast(Callable[[Callable[P, R]], Callable[P, R]], compiled)
